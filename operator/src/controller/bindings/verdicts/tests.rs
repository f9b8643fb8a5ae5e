use super::*;
use crate::kube::{stored::StoredBinding, stores::namespace::Namespace};
use BindingValidReason::{Invalid, NotOffered, ProfileNotFound, Valid};
use serde_json::{Value, json};

const TEAM: &str = "team";

fn binding(name: &str, spec: &Value) -> (String, Arc<Binding>) {
    let object =
        json!({"metadata": {"name": name, "namespace": TEAM, "generation": 1}, "spec": spec});
    let stored: StoredBinding = serde_json::from_str(&object.to_string()).unwrap();
    (format!("{TEAM}/{name}"), Arc::new(Binding::new(&stored)))
}

fn profile(name: &str, offered_to: &Value) -> (String, Arc<Profile>) {
    let spec = json!({"allow": ["read"], "offeredTo": offered_to});
    (name.to_owned(), Arc::new(Profile::of(name, &spec)))
}

/// Profiles `all`, `team` and `none`, and these bindings in a namespace with the label `a: b`.
fn verdicts(bindings: &[(&str, Value)]) -> Verdicts {
    let stores = Stores::default();
    stores.profiles.fill([
        profile("all", &json!({})),
        profile("team", &json!({"matchLabels": {"a": "b"}})),
        profile("none", &json!(null)),
    ]);
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let namespace = Namespace {
        labels,
        ..Namespace::default()
    };
    stores
        .namespaces
        .fill([(TEAM.to_owned(), Arc::new(namespace))]);
    let bindings = bindings.iter().map(|(name, spec)| binding(name, spec));
    stores.bindings.fill(bindings);
    Verdicts::of(
        &stores,
        &Configuration::default(),
        &["kube-system".to_owned()],
    )
}

fn reasons(verdicts: &Verdicts) -> Vec<(BindingValidReason, LiveReason)> {
    let all = verdicts.each.iter();
    all.map(|verdict| (verdict.valid.0, verdict.live.0))
        .collect()
}

#[test]
fn a_binding_needs_a_profile_that_is_offered_to_its_namespace() {
    let found = verdicts(&[
        ("a", json!({"profile": "all"})),
        ("b", json!({"profile": "team"})),
        ("c", json!({"profile": "none"})),
        ("d", json!({"profile": "absent"})),
        ("e", json!({"profile": "none", "mode": "enforce"})),
        ("f", json!({"profile": "runtime/default"})),
        (
            "g",
            json!({"profile": "all", "podSelector": {"matchLabels": {"x": "y z"}}}),
        ),
        ("h", json!({"profile": 7})),
    ]);
    assert_eq!(
        reasons(&found),
        [
            (Valid, LiveReason::Live),
            (Valid, LiveReason::Live),
            (NotOffered, LiveReason::NotValid),
            (ProfileNotFound, LiveReason::NotValid),
            (NotOffered, LiveReason::Refusing),
            (Valid, LiveReason::Live),
            (Invalid, LiveReason::NotValid),
            (Invalid, LiveReason::NotValid),
        ]
    );
    let names: Vec<&str> = found.rules.namespaces[TEAM]
        .iter()
        .map(|rule| rule.name.as_str())
        .collect();
    assert_eq!(names, ["e", "a", "b", "f"], "what enforces comes first");
    assert_eq!(found.rules.offers.keys().collect::<Vec<_>>(), ["all"]);
}

#[test]
fn a_tie_is_said_on_the_binding_that_comes_later() {
    let found = verdicts(&[
        ("a", json!({"profile": "all"})),
        ("b", json!({"profile": "team"})),
        ("c", json!({"profile": "all"})),
        ("d", json!({"profile": "team", "mode": "enforce"})),
    ]);
    let ties: Vec<&[String]> = found.each.iter().map(|it| it.ties.as_slice()).collect();
    assert_eq!(ties[0], [""; 0]);
    assert_eq!(ties[1], ["a"]);
    assert_eq!(ties[2], ["b"]);
    assert_eq!(ties[3], [""; 0], "it comes before them all");
}

#[test]
fn what_became_of_the_rules_is_said_on_each_binding() {
    let mut found = verdicts(&[
        ("a", json!({"profile": "all"})),
        ("b", json!({"profile": "team"})),
        ("c", json!({"profile": "team"})),
    ]);
    let cut = [("a", Cut::TooLarge), ("c", Cut::TooMany)];
    let cut = cut.map(|(name, why)| (name.to_owned(), why));
    found.apply(&Written {
        cut: [(TEAM.to_owned(), cut.into())].into(),
        ..Written::default()
    });
    let live = |found: &Verdicts| {
        reasons(found)
            .into_iter()
            .map(|it| it.1)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        live(&found),
        [LiveReason::TooLarge, LiveReason::Live, LiveReason::TooMany]
    );
    assert_eq!(found.applying().count(), 1);
    let mut found = verdicts(&[
        ("a", json!({"profile": "all"})),
        ("b", json!({"profile": "absent"})),
    ]);
    found.apply(&Written::nothing("not there".to_owned()));
    assert_eq!(live(&found), [LiveReason::NoCarrier, LiveReason::NotValid]);
    let mut found = verdicts(&[("a", json!({"profile": "all"}))]);
    found.apply(&Written {
        unapplied: Some("too old".to_owned()),
        ..Written::default()
    });
    assert_eq!(live(&found), [LiveReason::NotApplied]);
}

#[test]
fn pods_count_for_each_binding_that_changed_them() {
    let found = verdicts(&[("a", json!({"profile": "all"}))]);
    let by = |rules: &str| UsedFiles {
        changed_by: Some(Arc::from(rules)),
        ..UsedFiles::default()
    };
    let pods = Items::from([
        ("team/1".to_owned(), by("annotation, binding a, binding a")),
        ("team/2".to_owned(), by("binding ab")),
        ("other/3".to_owned(), by("binding a")),
    ]);
    let counts: Vec<u64> = found
        .statuses(&pods)
        .map(|(_, status)| status.pods)
        .collect();
    assert_eq!(counts, [1]);
}
