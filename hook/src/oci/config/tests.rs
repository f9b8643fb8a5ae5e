//! What is read from `config.json`, what is refused, and what a changed one keeps.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn only_a_regular_file_is_a_bundles_configuration() {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("config.json");
    let error = |part: &str| {
        let message = read_bundle(bundle.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    error("No such file");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    error("config.json: is not a regular file");
    std::fs::remove_file(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    error("config.json: is not a regular file");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    error("config.json: is not a regular file");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    error("config.json: is not a regular file");
    std::fs::remove_dir(&path).unwrap();
    let large = std::fs::File::create(&path).unwrap();
    large.set_len(MAX_BYTES + 1).unwrap();
    error("config.json is larger than");
    std::fs::write(&path, b"\xff").unwrap();
    error("config.json: is not UTF-8");
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(read_bundle(bundle.path()).unwrap(), "{}");
}

fn becomes(text: &str, changed: &str) {
    assert_eq!(OciConfig::parse(text).unwrap().with_seccomp("{N}"), changed);
}

#[test]
fn only_the_seccomp_object_changes() {
    becomes(
        "{ \"x-new\": 1.50,\"linux\": {\"a\":1, \"seccomp\" : {\"o\":[1]} , \"b\":2}, \"z\":0 }\n",
        "{ \"x-new\": 1.50,\"linux\": {\"a\":1, \"seccomp\" : {N} , \"b\":2}, \"z\":0 }\n",
    );
    becomes(r#"{"linux":{"a":1}}"#, r#"{"linux":{"seccomp":{N},"a":1}}"#);
    becomes(r#"{"linux":{ }}"#, r#"{"linux":{"seccomp":{N} }}"#);
    becomes(
        r#"{"linux":{"seccomp":null}}"#,
        r#"{"linux":{"seccomp":{N}}}"#,
    );
    becomes(r#"{"linux":null}"#, r#"{"linux":{"seccomp":{N}}}"#);
    becomes(r#" {"a":1}"#, r#" {"linux":{"seccomp":{N}},"a":1}"#);
    becomes("{}", r#"{"linux":{"seccomp":{N}}}"#);
}

#[test]
fn an_annotation_is_added_once_and_nothing_else_changes() {
    let becomes = |text: &str, changed: &str| {
        let config = OciConfig::parse(text).unwrap();
        assert_eq!(config.with_annotation("m", "1").unwrap(), changed);
    };
    becomes("{}", r#"{"annotations":{"m":"1"}}"#);
    becomes(
        r#"{"x":1,"annotations":null}"#,
        r#"{"x":1,"annotations":{"m":"1"}}"#,
    );
    // If a name comes twice, crun uses the first and Go's parser the last.
    becomes(
        r#"{"annotations": {"m":"forged","a":"\u00e9\n","m":"2"} , "x":1.50}"#,
        r#"{"annotations": {"a":"é\n","m":"1"} , "x":1.50}"#,
    );
}

#[test]
fn only_our_own_hooks_in_the_right_order_record() {
    let records = |hooks: &str| {
        let text = format!("{{\"hooks\":{hooks}}}");
        let config = OciConfig::parse(&text).unwrap();
        config.is_recorded_before_it_is_verified()
    };
    let hook = |path: &str, verb: &str| format!(r#"{{"path":"{path}","args":["x","{verb}"]}}"#);
    let record = hook("/usr/libexec/portcullis/portcullis-hook", "record");
    let verify = hook("/usr/libexec/portcullis/portcullis-hook", "verify");
    let foreign = hook("/usr/bin/other", "record");
    assert!(records(&format!(
        r#"{{"createRuntime":[{record},{verify}]}}"#
    )));
    assert!(records(&format!(
        r#"{{"createRuntime":[{foreign},{record}]}}"#
    )));
    assert!(records(&format!(
        r#"{{"createRuntime":[{verify}],"prestart":[{record}]}}"#
    )));
    for hooks in [
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"createRuntime":null}"#.to_owned(),
        r#"{"createRuntime":[{"path":"/x/portcullis-hook"}]}"#.to_owned(),
        format!(r#"{{"createRuntime":[{foreign},{verify}]}}"#),
        format!(r#"{{"createRuntime":[{verify},{record}]}}"#),
        format!(r#"{{"createRuntime":[{record}],"prestart":[{verify}]}}"#),
        format!(r#"{{"poststop":[{record}]}}"#),
    ] {
        assert!(!records(&hooks), "{hooks}");
    }
}

#[test]
fn what_is_not_a_configuration_is_refused() {
    for text in [
        "",
        "[]",
        "{\"linux\":{},\"linux\":{}}",
        "{\"linux\":[]}",
        "{\"linux\":{\"seccomp\":{},\"seccomp\":{}}}",
        "{\"annotations\":{\"a\":1}}",
        "{} x",
        "{\"Linux\":{}}",
        "{\"linux\":{\"seccomp\":null,\"Seccomp\":{}}}",
        "{\"linux\":{\"\u{17f}eccomp\":{}}}",
        "{\"process\":{\"Capabilities\":null}}",
        "{\"process\":{\"capabilities\":{\"boundinG\":[]}}}",
        "{\"hooks\":{\"PreStart\":[]}}",
        "{\"Annotations\":{}}",
        "{\"hooks\":{\"createRuntime\":[3]}}",
    ] {
        assert!(OciConfig::parse(text).is_err(), "{text}");
    }
}

fn some_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            Just("seccomp".to_owned()),
            Just("linux".to_owned()),
            ".{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    /// Whatever surrounds it, the new filter is read back and nothing else has changed.
    #[test]
    fn any_configuration_changes_in_its_filter_alone(
        surroundings in some_json(),
        linux in prop::option::of(some_json()),
        pretty in any::<bool>(),
    ) {
        let mut whole = json!({ "x-unknown": surroundings, "ociVersion": "1.0.2" });
        if let Some(linux) = linux {
            whole["linux"] = linux;
        }
        let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
        if let Ok(config) = OciConfig::parse(&text) {
            let filter = Filter::new(portcullis_profile::Action::Allow);
            let changed = config.with_filter(&filter).unwrap();
            let mut expected = whole.clone();
            if !expected["linux"].is_object() {
                expected["linux"] = json!({});
            }
            expected["linux"]["seccomp"] = serde_json::to_value(&filter).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&changed).unwrap(), expected);
        } else {
            prop_assert!(!whole["linux"].is_object() && !whole["linux"].is_null());
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC*", cut in 0_usize..200) {
        let _ = OciConfig::parse(&text);
        let _ = crate::oci::state::HookState::parse(&text);
        let state = r#"{"ociVersion":"1.0.2","id":"x","status":"creating","pid":7,"bundle":"/b","annotations":{"a":"b"}}"#;
        let cut = cut.min(state.len());
        let broken = format!("{}{text}{}", &state[..cut], &state[cut..]);
        if let Ok(told) = crate::oci::state::HookState::parse(&broken) {
            prop_assert!(told.pid.is_none_or(|pid| i32::try_from(pid).is_ok()));
        }
    }
}
