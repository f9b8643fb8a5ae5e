//! Answers, without an API server.

use super::*;
use crate::kube::stores::{namespace::Namespace, profile::Profile};
use serde_json::json;
use std::collections::BTreeMap;

fn namespace(annotations: &Value) -> Arc<Namespace> {
    Arc::new(Namespace {
        labels: BTreeMap::new(),
        annotations: serde_json::from_value(annotations.clone()).unwrap(),
        annotated: None,
    })
}

fn stores() -> Arc<Stores> {
    let stores = Arc::new(Stores::default());
    let profile = |name: &str, spec: Value| {
        let object = json!({"metadata": {"name": name}, "spec": spec}).to_string();
        (
            name.to_owned(),
            Arc::new(Profile::new(serde_json::from_str(&object).unwrap())),
        )
    };
    stores.profiles.fill([
        profile("web", json!({"allow": ["read"], "offeredTo": {}})),
        profile("secret", json!({"allow": ["read"]})),
    ]);
    let binding =
        json!({"metadata": {"name": "b", "namespace": "bound"}, "spec": {"profile": "web"}})
            .to_string();
    let binding: StoredBinding = serde_json::from_str(&binding).unwrap();
    stores
        .bindings
        .fill([("bound/b".to_owned(), Arc::new(Binding::new(&binding)))]);
    let enforce =
        json!({"portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce"});
    stores.namespaces.fill([
        ("bound".to_owned(), namespace(&json!({}))),
        ("bound-not".to_owned(), namespace(&json!({}))),
        ("enforced".to_owned(), namespace(&enforce)),
        ("kube-system".to_owned(), namespace(&enforce)),
    ]);
    stores
}

fn answers() -> Answers {
    Answers::new(
        stores(),
        Configuration::default(),
        vec!["kube-system".to_owned()],
        Limits::default(),
    )
}

fn review(resource: (&str, &str), namespace: &str, object: &Value, before: &Value) -> Vec<u8> {
    let operation = if before.is_null() { "CREATE" } else { "UPDATE" };
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "resource": {"group": resource.0, "version": "v1", "resource": resource.1}, "operation": operation,
        "namespace": namespace, "object": object, "oldObject": before}});
    review.to_string().into_bytes()
}

fn pod() -> Value {
    json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}

#[test]
fn a_pod_gets_the_rule_of_its_namespace() {
    let answers = answers();
    let says = |namespace: &str| {
        let body = review(("", "pods"), namespace, &pod(), &Value::Null);
        answers.now(Ask::Mutate, &body).unwrap()["response"].clone()
    };
    assert!(says("bound")["patch"].is_string() && says("enforced")["patch"].is_string());
    for untouched in ["bound-not", "kube-system"] {
        assert_eq!(
            says(untouched),
            json!({"uid": "u", "allowed": true}),
            "{untouched}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_yet_is_waited_for_and_never_taken_for_nothing() {
    let stores = stores();
    let answers = Answers::new(
        Arc::clone(&stores),
        Configuration::default(),
        Vec::new(),
        Limits::default(),
    );
    let body = review(("", "pods"), "new", &pod(), &Value::Null);
    let error = answers.answer(Ask::Mutate, &body).await.unwrap_err();
    assert_eq!(error.to_string(), "namespace new is not known yet");
    assert!(!error.is_the_askers());
    let filled = async {
        tokio::time::sleep(PATIENCE / 2).await;
        let annotations = json!({"portcullis.dev/profile": "web"});
        stores
            .namespaces
            .fill([("new".to_owned(), namespace(&annotations))]);
    };
    let (answer, ()) = tokio::join!(answers.answer(Ask::Mutate, &body), filled);
    assert!(answer.unwrap()["response"]["patch"].is_string());
    let unknown = Answers::new(
        Arc::default(),
        Configuration::default(),
        Vec::new(),
        Limits::default(),
    );
    let error = unknown.answer(Ask::Mutate, &body).await.unwrap_err();
    assert_eq!(error.to_string(), "the rules are not known yet");
}

#[test]
fn objects_of_our_kinds_are_refused_or_warned_about_as_their_status_would_say() {
    let answers = answers();
    let says = |kind: &str, name: &str, spec: &Value, before: &Value| {
        let metadata = json!({"name": name, "namespace": "bound"});
        let object = |spec: &Value| json!({"metadata": metadata, "spec": spec});
        let before = if before.is_null() {
            Value::Null
        } else {
            object(before)
        };
        let body = review(("portcullis.dev", kind), "", &object(spec), &before);
        let response = answers.now(Ask::Kinds, &body).unwrap()["response"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&response["status"]["message"]),
            text(&response["warnings"][0]),
        )
    };
    let (profiles, bindings, none) = ("seccompprofiles", "seccompbindings", &Value::Null);
    let good = json!({"allow": ["read"]});
    assert_eq!(
        says(profiles, "new", &good, none),
        (String::new(), String::new())
    );
    let wrong = json!({"allow": ["read"], "defaultErrnoRet": 5000});
    assert!(
        says(profiles, "new", &wrong, none)
            .0
            .starts_with("spec.defaultErrnoRet")
    );
    assert_eq!(
        says(profiles, "new", &wrong, &wrong).0,
        "",
        "it was so before"
    );
    let taken = says(profiles, "web.json", &good, none).0;
    assert!(
        taken.contains("belongs to the older SeccompProfile \"web\""),
        "{taken}"
    );
    assert_eq!(says(profiles, "web.json", &good, &json!({})).0, "");
    let based = json!({"allow": ["read"], "baseProfileName": "later"});
    assert!(
        says(profiles, "new", &based, none)
            .1
            .contains("there is no SeccompProfile")
    );
    let cycle = json!({"allow": ["read"], "baseProfileName": "new"});
    assert!(says(profiles, "new", &cycle, none).0.contains("cycle"));
    assert_eq!(
        says(bindings, "b", &json!({"profile": "web"}), none),
        (String::new(), String::new())
    );
    let secret = says(bindings, "b", &json!({"profile": "secret"}), none);
    assert!(
        secret.1.contains("is not offered to namespace bound"),
        "{secret:?}"
    );
    assert!(
        says(bindings, "b", &json!({"profile": "gone"}), none)
            .1
            .contains("does not exist")
    );
    assert!(
        says(bindings, "b", &json!({"profile": "a|b"}), none)
            .0
            .contains("is not the name")
    );
}

#[test]
fn what_is_no_question_for_us_is_an_error_and_the_askers() {
    let answers = answers();
    let body = review(("", "secrets"), "bound", &pod(), &Value::Null);
    for (ask, body) in [
        (Ask::Mutate, body.as_slice()),
        (Ask::Kinds, &body),
        (Ask::Mutate, b""),
        (Ask::Validate, b"[[[["),
        (
            Ask::Mutate,
            &review(("", "pods"), "bound", &json!({"spec": 7}), &Value::Null),
        ),
    ] {
        let error = answers.now(ask, body).unwrap_err();
        assert!(error.is_the_askers(), "{error}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(answers.now(Ask::Mutate, deep.as_bytes()).is_err());
}

/// Text for users.
#[tokio::test]
async fn a_profile_that_the_operators_rules_exclude_is_refused_with_what_its_status_would_say() {
    let limits = Limits {
        forbidden_calls: ["ptrace".to_owned()].into(),
        ..Limits::default()
    };
    let answers = Answers::new(stores(), Configuration::default(), Vec::new(), limits);
    let says = async |spec: Value, before: Value| {
        let object = |spec: Value| match spec {
            Value::Null => Value::Null,
            spec => json!({"metadata": {"name": "p"}, "spec": spec}),
        };
        let resource = ("portcullis.dev", "seccompprofiles");
        let body = review(resource, "", &object(spec), &object(before));
        let answered = answers.answer(Ask::Kinds, &body).await.unwrap();
        assert_eq!(answered, answers.now(Ask::Kinds, &body).unwrap());
        answered["response"]["status"]["message"].clone()
    };
    let traces = json!({"allow": ["ptrace"]});
    assert_eq!(
        says(traces.clone(), Value::Null).await,
        "the operator's configuration does not allow it: it lets through ptrace (spec.allow), \
         forbidden by --forbidden-syscalls"
    );
    let stacked = json!({"baseProfileName": "web", "defaultAction": "SCMP_ACT_LOG"});
    let said = says(stacked, Value::Null).await;
    assert!(
        said.as_str()
            .unwrap()
            .contains("ptrace (spec.defaultAction)"),
        "{said}"
    );
    for (spec, before) in [
        (json!({"allow": ["mkdir"]}), Value::Null),
        (
            json!({"allow": ["ptrace"], "state": "Disabled"}),
            Value::Null,
        ),
        // Its finalizer and its labels can still change.
        (traces.clone(), traces),
    ] {
        assert_eq!(says(spec, before).await, Value::Null);
    }
}
