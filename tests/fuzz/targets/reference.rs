//! References: what parses means a plain path below the seccomp root and is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::select::reference::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
    if let Reference::Localhost(path) = reference {
        let path = path.as_str();
        assert_eq!(Some(path), text.strip_prefix("localhost/"));
        assert!(!path.starts_with('/') && !path.contains('\0'));
        assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
});
