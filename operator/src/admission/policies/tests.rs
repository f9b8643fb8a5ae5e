use super::*;
use crate::{
    admission::rules::{Outcome, Rule},
    crd::binding::Mode,
};

#[test]
fn the_committed_policies_are_those_of_the_code() {
    let committed = include_str!("../../../../packaging/admission/policies.yaml");
    assert!(yaml().unwrap() == committed, "run: make generate");
}

fn rules(namespaces: usize, each: usize) -> RuleSet {
    let rule = |number| Rule {
        name: format!("rule-{number}"),
        outcome: Outcome::Apply(Mode::Default, "web".parse().unwrap()),
        pods: Vec::new(),
        containers: BTreeSet::new(),
        images: BTreeSet::new(),
    };
    let rules: Vec<Rule> = (0..each).map(rule).collect();
    RuleSet {
        namespaces: (0..namespaces)
            .map(|number| (format!("team-{number:05}"), rules.clone()))
            .collect(),
        ..RuleSet::default()
    }
}

fn variables(policies: &Policies) -> &[Value] {
    let variables = policies.specs[&Part::Mutating]["variables"].as_array();
    variables.unwrap()
}

#[test]
fn no_expression_is_longer_than_the_api_server_takes() {
    let policies = Policies::of(&rules(1_000, 5), &[]).unwrap();
    assert!(policies.cut.is_empty());
    let expressions = variables(&policies).iter();
    let mut lengths = expressions.map(|variable| variable["expression"].as_str().unwrap().len());
    assert!(lengths.all(|length| length < 100_000));
    let shards = variables(&policies)
        .iter()
        .filter(|variable| variable["name"].as_str().unwrap().starts_with("rules"));
    assert!(shards.count() > 1);
    let lookup = variables(&policies)
        .iter()
        .find(|variable| variable["name"] == "bindings");
    let lookup = lookup.unwrap()["expression"].as_str().unwrap();
    assert!(
        lookup.starts_with("request.namespace <= 'team-0"),
        "{lookup}"
    );
}

#[test]
fn what_finds_no_place_is_named_and_the_shortest_rules_stay() {
    let policies = Policies::of(&rules(2, 1_000), &[]).unwrap();
    let names: Vec<&str> = policies.cut.keys().map(String::as_str).collect();
    assert_eq!(names, ["team-00000", "team-00001"]);
    let mut cut = policies.cut.values();
    assert!(cut.all(|cut| (100..900).contains(&cut.len()) && !cut.contains_key("rule-0")));
    let policies = Policies::of(&rules(20_000, 1), &[]).unwrap();
    let first = policies.cut.first_key_value().unwrap();
    assert!(
        first.0.as_str() > "team-10000" && first.1["rule-0"] == Cut::TooMany,
        "{first:?}"
    );
    let object = policies.specs[&Part::Mutating].to_string();
    assert!(object.len() < 1_200_000, "{}", object.len());
}

#[test]
fn a_long_rule_takes_no_place_of_others() {
    let mut set = rules(2, 20);
    let rules = set.namespaces.get_mut("team-00000").unwrap();
    let images = |count: usize| {
        let images = (0..count).map(|number| format!("{}/{number}", "x".repeat(100)));
        images.map(|image| image.parse().unwrap()).collect()
    };
    // The first by name, and they enforce.
    let long = |name: &str, count| Rule {
        name: name.to_owned(),
        outcome: Outcome::Apply(Mode::Enforce, "web".parse().unwrap()),
        images: images(count),
        ..rules[0].clone()
    };
    let more = [long("a", 64), long("b", 30), long("c", 3)];
    rules.splice(0..0, more);
    let policies = Policies::of(&set, &[]).unwrap();
    let cut: Vec<(&str, Cut)> = policies.cut["team-00000"]
        .iter()
        .map(|(name, cut)| (name.as_str(), *cut))
        .collect();
    assert_eq!(cut, [("a", Cut::TooLarge)]);
    assert_eq!(policies.cut.len(), 1);
    let text = policies.specs[&Part::Mutating].to_string();
    let places = ["binding b", "binding c", "binding rule-0"].map(|rule| text.find(rule));
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
}

#[test]
fn a_large_namespace_takes_no_place_of_others() {
    let mut set = rules(80, 290);
    let (_, first) = set.namespaces.first_key_value().unwrap();
    let small = first[..1].to_vec();
    set.namespaces.insert("z".to_owned(), small);
    let policies = Policies::of(&set, &[]).unwrap();
    assert!(!policies.cut.is_empty() && !policies.cut.contains_key("z"));
    // The shards stay in the order of the names.
    let again = Policies::of(&set, &[]).unwrap();
    assert_eq!((again.version, again.cut), (policies.version, policies.cut));
}

#[test]
fn the_version_is_of_all_that_the_policy_does() {
    let version = |rules: &RuleSet| Policies::of(rules, &[]).unwrap().version;
    let (one, two) = (rules(1, 1), rules(1, 2));
    assert_ne!(version(&one), version(&two));
    assert_eq!(version(&one), version(&one.clone()));
    let mut other = one.clone();
    other.configuration.cluster = Some((Mode::Default, "web".parse().unwrap()));
    assert_ne!(version(&one), version(&other));
    let policies = Policies::of(&one, &[]).unwrap();
    let answer = variables(&policies)
        .iter()
        .find(|variable| variable["name"] == "version");
    let wanted = format!("size(variables.rules0) >= 0 ? '{}' : ''", policies.version);
    assert_eq!(answer.unwrap()["expression"], wanted);
}

#[test]
fn without_rules_nothing_is_added_and_exempt_namespaces_stay_out() {
    let mut rules = RuleSet::default();
    rules.configuration.exempt = ["build".parse().unwrap()].into();
    let policies = Policies::of(&rules, &["kube-system", "portcullis"]).unwrap();
    let mut filled = policies.specs[&Part::Mutating].clone();
    for variable in filled["variables"].as_array_mut().unwrap() {
        if variable["name"] == "version" {
            variable["expression"] = json!("''");
        }
    }
    assert_eq!(filled, spec(MUTATING).unwrap());
    let binding = &policies.specs[&Part::MutatingBinding];
    let selector = &binding["matchResources"]["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(
        selector["values"],
        json!(["build", "kube-system", "portcullis"])
    );
}
