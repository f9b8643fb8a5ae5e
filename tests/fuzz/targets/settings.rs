//! hook.toml and CRI-O's configuration: an error is one line that names the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::settings::{Settings, crio::CrioConfig};
use std::path::Path;

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/x");
    let errors = [
        Settings::parse(path, text)
            .err()
            .map(|error| error.to_string()),
        CrioConfig::default()
            .merge(path, text)
            .err()
            .map(|error| error.to_string()),
    ];
    for message in errors.into_iter().flatten() {
        assert!(message.starts_with("/etc/x"), "{message:?}");
        assert!(!message.contains(['\n', '\r']), "{message:?}");
    }
});
