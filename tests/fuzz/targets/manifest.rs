//! Manifests: whatever is in one, what is wrong is one line each, and a profile that is taken is
//! taken as the same one again from its JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_operator::{
    manifest::{Parsed, parse},
    resolve::{check_name, resolve},
};

fuzz_target!(|text: &[u8]| {
    let parsed = parse(text);
    for problem in &parsed.problems {
        assert!(
            !problem.is_empty() && !problem.contains(char::is_control),
            "{problem:?}"
        );
    }
    for mut profile in parsed.profiles {
        (profile.labels, profile.annotations) = Default::default();
        check_name(&profile.name).expect("a name");
        let object = format!(
            r#"{{"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
            "metadata": {{"name": "{}"}}, "spec": {}}}"#,
            profile.name, profile.spec
        );
        let _ = resolve(&profile.name, &profile.spec, &|_| None::<&str>);
        let again = Parsed {
            profiles: vec![profile],
            problems: Vec::new(),
        };
        for text in [object.clone(), format!("--- # YAML\n{object}\n")] {
            assert_eq!(parse(text.as_bytes()), again, "{text}");
        }
    }
});
