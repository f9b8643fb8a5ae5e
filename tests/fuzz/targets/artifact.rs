//! Artifacts: whatever a registry holds as a profile, or a profile names as its base, is read or refused
//! with a reason, and what is read is read again alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_artifact::{Authorities, Base, Content, PublicKey, is_profile_name};
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    match Content::read(bytes) {
        Ok(content) => {
            let manifest = json!({
                "apiVersion": "portcullis.dev/v1alpha1",
                "kind": "SeccompProfile",
                "metadata": {"name": "p"},
                "spec": content.spec(),
            });
            let again = Content::read(manifest.to_string().as_bytes()).expect("what was read");
            assert_eq!(again.spec(), content.spec());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = PublicKey::from_pem(bytes);
    let _ = Authorities::from_pem(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(Ok(base)) = Base::parse(text)
    {
        assert!(is_profile_name(&base.profile_name()));
        let path = base.reference().repository.path();
        assert!(!path.contains("..") && !path.starts_with('/'), "{path}");
    }
});
