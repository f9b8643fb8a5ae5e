//! The OCI state on a hook's standard input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_hook::oci::state::HookState;

fuzz_target!(|text: &str| {
    if let Err(error) = HookState::parse(text) {
        let _ = error.to_string();
    }
});
