//! What is a profile, and what is said of what is none.

use super::*;
use serde_json::json;

fn taken(value: Value) -> (Vec<String>, Vec<String>) {
    let (mut profiles, mut problems) = (Vec::new(), Vec::new());
    take(value, &mut profiles, &mut problems);
    let profiles = profiles
        .into_iter()
        .map(|profile| format!("{} {}", profile.name, profile.spec));
    (profiles.collect(), problems)
}

fn accepts(value: Value, profile: &str) {
    assert_eq!(taken(value), (vec![profile.to_owned()], Vec::new()));
}

fn rejects(value: &Value, with: &str) {
    let (profiles, problems) = taken(value.clone());
    assert!(profiles.is_empty(), "{profiles:?}");
    assert!(
        problems.len() == 1 && problems[0].contains(with),
        "{value}: {problems:?}"
    );
}

fn profile(spec: &Value) -> Value {
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"name": "a"}, "spec": spec})
}

/// A profile in which the member that a JSON pointer leads to is another one.
fn with(path: &str, value: Value) -> Value {
    let mut profile = profile(
        &json!({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_LOG",
        "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}]}),
    );
    let (above, name) = path.rsplit_once('/').unwrap();
    let above = profile.pointer_mut(above).unwrap().as_object_mut().unwrap();
    above.insert(name.to_owned(), value);
    profile
}

#[test]
fn an_unknown_field_is_refused_by_object_and_path_wherever_it_is() {
    for (path, field) in [
        ("/sycalls", "sycalls"),
        ("/spec/sycalls", "spec.sycalls"),
        ("/spec/Allow", "spec.Allow"),
        ("/spec/syscalls/0/acton", "spec.syscalls[0].acton"),
        (
            "/spec/syscalls/0/args/0/idx",
            "spec.syscalls[0].args[0].idx",
        ),
        ("/metadata/nam", "metadata.nam"),
        ("/status", "status.x"),
    ] {
        let value = if path == "/status" {
            json!({"x": 1})
        } else {
            json!([])
        };
        rejects(
            &with(path, value),
            &format!("SeccompProfile \"a\": {field}: unknown field"),
        );
    }
}

#[test]
fn a_field_with_nothing_after_it_is_absent() {
    for field in [
        "architectures",
        "allow",
        "syscalls",
        "defaultAction",
        "state",
        "runtimeBase",
    ] {
        accepts(profile(&json!({field: null})), "a {}");
    }
    for field in [
        "flags",
        "defaultErrnoRet",
        "listenerPath",
        "baseProfileName",
    ] {
        accepts(
            profile(&json!({field: null})),
            &format!("a {{\"{field}\":null}}"),
        );
    }
    for status in [Value::Null, json!("text"), json!({"pods": -1})] {
        assert_eq!(taken(with("/status", status)).1, [""; 0]);
    }
    rejects(&with("/spec", Value::Null), "spec: is required");
    rejects(
        &with("/spec/syscalls/0/names", Value::Null),
        "spec.syscalls[0].names: is required",
    );
}

#[test]
fn values_are_held_to_the_schema() {
    for (path, value, said) in [
        (
            "/spec/allow",
            json!([true]),
            "spec.allow[0]: must be of type string",
        ),
        ("/spec/allow", json!([""]), "spec.allow[0]: is too short"),
        (
            "/spec/allow",
            json!(["x".repeat(65)]),
            "spec.allow[0]: has 65 characters",
        ),
        (
            "/spec/allow",
            json!(vec!["x"; 2049]),
            "spec.allow: has 2049 items",
        ),
        (
            "/spec/defaultAction",
            json!("ALLOW"),
            "spec.defaultAction: \"ALLOW\" is not one of",
        ),
        (
            "/spec/architectures",
            json!(["x86"]),
            "spec.architectures[0]: \"x86\" is not one of",
        ),
        (
            "/spec/defaultErrnoRet",
            json!(4096),
            "spec.defaultErrnoRet: 4096 is more than 4095",
        ),
        ("/spec/state", json!("enabled"), "spec.state: "),
        (
            "/spec/baseProfileName",
            json!("x".repeat(513)),
            "spec.baseProfileName: ",
        ),
        (
            "/spec/syscalls/0/args/0/index",
            json!(6),
            "spec.syscalls[0].args[0].index: 6 is more than 5",
        ),
        (
            "/spec/syscalls/0/args/0/value",
            json!(-1),
            "spec.syscalls[0].args[0].value: -1",
        ),
        (
            "/spec/syscalls/0/args/0/op",
            json!("EQ"),
            "spec.syscalls[0].args[0].op: ",
        ),
        ("/metadata/name", json!("x".repeat(251)), "metadata.name"),
        ("/metadata/name", json!("A"), "metadata.name: \"A\""),
        ("/metadata/name", json!("a/../b"), "metadata.name: "),
        (
            "/metadata/name",
            json!(511),
            "metadata: invalid type: integer",
        ),
        ("/metadata/name", Value::Null, "metadata.name: is required"),
        (
            "/metadata/labels",
            json!({"a": true}),
            "metadata: invalid type: boolean",
        ),
        ("/metadata", Value::Null, "metadata.name: is required"),
        ("/metadata", json!([]), "metadata"),
        (
            "/spec",
            json!("text"),
            "spec: must be of type object, not a string",
        ),
    ] {
        rejects(&with(path, value), said);
    }
}

#[test]
fn lists_of_whatever_kind_are_taken_apart() {
    let (mut a, mut b) = (profile(&json!({})), profile(&json!({})));
    b["metadata"]["name"] = json!("b");
    for (version, kind) in [
        ("v1", "List"),
        ("portcullis.dev/v1alpha1", "SeccompProfileList"),
    ] {
        let inner = json!({"apiVersion": version, "kind": kind, "items": [b]});
        let list = json!({"apiVersion": version, "kind": kind, "items": [a, inner]});
        assert_eq!(taken(list).0, ["a {}", "b {}"]);
    }
    for member in ["apiVersion", "kind"] {
        a.as_object_mut().unwrap().remove(member);
    }
    let list = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfileList",
        "items": [a]});
    accepts(list, "a {}");
    rejects(
        &json!({"apiVersion": "v1", "kind": "List", "items": [a]}),
        "kind: is required",
    );
    assert_eq!(
        taken(json!({"apiVersion": "v1", "kind": "List", "items": []})),
        (vec![], vec![])
    );
}

#[test]
fn our_kind_of_another_group_or_version_and_another_kind_of_our_group_are_named() {
    for version in [
        "portcullis.dev/v1",
        "v1",
        "security-profiles-operator.x-k8s.io/v1",
    ] {
        rejects(
            &with("/apiVersion", json!(version)),
            &format!("apiVersion: {version:?} is not supported"),
        );
    }
    rejects(
        &with("/kind", json!("SeccompProfil")),
        "portcullis.dev/v1alpha1 has no kind \"SeccompProfil\"",
    );
    rejects(&with("/kind", json!("seccompprofile")), "no kind");
    rejects(&with("/apiVersion", json!("")), "apiVersion: is required");
    rejects(&with("/kind", json!(7)), "kind: is required");
    rejects(&json!("text"), "not a Kubernetes object");
    rejects(&json!([profile(&json!({}))]), "not a Kubernetes object");
    // What others care for.
    for (version, kind) in [("v1", "Pod"), ("portcullis.dev/v1alpha1", "SeccompNode")] {
        let other = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
        assert_eq!(taken(other), (vec![], vec![]));
    }
}

#[test]
fn a_manifest_of_the_namespaced_kind_is_told_how_references_move_over() {
    for version in ["v1beta1", "v1"] {
        let version = format!("security-profiles-operator.x-k8s.io/{version}");
        let problem = is_profile(&version, "SeccompProfile").unwrap_err();
        assert!(
            problem.contains("use \"portcullis.dev/v1alpha1\""),
            "{problem}"
        );
        assert!(problem.contains("operator/NAME.json instead of operator/NAMESPACE/"));
    }
    let other = is_profile("example.com/v1", "SeccompProfile").unwrap_err();
    assert!(!other.contains("NAMESPACE"), "{other}");
}
