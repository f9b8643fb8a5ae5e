//! What each engine makes of the two forms.

use super::{podman, resolved, text};
use crate::{Arch, Context, Document, Engine, Filter, parse_filter};
use serde_json::{Value, json};

fn under(engine: Engine, native: Arch, document: &Value) -> Result<Filter, String> {
    let document = Document::parse(&text(document)).expect("a valid document");
    let context = Context {
        engine,
        native,
        ..podman()
    };
    document
        .resolve(&context)
        .map_err(|error| error.to_string())
}

#[test]
fn the_oci_form_is_the_same_filter_under_every_engine() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "listenerPath": "/run/agent.sock",
        "listenerMetadata": "m",
        "syscalls": [
            {"names": ["read", "write", "read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
                {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
                {"index": 2, "value": 9, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"},
            ]},
        ],
    });
    for engine in Engine::ALL {
        let filter = under(engine, Arch::X86_64, &document).expect("a filter");
        assert_eq!(
            serde_json::to_value(&filter).expect("JSON"),
            document,
            "{engine}"
        );
        assert_eq!(parse_filter(&text(&document)), Ok(filter));
    }
}

#[test]
fn a_single_name_is_a_list_of_one() {
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"name": "mkdir", "action": "SCMP_ACT_KILL"},
    ]});
    assert_eq!(resolved(&document).syscalls[0].names, ["mkdir"]);
}

#[test]
fn an_errno_as_text_beats_the_number() {
    let errno = |members: Value| {
        let mut entry = json!({"name": "mkdir", "action": "SCMP_ACT_ERRNO"});
        entry
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        resolved(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})).syscalls[0]
            .errno_ret
    };
    for (members, expected) in [
        (json!({}), None),
        (json!({"errnoRet": 7}), Some(7)),
        (json!({"errno": "EACCES"}), Some(13)),
        (json!({"errno": "EACCES", "errnoRet": 7}), Some(13)),
        (json!({"errno": "0038", "errnoRet": 7}), Some(38)),
        (json!({"errno": "", "errnoRet": 7}), Some(7)),
        (json!({"errno": "ENOTSUP"}), Some(95)),
    ] {
        assert_eq!(errno(members.clone()), expected, "{members}");
    }
    let filter = resolved(&json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 1,
    }));
    assert_eq!(filter.default_errno_ret, Some(38));
}

#[test]
fn an_errno_name_that_means_another_number_on_the_host_is_refused() {
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"});
    assert_eq!(
        under(Engine::CriO, Arch::Mips64, &document),
        Err(
            "defaultErrno: the number of \"ENOSYS\" on this architecture is not known: give a \
             number instead"
                .to_owned()
        )
    );
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"name": "read", "action": "SCMP_ACT_ERRNO", "errno": "EPERM"},
        {"name": "mkdir", "action": "SCMP_ACT_ERRNO", "errno": "ENOSYS"},
    ]});
    let error = under(Engine::CriO, Arch::Parisc, &document).expect_err("refused");
    assert!(error.starts_with("syscalls[1].errno: "), "{error}");
    assert!(under(Engine::CriO, Arch::Riscv64, &document).is_ok());
}

#[test]
fn containerd_is_given_nothing_that_it_would_read_otherwise() {
    let with = |members: Value| {
        let mut entry = json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"});
        for (key, value) in members.as_object().expect("an object") {
            entry[key] = value.clone();
        }
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})
    };
    let line = |place: &str, key: &str| {
        format!(
            "{place}containerd ignores `{key}`, so the filter would not be what the document says"
        )
    };
    for (document, expected) in [
        (
            json!({"defaultAction": "SCMP_ACT_LOG",
                   "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}),
            line("", "archMap"),
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"}),
            line("", "defaultErrno"),
        ),
        (
            with(json!({"names": [], "name": "mkdir"})),
            line("syscalls[0]: ", "name"),
        ),
        (
            with(json!({"errno": "EACCES"})),
            line("syscalls[0]: ", "errno"),
        ),
        (
            with(json!({"errno": "EACCES", "errnoRet": 1})),
            line("syscalls[0]: ", "errno"),
        ),
        (
            with(json!({"includes": {"caps": ["CAP_KILL"]}})),
            line("syscalls[0]: ", "includes"),
        ),
        (
            with(json!({"excludes": {"minKernel": "5.0"}})),
            line("syscalls[0]: ", "excludes"),
        ),
    ] {
        let result = under(Engine::Containerd, Arch::X86_64, &document);
        assert_eq!(result, Err(expected), "{document}");
        for engine in [Engine::CriO, Engine::Podman] {
            assert!(under(engine, Arch::X86_64, &document).is_ok(), "{document}");
        }
    }
    // What is not read but changes nothing.
    for document in [
        with(json!({"comment": "why", "includes": {}, "excludes": {"caps": []}, "name": ""})),
        with(json!({"errno": "EACCES", "errnoRet": 13})),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
               "defaultErrnoRet": 38, "archMap": []}),
    ] {
        let filter = under(Engine::Containerd, Arch::X86_64, &document).expect("a filter");
        assert_eq!(Ok(filter), parse_filter(&text(&document)), "{document}");
    }
}
