//! References: what parses means a plain path below the seccomp root, which leads to where it led as
//! it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::select::reference::Reference;
use std::path::Path;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
    if let Reference::Localhost(path) = reference {
        let path = path.as_str();
        let root = Path::new("/root");
        let written = text.strip_prefix("localhost/").map(|path| root.join(path));
        assert_eq!(Some(root.join(path)), written);
        assert!(!path.starts_with('/') && !path.contains('\0'));
        assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
});
