//! `linux.seccomp` as an engine wrote it.

use super::text;
use crate::{Action, Filter, Flag, Rule, parse_filter, parse_filter_with_warnings};
use serde_json::{Value, json};

fn parsed(filter: &Value) -> Filter {
    parse_filter(&text(filter)).expect("a filter")
}

#[test]
fn names_that_only_a_newer_engine_knows_are_kept() {
    let filter = parsed(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["a_call_of_tomorrow", "read"], "action": "SCMP_ACT_KILL"},
    ]}));
    assert_eq!(filter.syscalls[0].names, ["a_call_of_tomorrow", "read"]);
}

#[test]
fn what_is_remarkable_in_a_filter_that_is_there_is_told() {
    let condition = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    let text = text(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["tomorrow"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": vec![condition; 7]},
    ]}));
    let (filter, warnings) = parse_filter_with_warnings(&text).expect("a filter");
    assert_eq!(filter.syscalls[1].args.len(), 7);
    let places: Vec<&str> = warnings.iter().map(|one| one.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "syscalls[0].names[0]",
            "syscalls[0].errnoRet",
            "syscalls[1].args"
        ]
    );
}

#[test]
fn keys_that_runtimes_do_not_read_decide_nothing() {
    let filter = parsed(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSYS",
        "archMap": 7,
        "x-new": {"a": [1, {}]},
        "syscalls": [{
            "names": ["read"], "action": "SCMP_ACT_ALLOW", "name": "write", "comment": 1,
            "includes": {"caps": ["CAP_KILL"]}, "excludes": {"arches": ["amd64"]},
        }],
    }));
    let read = Rule {
        names: vec!["read".to_owned()],
        action: Action::Allow,
        errno_ret: None,
        args: Vec::new(),
    };
    let expected = Filter {
        syscalls: vec![read],
        ..Filter::new(Action::Errno)
    };
    assert_eq!(filter, expected);
}

#[test]
fn an_empty_list_of_flags_is_not_an_absent_one() {
    for (flags, expected) in [
        (json!([]), Some(vec![])),
        (json!(null), None),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), Some(vec![Flag::Log])),
    ] {
        let filter = parsed(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}));
        assert_eq!(filter.flags, expected);
        assert_eq!(
            parsed(&serde_json::to_value(&filter).expect("JSON")),
            filter
        );
    }
}

#[test]
fn what_runtimes_pass_over_or_refuse_by_themselves_is_no_error() {
    let filter = parsed(&json!({
        "defaultAction": "SCMP_ACT_NOTIFY", "defaultErrnoRet": 5, "listenerMetadata": "m",
        "syscalls": [
            {"names": [], "action": "SCMP_ACT_KILL"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1},
        ],
    }));
    assert_eq!(filter.default_errno_ret, None);
    assert_eq!(filter.syscalls.len(), 1);
    assert_eq!(filter.syscalls[0].errno_ret, None);
}

#[test]
fn what_is_no_filter_is_refused_with_its_place() {
    for (filter, line) in [
        (json!(null), "expected an object, found null"),
        (json!({}), "`defaultAction` is missing"),
        (
            json!({"defaultAction": "SCMP_ACT_ALOW"}),
            "defaultAction: unknown action \"SCMP_ACT_ALOW\" (did you mean \"SCMP_ACT_ALLOW\"?)",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "DefaultAction": "SCMP_ACT_ALLOW"}),
            "key \"DefaultAction\" must be written `defaultAction`: some programs would read it \
             as that key",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
                {"names": ["mkdir\u{0}x"], "action": "SCMP_ACT_KILL"},
            ]}),
            "syscalls[0].names[0]: \"mkdir\\0x\" contains a NUL character",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"action": "SCMP_ACT_KILL"}]}),
            "syscalls[0]: `names` is missing",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096},
            ]}),
            "syscalls[0].errnoRet: must be a whole number from 0 to 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_KILL",
                 "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]},
            ]}),
            "syscalls[0].args[0].index: must be a whole number from 0 to 5",
        ),
    ] {
        let error = parse_filter(&text(&filter)).expect_err("refused");
        assert_eq!(error.to_string(), line, "{filter}");
    }
    let twice = r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [], "syscalls": []}"#;
    let error = parse_filter(twice.as_bytes()).expect_err("refused");
    assert_eq!(error.to_string(), "key `syscalls` is given twice");
}
