use super::*;
use crate::admission::rules::{
    Configuration, MODE_ANNOTATION, Offer, PROFILE_ANNOTATION, ProfileRef, Rule,
};
use serde_json::json;

/// The table of the cases on a real API server.
#[path = "../../../../tests/operator/src/cases/admission/table.rs"]
mod table;
use table::{TABLES, WEB, field as field_of, words};

/// Applies the operations that [`mutate`] makes.
fn patched(pod: &Value, patches: &[Value]) -> Value {
    let mut pod = pod.clone();
    for patch in patches {
        let path = patch["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = pod
            .pointer_mut(parent)
            .expect(path)
            .as_object_mut()
            .unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        match patch["op"].as_str() {
            Some("add") => drop(parent.insert(key, patch["value"].clone())),
            Some("remove") => drop(parent.remove(&key).expect(path)),
            other => panic!("{other:?}"),
        }
    }
    pod
}

fn annotations(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn rule(name: &str, outcome: Outcome) -> Rule {
    Rule {
        name: name.to_owned(),
        outcome,
        pods: Vec::new(),
        containers: BTreeSet::new(),
        images: BTreeSet::new(),
    }
}

fn apply(mode: Mode, profile: &str) -> Outcome {
    Outcome::Apply(mode, profile.parse().unwrap())
}

/// The namespaces of the cases on a real API server.
fn rules() -> RuleSet {
    let offer = Offer::of(&serde_json::from_value(json!({})).unwrap()).unwrap();
    let missing = "SeccompProfile gone, which does not exist".to_owned();
    RuleSet {
        configuration: Configuration::default(),
        namespaces: [
            ("bound", rule("b", apply(Mode::Default, "web"))),
            ("bound-by-force", rule("b", apply(Mode::Enforce, "web"))),
            ("missing", rule("strict", Outcome::Refuse(missing))),
        ]
        .map(|(namespace, rule)| (namespace.to_owned(), vec![rule]))
        .into(),
        offers: [("web".to_owned(), offer)].into(),
    }
}

fn of_namespace(name: &str) -> Value {
    match name {
        "by-default" => json!({PROFILE_ANNOTATION: "web"}),
        "by-force" | "enforced" => json!({PROFILE_ANNOTATION: "web", MODE_ANNOTATION: "enforce"}),
        "not-offered" => json!({PROFILE_ANNOTATION: "secret"}),
        "malformed" => json!({PROFILE_ANNOTATION: "../web"}),
        "half" => json!({MODE_ANNOTATION: "enforce"}),
        "mode" => json!({PROFILE_ANNOTATION: "web", MODE_ANNOTATION: "strict"}),
        _ => json!({}),
    }
}

fn review(namespace: &str, pod: &Value, before: Option<&Value>, rules: &RuleSet) -> Verdict {
    let read = |pod: &Value| serde_json::from_value::<Pod>(pod.clone()).unwrap();
    let around = Surroundings {
        namespace,
        annotations: &annotations(&of_namespace(namespace)),
        rules,
    };
    mutate(&read(pod), before.map(read).as_ref(), around)
}

fn profile(word: &str) -> Value {
    if word.is_empty() {
        return json!({});
    }
    json!({"seccompProfile": field_of(word)})
}

fn pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}

#[test]
fn fields_annotations_and_rules_decide_in_their_order() {
    let rules = rules();
    for (namespace, rows) in TABLES {
        for (row, place) in rows.iter().flat_map(|row| {
            let places = ["containers", "initContainers"];
            places.map(|place| (row, place))
        }) {
            let mut said = pod();
            for (key, value) in [
                (POD_ANNOTATION, row.pod_annotation),
                (
                    "container.seccomp.security.alpha.kubernetes.io/c",
                    row.annotation,
                ),
            ] {
                if !value.is_empty() {
                    said["metadata"]["annotations"][key] = json!(value);
                }
            }
            said["spec"]["securityContext"] = profile(row.pod_field);
            let own = json!({"name": "own", "securityContext": profile(WEB)});
            said["spec"]["containers"] = json!([own]);
            let mut container = json!({"name": "c", "image": "x"});
            if !row.field.is_empty() {
                container["securityContext"] = profile(row.field);
            }
            said["spec"][place] = json!([container]);
            let verdict = review(namespace, &said, None, &rules);
            let what = format!("{namespace}, {place}: {}", row.what);
            assert_eq!(verdict.refusal, None, "{what}");
            let made = patched(&said, &verdict.patches);
            let of = |context: &Value| words(&context["securityContext"]["seccompProfile"]);
            let found = (of(&made["spec"]), of(&made["spec"][place][0]));
            assert_eq!((found.0.as_str(), found.1.as_str()), row.wanted, "{what}");
            let is_changed = (row.pod_field, row.field) != row.wanted;
            let says = made["metadata"]["annotations"][CHANGED_BY].is_string();
            assert_eq!(is_changed, says, "{what}: {made}");
            // What comes out is left as it is when it comes again.
            let again = review(namespace, &made, None, &rules);
            assert_eq!(again, Verdict::default(), "{what}: {made}");
        }
    }
}

#[test]
fn what_is_refused_says_what_the_policies_say() {
    let golden = include_str!("../../../../tests/operator/src/cases/admission/messages.txt");
    let mut golden = golden
        .lines()
        .filter_map(|line| line.split_once("denied request: "));
    let rules = rules();
    let localhost = |path: &str| profile(&format!("localhost/{path}"));
    let annotated = |key: &str, value: &str| json!({"annotations": {key: value}});
    let container = "container.seccomp.security.alpha.kubernetes.io/c";
    let cases = [
        (
            "free",
            annotated(POD_ANNOTATION, "localhost/a"),
            localhost("b"),
            json!({}),
        ),
        (
            "free",
            annotated(container, "localhost/a"),
            json!({}),
            localhost("b"),
        ),
        (
            "free",
            annotated(container, "unconfined"),
            json!({}),
            localhost("b"),
        ),
        ("enforced", json!({}), localhost("b"), json!({})),
        (
            "enforced",
            annotated(POD_ANNOTATION, "runtime/default"),
            json!({}),
            json!({}),
        ),
        (
            "enforced",
            json!({}),
            json!({}),
            json!({"privileged": true}),
        ),
        ("not-offered", json!({}), json!({}), json!({})),
        ("malformed", json!({}), json!({}), json!({})),
        ("half", json!({}), json!({}), json!({})),
        ("mode", json!({}), json!({}), json!({})),
        ("missing", json!({}), json!({}), json!({})),
    ];
    for (namespace, metadata, of_pod, of_container) in cases {
        let mut refused = pod();
        refused["metadata"] = metadata;
        refused["spec"]["securityContext"] = of_pod;
        refused["spec"]["containers"][0]["securityContext"] = of_container;
        let verdict = review(namespace, &refused, None, &rules);
        let wanted = golden.next().map(|(_, message)| message.to_owned());
        assert_eq!(verdict.refusal, wanted, "{refused}");
    }
    assert_eq!(golden.next(), None);
}

#[test]
fn only_new_ephemeral_containers_are_decided_on_later() {
    let rules = rules();
    let mut before = pod();
    before["spec"]["ephemeralContainers"] = json!([{"name": "old"}]);
    let mut after = before.clone();
    after["metadata"]["annotations"] = json!({POD_ANNOTATION: "unconfined"});
    after["spec"]["ephemeralContainers"] = json!([{"name": "old"}, {"name": "new"}]);
    let verdict = review("bound-by-force", &after, Some(&before), &rules);
    let made = patched(&after, &verdict.patches);
    let context =
        |number: usize| made["spec"]["ephemeralContainers"][number]["securityContext"].clone();
    assert_eq!((context(0), context(1)), (Value::Null, profile(WEB)));
    assert_eq!(
        verdict.patches.len(),
        1,
        "nothing else can be changed: {made}"
    );
    after["spec"]["ephemeralContainers"][1]["securityContext"] = profile("localhost/other");
    let verdict = review("bound-by-force", &after, Some(&before), &rules);
    let refusal = verdict.refusal.unwrap();
    assert!(
        refusal.ends_with("but the pod selects localhost/other"),
        "{refusal}"
    );
}

#[test]
fn the_defaults_of_the_cluster_come_last_or_first_and_two_rules_are_both_named() {
    let mut rules = rules();
    let of = |namespace, rules: &RuleSet| {
        let made = patched(&pod(), &review(namespace, &pod(), None, rules).patches);
        let by = made["metadata"]["annotations"][CHANGED_BY].clone();
        (made["spec"]["containers"][0]["securityContext"].clone(), by)
    };
    rules.configuration.cluster = Some((Mode::Default, ProfileRef::RuntimeDefault));
    let by_cluster = (profile("runtime/default"), json!("the cluster's default"));
    assert_eq!(of("free", &rules), by_cluster);
    assert_eq!(
        of("by-default", &rules),
        (profile(WEB), json!("namespace by-default"))
    );
    rules.configuration.cluster = Some((Mode::Enforce, ProfileRef::RuntimeDefault));
    assert_eq!(of("by-default", &rules), by_cluster);
    rules.configuration.cluster = None;
    let mut init = rule("a", apply(Mode::Enforce, "web"));
    init.containers = ["i".parse().unwrap()].into();
    rules.namespaces.get_mut("bound").unwrap().push(init);
    let mut two = pod();
    two["spec"]["initContainers"] = json!([{"name": "i"}]);
    two["metadata"]["annotations"] = json!({CHANGED_BY: "me"});
    let made = patched(&two, &review("bound", &two, None, &rules).patches);
    assert_eq!(
        made["metadata"]["annotations"][CHANGED_BY],
        "me, binding b, binding a"
    );
}

#[test]
fn windows_and_mirror_pods_stay_as_they_are() {
    let rules = rules();
    let mut windows = pod();
    windows["spec"]["os"] = json!({"name": "windows"});
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({MIRROR: "x"});
    for untouched in [windows, mirror] {
        assert_eq!(
            review("by-force", &untouched, None, &rules),
            Verdict::default()
        );
    }
}

#[test]
fn annotations_stay_as_they_were_when_the_pod_was_created() {
    let with = |annotations: Value| Pod {
        metadata: serde_json::from_value(json!({"annotations": annotations})).unwrap(),
        ..Pod::default()
    };
    let (before, other) = (
        with(json!({POD_ANNOTATION: "a", "x": "1"})),
        with(json!({"x": "2"})),
    );
    let same = with(json!({POD_ANNOTATION: "a"}));
    let marked = json!({"spec": {"containers": [{"securityContext": profile("localhost/portcullis.dev/refused/why")}]}});
    let marked: Pod = serde_json::from_value(marked).unwrap();
    assert_eq!(
        validate(&same, Some(&before), "", false),
        Verdict::default()
    );
    assert_eq!(
        validate(&other, Some(&Pod::default()), "status", false),
        Verdict::default()
    );
    assert_eq!(
        validate(&same, None, "", true),
        Verdict::default(),
        "it is created"
    );
    for (after, before) in [
        (&other, Some(&before)),
        (&same, Some(&other)),
        (&same, None),
    ] {
        let refusal = validate(after, before, "status", false).refusal.unwrap();
        let wanted = "the annotation seccomp.security.alpha.kubernetes.io/pod can be set only when the pod is created";
        assert_eq!(refusal, wanted);
    }
    assert_eq!(
        validate(&marked, None, "", true),
        Verdict::refused("why".to_owned())
    );
    let node = with(json!({CHANGED_BY: "me"}));
    assert!(validate(&node, None, "binding", true).refusal.is_some());
}
