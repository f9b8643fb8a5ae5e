//! hook.toml: an error is one line that names the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::settings::Settings;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(error) = Settings::parse(Path::new("/etc/hook.toml"), text) {
        let message = error.to_string();
        assert!(message.starts_with("/etc/hook.toml"), "{message:?}");
        assert!(!message.contains(['\n', '\r']), "{message:?}");
    }
});
