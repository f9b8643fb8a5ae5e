//! The rules of one namespace, and what there is to say about one binding, when they are asked for.

use super::verdicts::judge;
use crate::{
    admission::rules::{Configuration, Offer, PROFILE_ANNOTATION, Rule, RuleSet},
    crd::binding::BindingValidReason,
    kube::stores::{Stores, binding::Binding, namespace::Namespace},
};

/// The rules of a namespace, and the offer of the profile that its annotation names.
pub(in crate::controller) fn rules_of(
    name: &str,
    namespace: &Namespace,
    stores: &Stores,
    configuration: &Configuration,
) -> RuleSet {
    let profiles = stores.profiles.snapshot();
    let bindings = stores.bindings.snapshot();
    let prefix = format!("{name}/");
    let of_namespace = bindings.range(prefix.clone()..);
    let of_namespace = of_namespace.take_while(|(key, _)| key.starts_with(&prefix));
    let mut rules: Vec<Rule> = of_namespace
        .filter(|(_, binding)| !binding.deleted)
        .filter_map(|(_, binding)| judge(binding, &profiles, Some(&namespace.labels)).0)
        .collect();
    rules.sort_by_key(Rule::is_default);
    let mut found = RuleSet {
        configuration: configuration.clone(),
        ..RuleSet::default()
    };
    found.namespaces.insert(name.to_owned(), rules);
    let named = namespace.annotations.get(PROFILE_ANNOTATION);
    if let Some(profile) = named.and_then(|named| profiles.get(named))
        && !profile.deleted
        && let Some(offer) = profile.offered_to.as_ref().and_then(Offer::of)
    {
        found.offers.insert(profile.name.clone(), offer);
    }
    found
}

/// Whether a binding is valid, as its status would say.
pub(in crate::controller) fn validity(
    binding: &Binding,
    stores: &Stores,
) -> (BindingValidReason, String) {
    let namespaces = stores.namespaces.snapshot();
    let labels = namespaces.get(&binding.namespace).map(|it| &it.labels);
    judge(binding, &stores.profiles.snapshot(), labels).1
}
