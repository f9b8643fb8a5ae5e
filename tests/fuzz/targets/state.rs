//! The OCI state on a hook's standard input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_hook::commands::verify::parse_state;

fuzz_target!(|text: &str| {
    if let Err(error) = parse_state(text) {
        let _ = error.to_string();
    }
});
