//! What engines accept and ignore is accepted with a warning, and what would silently not protect
//! is refused.

use super::{Document, accepts, entry, podman, rejects, resolved, text, warns};
use crate::{Action, Arch, Context, Engine, Flag, filter::reader::Runtime};
use serde_json::{Value, json};

/// The warnings of a document that must be valid.
fn warnings(document: &[u8]) -> Vec<String> {
    let shown = String::from_utf8_lossy(document);
    let document = Document::parse(document).unwrap_or_else(|error| panic!("{shown}: {error}"));
    document
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Every pair of a default action and a rule's that documents may have.
fn pairs() -> impl Iterator<Item = (Action, Action)> {
    let defaults = Action::ALL
        .iter()
        .filter(|action| **action != Action::Notify);
    defaults.flat_map(|default| Action::ALL.iter().map(|action| (*default, *action)))
}

fn one_rule(default: Action, action: Action, entry: &Value) -> Value {
    let mut entry = entry.clone();
    entry["action"] = json!(action.as_str());
    json!({"defaultAction": default.as_str(), "listenerPath": "/run/s", "syscalls": [entry]})
}

#[test]
fn an_unknown_system_call_is_refused_only_where_its_rule_is_stricter_than_the_default() {
    for (default, action) in pairs() {
        for (key, value) in [
            ("names", json!(["read", "opem"])),
            ("name", json!("a_call_of_tomorrow")),
        ] {
            let document = text(&one_rule(default, action, &json!({key: value})));
            let refused = Document::parse(&document).is_err();
            assert_eq!(
                refused,
                action.is_stricter_than(default),
                "{action} by default {default}"
            );
            if !refused {
                assert_eq!(warnings(&document).len(), 1);
            }
        }
    }
    let document = one_rule(
        Action::Log,
        Action::Allow,
        &json!({"names": ["read", "opem"]}),
    );
    warns(
        &document,
        &[
            "syscalls[0].names[1]: unknown system call \"opem\" (did you mean \"open\"?): the \
             default action applies where libseccomp does not know it either",
        ],
    );
    assert_eq!(resolved(&document).syscalls[0].names, ["read", "opem"]);
    // Another errno is another treatment, not a stricter one.
    let mut denied = one_rule(
        Action::Errno,
        Action::Errno,
        &json!({"names": ["tomorrow"], "errnoRet": 1}),
    );
    denied["defaultErrnoRet"] = json!(38);
    assert_eq!(warnings(&text(&denied)).len(), 1);
}

#[test]
fn an_entry_without_names_is_refused_only_where_it_would_protect() {
    for (default, action) in pairs() {
        for entry in [
            json!({}),
            json!({"names": []}),
            json!({"names": null, "name": ""}),
        ] {
            let document = text(&one_rule(default, action, &entry));
            let refused = Document::parse(&document).is_err();
            assert_eq!(refused, action.is_stricter_than(default), "{entry}");
        }
    }
    let document = one_rule(Action::Errno, Action::Allow, &json!({"names": []}));
    warns(
        &document,
        &["syscalls[0].names: no system call is named: this entry is ignored"],
    );
    assert_eq!(resolved(&document).syscalls, []);
}

#[test]
fn a_name_is_a_string_of_c_or_refused() {
    for (default, action) in pairs() {
        for name in ["mkdir\u{0}", "mkdir\u{0}at", "\u{0}"] {
            for entry in [json!({"name": name}), json!({"names": ["read", name]})] {
                let document = text(&one_rule(default, action, &entry));
                let error = Document::parse(&document).expect_err("refused").to_string();
                assert!(error.ends_with("contains a NUL character"), "{error}");
            }
        }
    }
    rejects(
        text(&json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/run/s\u{0}x"})),
        "listenerPath: \"/run/s\\0x\" contains a NUL character",
    );
}

#[test]
fn a_number_that_a_condition_leaves_out_is_zero() {
    for (given, expected) in [
        (json!({}), (0, 0, 0)),
        (json!({"value": 7}), (0, 7, 0)),
        (json!({"index": 3}), (3, 0, 0)),
        (
            json!({"index": null, "value": null, "valueTwo": null}),
            (0, 0, 0),
        ),
        (json!({"valueTwo": 9}), (0, 0, 9)),
        (json!({"index": 5, "value": 1, "valueTwo": 2}), (5, 1, 2)),
    ] {
        let mut argument = given.clone();
        argument["op"] = json!("SCMP_CMP_MASKED_EQ");
        let document = entry(&json!({"args": [argument]}));
        accepts(&document);
        let read = resolved(&document).syscalls[0].args[0];
        assert_eq!(
            (read.index, read.value, read.value_two),
            expected,
            "{given}"
        );
    }
}

#[test]
fn an_empty_text_is_absent_only_where_a_text_belongs() {
    accepts(&entry(
        &json!({"name": "mkdir", "names": null, "comment": "", "errno": ""}),
    ));
    accepts(&json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "", "listenerPath": ""}));
    for key in ["errnoRet", "includes", "excludes", "args"] {
        let document = text(&entry(&json!({key: ""})));
        let error = Document::parse(&document).expect_err("refused").to_string();
        assert!(
            error.starts_with(&format!("syscalls[0].{key}: expected ")),
            "{error}"
        );
    }
}

/// The ways of writing a key that Go reads as that key.
fn spellings(key: &str) -> [String; 4] {
    let mut first = key.to_owned();
    first[..1].make_ascii_uppercase();
    [
        key.to_ascii_uppercase(),
        first,
        key.replacen('s', "\u{17f}", 1),
        key.replacen('k', "\u{212a}", 1),
    ]
}

#[test]
fn a_key_in_another_case_is_read_as_go_reads_it() {
    for (key, value) in [
        ("defaultErrnoRet", json!(38)),
        ("architectures", json!(["SCMP_ARCH_X86"])),
        ("flags", json!(["SECCOMP_FILTER_FLAG_LOG"])),
        (
            "syscalls",
            json!([{"names": ["mkdir"], "action": "SCMP_ACT_KILL"}]),
        ),
        ("archMap", json!([{"architecture": "SCMP_ARCH_X86_64"}])),
    ] {
        let expected = resolved(&json!({"defaultAction": "SCMP_ACT_ERRNO", key: value}));
        for written in spellings(key).iter().filter(|written| *written != key) {
            let document = json!({"defaultAction": "SCMP_ACT_ERRNO", written: value});
            warns(&document, &[&format!("key {written:?} is read as `{key}`")]);
            assert_eq!(resolved(&document), expected, "{written}");
        }
    }
    // In the order of the document, as Go reads it.
    let document = br#"{"defaultaction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_ERRNO"}"#;
    assert_eq!(
        warnings(document),
        [
            "key \"defaultaction\" is read as `defaultAction`",
            "key `defaultAction` is given twice: the last one counts",
        ]
    );
    let filter = Document::parse(document).expect("valid").resolve(&podman());
    assert_eq!(filter.expect("a filter").default_action, Action::Errno);
}

#[test]
fn a_comment_is_harmless_in_any_case_and_number() {
    for members in [
        r#""Comment": "a""#,
        r#""comment": "a", "comment": "b""#,
        r#""COMMENT": "a", "comment": null"#,
        r#""comment": "a", "cOmMeNt": "b", "comment": "a""#,
    ] {
        let document = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["mkdir"], "action": "SCMP_ACT_KILL", {members}}}]}}"#
        );
        assert!(!warnings(document.as_bytes()).is_empty(), "{members}");
    }
}

#[test]
fn a_key_that_comes_twice_is_refused_where_go_would_mix_the_two() {
    for (members, key) in [
        (
            r#""syscalls": [], "s\u0079scalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]"#,
            "syscalls",
        ),
        (
            r#""architectures": ["SCMP_ARCH_X86"], "Architectures": null"#,
            "architectures",
        ),
        (
            r#""defaultErrnoRet": 1, "defaultErrnoRet": null"#,
            "defaultErrnoRet",
        ),
    ] {
        rejects(
            format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", {members}}}"#),
            &format!("key `{key}` is given twice"),
        );
    }
    for members in [
        r#""syscalls": [], "syscalls": []"#,
        r#""defaultErrnoRet": 1, "defaultErrnoRet": 38"#,
    ] {
        let document = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", {members}}}"#);
        assert_eq!(warnings(document.as_bytes()).len(), 1, "{members}");
    }
}

#[test]
fn an_errno_for_an_action_that_takes_none_is_ignored_and_said_to_stop_crun() {
    for action in Action::ALL.iter().filter(|action| !action.takes_errno()) {
        let line = |place: &str| {
            format!(
                "{place}: {action} takes no errno: it is ignored, as by runc; crun refuses the \
                 container where its engine passes this on"
            )
        };
        for (key, value) in [("errnoRet", json!(1)), ("errno", json!("EPERM"))] {
            let document = one_rule(
                Action::Errno,
                *action,
                &json!({"names": ["read"], key: value}),
            );
            warns(&document, &[&line(&format!("syscalls[0].{key}"))]);
            assert_eq!(resolved(&document).syscalls[0].errno_ret, None);
        }
        if *action != Action::Notify {
            let document = json!({"defaultAction": action.as_str(), "defaultErrnoRet": 1});
            warns(&document, &[&line("defaultErrnoRet")]);
            assert_eq!(resolved(&document).default_errno_ret, None);
        }
    }
    accepts(&entry(
        &json!({"action": "SCMP_ACT_TRACE", "errno": "ENOSYS"}),
    ));
}

#[test]
fn more_conditions_than_crun_reads_are_kept_and_said() {
    let condition = json!({"index": 1, "value": 1, "op": "SCMP_CMP_EQ"});
    accepts(&entry(&json!({"args": vec![condition.clone(); 6]})));
    for count in [7, 8, 64] {
        let document = entry(&json!({"args": vec![condition.clone(); count]}));
        warns(
            &document,
            &["syscalls[0].args: more than 6 conditions: runc reads all of them, crun the first 6"],
        );
        let filter = resolved(&document);
        assert_eq!(filter.syscalls[0].args.len(), count);
        assert_eq!(filter.rules_beyond_crun().collect::<Vec<_>>(), [0]);
        assert_eq!(filter.as_read_by(Runtime::Crun).syscalls[0].args.len(), 6);
    }
}

#[test]
fn an_empty_list_of_flags_is_kept_where_the_engine_keeps_it() {
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": []});
    let told = warnings(&text(&document));
    assert!(
        told[0].starts_with("flags: an empty list is lost"),
        "{told:?}"
    );
    let document = Document::parse(&text(&document)).expect("valid");
    for (engine, flags) in [
        (Engine::CriO, Some(Vec::<Flag>::new())),
        (Engine::Containerd, Some(Vec::new())),
        (Engine::Podman, None),
    ] {
        let filter = document.resolve(&Context { engine, ..podman() });
        assert_eq!(filter.expect("a filter").flags, flags, "{engine}");
    }
}

#[test]
fn a_new_foreign_architecture_is_a_warning_and_one_for_this_host_is_refused() {
    let document = |architecture: &str, sub: &str| {
        json!({"defaultAction": "SCMP_ACT_LOG", "archMap": [
            {"architecture": architecture, "subArchitectures": [sub]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ]})
    };
    let foreign = document("SCMP_ARCH_RISCV128", "SCMP_ARCH_RISCV128_N32");
    warns(
        &foreign,
        &[
            "archMap[0].architecture: unknown architecture \"SCMP_ARCH_RISCV128\" (did you mean \
             \"SCMP_ARCH_RISCV64\"?): it matches no known host",
            "archMap[0].subArchitectures[0]: unknown architecture \"SCMP_ARCH_RISCV128_N32\": it \
             matches no known host",
        ],
    );
    let under = |document: &Value, native| {
        let document = Document::parse(&text(document)).expect("valid");
        document.resolve(&Context { native, ..podman() })
    };
    let filter = under(&foreign, Arch::Aarch64).expect("a filter");
    assert_eq!(filter.architectures, [Arch::Aarch64, Arch::Arm]);
    let own = document("SCMP_ARCH_X86_64", "x86");
    assert!(under(&own, Arch::Aarch64).is_ok());
    assert_eq!(
        under(&own, Arch::X86_64).expect_err("refused").to_string(),
        "archMap[0].subArchitectures[0]: unknown architecture \"x86\" (did you mean \
         \"SCMP_ARCH_X86\"?)"
    );
}
