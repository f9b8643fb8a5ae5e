//! What makes a document valid, and the one line that says where it is not.

use super::{accepts, entry, rejects, resolved, text};
use serde_json::{Value, json};

/// A document of one condition on an argument.
fn argument(members: &Value) -> Value {
    let mut argument = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    for (key, value) in members.as_object().expect("an object") {
        if value.is_null() {
            argument.as_object_mut().expect("an object").remove(key);
        } else {
            argument[key] = value.clone();
        }
    }
    entry(&json!({"args": [argument]}))
}

#[test]
fn complete_documents_of_both_forms_are_accepted_without_a_warning() {
    accepts(&json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    accepts(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent.sock",
        "listenerMetadata": "anything",
        "syscalls": [
            {"names": ["read", "openat2"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["personality"], "action": "SCMP_ACT_TRACE", "errnoRet": 4095, "args": [
                {"index": 5, "value": u64::MAX, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"},
            ]},
        ],
    }));
    accepts(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "defaultErrno": "ENOSYS",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null},
        ],
        "syscalls": [{
            "name": "breakpoint",
            "action": "SCMP_ACT_ERRNO",
            "errno": "EPERM",
            "comment": "why",
            "args": null,
            "includes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["arm", "arm64"]},
            "excludes": {},
        }],
    }));
}

#[test]
fn null_and_what_is_empty_counts_as_absent() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": null, "defaultErrno": "",
        "architectures": [], "archMap": null, "flags": null, "listenerPath": "",
        "listenerMetadata": null,
        "syscalls": [{
            "name": "", "names": ["read"], "action": "SCMP_ACT_LOG", "errno": "",
            "errnoRet": null, "args": [], "includes": null, "excludes": {"caps": null},
        }],
    });
    accepts(&document);
    let filter = resolved(&document);
    assert_eq!(filter.flags, None);
    assert_eq!(filter.listener_path, None);
    assert_eq!(filter.listener_metadata, None);
    assert_eq!(filter.default_errno_ret, None);
    assert_eq!(filter.syscalls[0].errno_ret, None);
    assert_eq!(
        resolved(&json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": null})).syscalls,
        []
    );
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    rejects("", "line 1, column 0: not JSON: EOF while parsing a value");
    rejects("{\n  \"a\" 1}", "line 2, column 7: not JSON: expected `:`");
    rejects("{} x", "line 1, column 4: not JSON: trailing characters");
    rejects(
        "[".repeat(200),
        "line 1, column 128: not JSON: recursion limit exceeded",
    );
    rejects(
        b"{\"\xff\": 1}",
        "line 1, column 3: not JSON: invalid unicode code point",
    );
    rejects(
        "{\"a\": 1e999}",
        "line 1, column 11: not JSON: number out of range",
    );
}

#[test]
fn a_value_of_another_type_is_refused_with_its_place() {
    let both = |document: &str, line| rejects(document, line);
    both("[]", "expected an object, found a list");
    both("null", "expected an object, found null");
    both(
        r#"{"defaultAction": 1}"#,
        "defaultAction: expected a string, found a number",
    );
    both(
        r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": {}}"#,
        "syscalls: expected a list, found an object",
    );
    both(
        r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [null]}"#,
        "syscalls[0]: expected an object, found null",
    );
    for (members, line) in [
        (
            json!({"names": "read"}),
            "syscalls[0].names: expected a list, found a string",
        ),
        (
            json!({"names": [true]}),
            "syscalls[0].names[0]: expected a string, found a truth value",
        ),
        (
            json!({"args": [[]]}),
            "syscalls[0].args[0]: expected an object, found a list",
        ),
        (
            json!({"errnoRet": "EPERM"}),
            "syscalls[0].errnoRet: expected a number, found a string",
        ),
        (
            json!({"errno": 1}),
            "syscalls[0].errno: expected a string, found a number",
        ),
        (
            json!({"includes": []}),
            "syscalls[0].includes: expected an object, found a list",
        ),
        (
            json!({"excludes": {"caps": ["CAP_CHOWN", 3]}}),
            "syscalls[0].excludes.caps[1]: expected a string, found a number",
        ),
        (
            json!({"comment": 5}),
            "syscalls[0].comment: expected a string, found a number",
        ),
    ] {
        rejects(text(&entry(&members)), line);
    }
}

#[test]
fn a_document_without_what_it_must_have_is_refused() {
    for document in [
        "{}",
        r#"{"defaultAction": ""}"#,
        r#"{"defaultAction": null}"#,
    ] {
        rejects(document, "`defaultAction` is missing");
    }
    for (members, line) in [
        (json!({"action": null}), "syscalls[0]: `action` is missing"),
        (json!({"action": ""}), "syscalls[0]: `action` is missing"),
        (json!({"names": null}), "syscalls[0]: `names` is missing"),
        (
            json!({"names": null, "name": ""}),
            "syscalls[0]: `names` is missing",
        ),
        (
            json!({"names": []}),
            "syscalls[0].names: no system call is named",
        ),
    ] {
        rejects(text(&entry(&members)), line);
    }
    rejects(
        text(&argument(&json!({"op": null}))),
        "syscalls[0].args[0]: `op` is missing",
    );
    rejects(
        r#"{"defaultAction": "SCMP_ACT_LOG", "archMap": [{}]}"#,
        "archMap[0]: `architecture` is missing",
    );
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    for (members, line) in [
        (
            json!({"action": "SCMP_ACT_ALOW"}),
            "syscalls[0].action: unknown action \"SCMP_ACT_ALOW\" (did you mean \
             \"SCMP_ACT_ALLOW\"?)",
        ),
        (
            json!({"action": "allow this"}),
            "syscalls[0].action: unknown action \"allow this\"",
        ),
        (
            json!({"names": ["read", "opneat"]}),
            "syscalls[0].names[1]: unknown system call \"opneat\" (did you mean \"openat\"?)",
        ),
        (
            json!({"names": ["__NR_openat2"]}),
            "syscalls[0].names[0]: unknown system call \"__NR_openat2\" (did you mean \
             \"openat2\"?)",
        ),
        (
            json!({"names": [""]}),
            "syscalls[0].names[0]: unknown system call \"\"",
        ),
        (
            json!({"names": ["read\n"]}),
            "syscalls[0].names[0]: unknown system call \"read\\n\" \
             (did you mean \"read\"?)",
        ),
        (
            json!({"errno": "EPREM"}),
            "syscalls[0].errno: unknown errno \"EPREM\" (did you mean \"EPERM\"?)",
        ),
        (
            json!({"errno": "-1"}),
            "syscalls[0].errno: unknown errno \"-1\"",
        ),
        (
            json!({"errno": "4294967296"}),
            "syscalls[0].errno: unknown errno \"4294967296\"",
        ),
    ] {
        rejects(text(&entry(&members)), line);
    }
    rejects(
        text(&json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
            {"name": "raed", "action": "SCMP_ACT_TRACE"},
        ]})),
        "syscalls[0].name: unknown system call \"raed\" (did you mean \"read\"?)",
    );
    rejects(
        text(&argument(&json!({"op": "SCMP_CMP_EQUAL"}))),
        "syscalls[0].args[0].op: unknown operator \"SCMP_CMP_EQUAL\" (did you mean \
         \"SCMP_CMP_EQ\"?)",
    );
    for (key, value, line) in [
        (
            "architectures",
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AMD64"]),
            "architectures[1]: unknown architecture \"SCMP_ARCH_AMD64\" (did you mean \
             \"SCMP_ARCH_X86_64\"?)",
        ),
        (
            "flags",
            json!(["SECCOMP_FILTER_FLAG_LOGS"]),
            "flags[0]: unknown flag \"SECCOMP_FILTER_FLAG_LOGS\" (did you mean \
             \"SECCOMP_FILTER_FLAG_LOG\"?)",
        ),
    ] {
        rejects(
            text(&json!({"defaultAction": "SCMP_ACT_LOG", key: value})),
            line,
        );
    }
}

#[test]
fn a_number_out_of_its_range_is_refused_with_the_range() {
    let u64_line = "must be a whole number from 0 to 18446744073709551615";
    for (key, number, line) in [
        ("index", "6", "must be a whole number from 0 to 5"),
        ("index", "-1", "must be a whole number from 0 to 5"),
        ("value", "-1", u64_line),
        ("value", "1.5", u64_line),
        ("value", "1.0", u64_line),
        ("value", "1e3", u64_line),
        ("value", "18446744073709551616", u64_line),
        ("valueTwo", "-0", u64_line),
    ] {
        // As text: serde_json's own values can't hold all of them.
        let document = text(&argument(&json!({key: "HERE"})));
        let document = String::from_utf8(document)
            .expect("text")
            .replace("\"HERE\"", number);
        rejects(document, &format!("syscalls[0].args[0].{key}: {line}"));
    }
    accepts(&argument(
        &json!({"value": u64::MAX, "valueTwo": 0, "index": 5}),
    ));
    let errno_line = "must be a whole number from 0 to 4095";
    for (members, key) in [
        (json!({"errnoRet": 4096}), "errnoRet"),
        (json!({"errnoRet": -1}), "errnoRet"),
        (json!({"errno": "4096"}), "errno"),
    ] {
        rejects(
            text(&entry(&members)),
            &format!("syscalls[0].{key}: {errno_line}"),
        );
    }
    rejects(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}"#,
        &format!("defaultErrnoRet: {errno_line}"),
    );
    accepts(&entry(&json!({"errnoRet": 0})));
    accepts(&entry(&json!({"errnoRet": 4095})));
}

#[test]
fn keys_that_exclude_each_other_are_refused() {
    rejects(
        text(&entry(&json!({"name": "write"}))),
        "syscalls[0]: `name` and `names` are both given",
    );
    rejects(
        text(&json!({
            "defaultAction": "SCMP_ACT_LOG",
            "architectures": ["SCMP_ARCH_X86_64"],
            "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
        })),
        "`architectures` and `archMap` are both given",
    );
    accepts(&json!({
        "defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64"], "archMap": [],
    }));
}

#[test]
fn a_supervisor_is_asked_only_where_runtimes_can() {
    rejects(
        r#"{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/s"}"#,
        "defaultAction: SCMP_ACT_NOTIFY can't be the default action",
    );
    let mut document = entry(&json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}));
    document["listenerPath"] = json!("/run/s");
    rejects(
        text(&document),
        "syscalls[0].names[1]: SCMP_ACT_NOTIFY can't be used for write",
    );
    rejects(
        text(&entry(&json!({"action": "SCMP_ACT_NOTIFY"}))),
        "syscalls[0].action: SCMP_ACT_NOTIFY needs a `listenerPath`",
    );
}
