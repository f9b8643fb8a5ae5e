//! What a pod misses, on made-up pods.

use super::*;
use crate::admission::rules::{MODE_ANNOTATION, PROFILE_ANNOTATION, RuleSet};
use serde_json::json;
use std::collections::BTreeMap;

const SINCE: &str = "2026-01-02T03:04:05Z";

fn pod(created: &str, spec: &Value) -> DynamicObject {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "p", "uid": "u", "creationTimestamp": created}});
    serde_json::from_value(object).unwrap()
}

fn said(mode: &str, object: &DynamicObject) -> Option<String> {
    let annotations = [
        (PROFILE_ANNOTATION.to_owned(), "runtime/default".to_owned()),
        (MODE_ANNOTATION.to_owned(), mode.to_owned()),
    ];
    let around = Surroundings {
        namespace: "shop",
        annotations: &BTreeMap::from(annotations),
        rules: &RuleSet::default(),
    };
    misses(object, SINCE.parse().unwrap(), around)
}

const BECAUSE: &str = "it was created before the API server asked about namespace shop";

#[test]
fn only_what_would_be_changed_or_refused_misses_its_rule() {
    let container = |name: &str, context: Value| json!({"name": name, "image": "x", "securityContext": context});
    let given = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    let other = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}});
    let privileged = json!({"privileged": true});
    let lacks = |who: &str| {
        format!(
            "container {who} misses the rule that gives it runtime/default: {BECAUSE}; create the pod again"
        )
    };
    for (mode, spec, expected) in [
        (
            "default",
            json!({"containers": [container("c", json!(null))]}),
            Some(lacks("c")),
        ),
        (
            "default",
            json!({"containers": [container("c", given.clone()), container("d", json!({}))],
                "initContainers": [container("i", json!({}))]}),
            Some(lacks("d (like 1 more)")),
        ),
        (
            "default",
            json!({"containers": [container("c", given.clone())]}),
            None,
        ),
        (
            "default",
            json!({"containers": [container("c", other.clone())]}),
            None,
        ),
        (
            "default",
            json!({"containers": [container("c", privileged.clone())]}),
            None,
        ),
        (
            "enforce",
            json!({"containers": [container("c", given)]}),
            None,
        ),
        (
            "enforce",
            json!({"containers": [container("c", other)]}),
            Some(format!(
                "container c: namespace shop enforces runtime/default, but the pod selects \
                 localhost/a.json; the pod was not refused, because {BECAUSE}"
            )),
        ),
        (
            "enforce",
            json!({"containers": [container("c", privileged)]}),
            Some(format!(
                "container c: namespace shop enforces runtime/default, but the container is \
                 privileged, so no profile would apply to it; the pod was not refused, because \
                 {BECAUSE}"
            )),
        ),
        (
            "default",
            json!({"os": {"name": "windows"}, "containers": [container("c", json!({}))]}),
            None,
        ),
    ] {
        assert_eq!(said(mode, &pod(SINCE, &spec)), expected, "{spec}");
    }
}

#[test]
fn a_rule_that_can_not_be_applied_would_have_refused_the_pod() {
    let spec = json!({"containers": [{"name": "c"}]});
    let note = said("often", &pod(SINCE, &spec)).unwrap();
    assert!(
        note.starts_with("container c: namespace shop: its annotation portcullis.dev/profile-mode"),
        "{note}"
    );
}

#[test]
fn a_pod_that_is_older_than_the_rule_misses_nothing() {
    let spec = json!({"containers": [{"name": "c"}]});
    assert_eq!(said("default", &pod("2026-01-02T03:04:04Z", &spec)), None);
    assert!(said("default", &pod("2026-01-02T03:04:06Z", &spec)).is_some());
}
