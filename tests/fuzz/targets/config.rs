//! `config.json`: only `linux.seccomp` is ever exchanged, and every decision ends in one line of
//! plain characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_hook::{
    gate::{Maker, Moment, evaluate},
    oci::config::OciConfig,
};
use portcullis_profile::{Action, Engine, Filter, settings::Settings};
use serde_json::Value;

/// What `Filter::new(Action::Allow)` is in JSON.
const FILTER: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;

fn without_seccomp(text: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    let linux = value.get_mut("linux").and_then(Value::as_object_mut);
    if let Some(linux) = linux {
        linux.remove("seccomp");
    }
    // An absent linux, an empty one and null are alike once something has been set in it.
    if let Some(root) = value.as_object_mut()
        && root
            .get("linux")
            .is_some_and(|linux| linux.is_null() || linux.as_object().is_some_and(|l| l.is_empty()))
    {
        root.remove("linux");
    }
    Some(value)
}

fuzz_target!(|text: &str| {
    let Ok(config) = OciConfig::parse(text) else {
        return;
    };
    let changed = config
        .with_filter(&Filter::new(Action::Allow))
        .expect("a filter is JSON");
    let again = OciConfig::parse(&changed).expect("what was written is read again");
    assert_eq!(again.seccomp(), Some(FILTER));
    assert_eq!(again.annotations(), config.annotations());
    assert_eq!(again.bounding(), config.bounding());
    let marked = config
        .with_annotation("m", "1")
        .expect("annotations are JSON");
    let marked = OciConfig::parse(&marked).expect("what was written is read again");
    let mut annotations = config.annotations().clone();
    annotations.insert("m".to_owned(), "1".to_owned());
    assert_eq!(marked.annotations(), &annotations);
    assert_eq!(marked.seccomp(), config.seccomp());
    let _ = config.is_recorded_before_it_is_verified();
    if let Some(before) = without_seccomp(text) {
        assert_eq!(Some(before), without_seccomp(&changed));
    }
    let settings = Ok(Settings {
        seccomp_root: "/nonexistent".into(),
        wait_ms: 0,
        ..Settings::default()
    });
    for engine in Engine::ALL {
        for moment in [Moment::Apply, Moment::Verify(None)] {
            let evaluation = evaluate(moment, &config, &settings, Some(engine), Maker::UNKNOWN);
            let line = evaluation.line();
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
});
