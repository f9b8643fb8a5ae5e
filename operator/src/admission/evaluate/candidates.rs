//! The rules that may apply to a container, in the order in which they decide.

use super::{Annotations, Surroundings};
use crate::{
    admission::{
        review::Container,
        rules::{MODE_ANNOTATION, Outcome, PROFILE_ANNOTATION, ProfileRef, Rule},
    },
    crd::binding::Mode,
};

/// A rule that may apply to a container.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) outcome: &'a Outcome,
    /// Whose it is, as messages say it.
    pub(super) whose: String,
    /// What it is restricted to, if it is a binding's.
    pub(super) rule: Option<&'a Rule>,
}

impl Candidate<'_> {
    /// Whether it applies to a container of a pod with these labels.
    pub(super) fn selects(&self, labels: &Annotations, container: &Container) -> bool {
        let image = container.image.as_deref().unwrap_or_default();
        let rule = self.rule;
        rule.is_none_or(|rule| rule.selects(labels, &container.name, image))
    }

    pub(super) fn enforces(&self) -> bool {
        matches!(self.outcome, Outcome::Apply(Mode::Enforce, _))
    }
}

pub(super) fn of_cluster(around: &Surroundings<'_>) -> Option<Outcome> {
    let (mode, profile) = around.rules.configuration.cluster.clone()?;
    Some(Outcome::Apply(mode, profile))
}

/// The rule that a namespace's annotations are, or why they are none.
pub(super) fn of_namespace(around: &Surroundings<'_>) -> (Option<Outcome>, Option<String>) {
    let fault = |why: &str| (None, Some(why.to_owned()));
    let name = around.annotations.get(PROFILE_ANNOTATION);
    let name = name.map(String::as_str).unwrap_or_default();
    let mode = around.annotations.get(MODE_ANNOTATION);
    if name.is_empty() {
        return match mode {
            None => (None, None),
            Some(_) => {
                fault("its annotation portcullis.dev/profile-mode needs portcullis.dev/profile")
            }
        };
    }
    let Ok(mode) = mode.map_or(Ok(Mode::Default), |mode| mode.parse()) else {
        return fault("its annotation portcullis.dev/profile-mode is neither default nor enforce");
    };
    let Ok(profile) = name.parse::<ProfileRef>() else {
        return fault(
            "its annotation portcullis.dev/profile is neither the name of a SeccompProfile nor runtime/default",
        );
    };
    let offer = around.rules.offers.get(name);
    let is_offered = profile == ProfileRef::RuntimeDefault
        || offer.is_some_and(|offer| offer.includes(around.namespace));
    if !is_offered {
        return fault(&format!("SeccompProfile {name} is not offered to it"));
    }
    (Some(Outcome::Apply(mode, profile)), None)
}

/// The rules in the order in which they decide: what enforces comes first.
pub(super) fn candidates<'a>(
    around: &Surroundings<'a>,
    of_cluster: Option<&'a Outcome>,
    of_namespace: Option<&'a Outcome>,
) -> Vec<Candidate<'a>> {
    let mode = |wanted: Mode| move |outcome: &&Outcome| matches!(outcome, Outcome::Apply(mode, _) if *mode == wanted);
    let whole = |outcome: &'a Outcome, whose: String| Candidate {
        outcome,
        whose,
        rule: None,
    };
    let cluster = |outcome| whole(outcome, "the cluster's default".to_owned());
    let namespace = |outcome| whole(outcome, format!("namespace {}", around.namespace));
    let mut all = Vec::new();
    all.extend(of_cluster.filter(mode(Mode::Enforce)).map(cluster));
    all.extend(of_namespace.filter(mode(Mode::Enforce)).map(namespace));
    let bound = || {
        around
            .rules
            .namespaces
            .get(around.namespace)
            .into_iter()
            .flatten()
    };
    let ordered = bound().filter(|rule| !rule.is_default());
    let ordered = ordered.chain(bound().filter(|rule| rule.is_default()));
    all.extend(ordered.map(|rule| Candidate {
        outcome: &rule.outcome,
        whose: format!("binding {}", rule.name),
        rule: Some(rule),
    }));
    all.extend(of_namespace.filter(mode(Mode::Default)).map(namespace));
    all.extend(of_cluster.filter(mode(Mode::Default)).map(cluster));
    all
}
