//! What the rules are, and what there is to say about each binding.

use super::{carrier::Written, status::status};
use crate::{
    admission::{
        policies::Cut,
        rules::{
            BY_BINDING, Configuration, NamespaceName, Offer, Outcome, ProfileRef, Requirement,
            Rule, RuleSet, Unsuitable,
        },
    },
    crd::{
        SeccompBindingSpec, SeccompBindingStatus,
        binding::{BindingValidReason, LiveReason, Mode},
        condition::Reason,
    },
    kube::{
        metrics::{ControllerMetrics, admission::BindingLabels},
        store::Items,
        stores::{Stores, UsedFiles, binding::Binding, profile::Profile},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What there is to say about a binding.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) binding: Arc<Binding>,
    pub(super) valid: (BindingValidReason, String),
    pub(super) live: (LiveReason, String),
    pub(super) ties: Vec<String>,
}

/// The rules, and the verdict on each binding.
#[derive(Debug)]
pub(super) struct Verdicts {
    pub(super) rules: RuleSet,
    each: Vec<Verdict>,
    /// The place of each binding among the rules of its namespace.
    places: BTreeMap<(String, String), usize>,
}

impl Verdicts {
    /// From what the stores contain. `exempt` are the namespaces that always stay out.
    pub(super) fn of(
        stores: &Stores,
        configuration: &Configuration,
        exempt: &[String],
    ) -> Verdicts {
        let (profiles, namespaces) = (stores.profiles.snapshot(), stores.namespaces.snapshot());
        let offers = profiles.values().filter_map(|profile| {
            let offer = Offer::of(profile.offered_to.as_ref()?)?;
            (!profile.deleted).then(|| (profile.name.clone(), offer))
        });
        let mut rules = RuleSet {
            configuration: configuration.clone(),
            offers: offers.collect(),
            ..RuleSet::default()
        };
        let more = configuration.exempt.iter().map(NamespaceName::as_str);
        let exempt: BTreeSet<&str> = exempt.iter().map(String::as_str).chain(more).collect();
        let mut verdicts = Vec::new();
        for binding in stores.bindings.snapshot().values() {
            if binding.deleted {
                continue;
            }
            let labels = namespaces.get(&binding.namespace);
            let (rule, valid) = judge(binding, &profiles, labels.map(|it| &it.labels));
            let is_exempt = exempt.contains(binding.namespace.as_str());
            let live = if is_exempt {
                let message = "namespaces like this one stay out of admission".to_owned();
                (LiveReason::Exempt, message)
            } else {
                match rule.as_ref().map(|rule| &rule.outcome) {
                    Some(Outcome::Apply(..)) => (LiveReason::Live, String::new()),
                    Some(Outcome::Refuse(_)) => {
                        let message = format!("pods that it selects are refused: {}", valid.1);
                        (LiveReason::Refusing, message)
                    }
                    None => (LiveReason::NotValid, valid.1.clone()),
                }
            };
            if let Some(rule) = rule.filter(|_| !is_exempt) {
                let of_namespace = rules.namespaces.entry(binding.namespace.clone());
                of_namespace.or_default().push(rule);
            }
            verdicts.push(Verdict {
                binding: Arc::clone(binding),
                valid,
                live,
                ties: Vec::new(),
            });
        }
        let mut places = BTreeMap::new();
        for (namespace, rules) in &mut rules.namespaces {
            // They are already in the order of their names.
            rules.sort_by_key(Rule::is_default);
            let rules = rules.iter().enumerate();
            places
                .extend(rules.map(|(place, rule)| ((namespace.clone(), rule.name.clone()), place)));
        }
        let mut all = Verdicts {
            rules,
            each: verdicts,
            places,
        };
        all.find_ties();
        all
    }

    /// Which bindings of the same mode come before another and may apply to the same containers.
    fn find_ties(&mut self) {
        for verdict in &mut self.each {
            let binding = &verdict.binding;
            let Some(rules) = self.rules.namespaces.get(&binding.namespace) else {
                continue;
            };
            let key = (binding.namespace.clone(), binding.name.clone());
            let Some(this) = self.places.get(&key).and_then(|place| rules.get(*place)) else {
                continue;
            };
            let before = rules.iter().take_while(|rule| rule.name != this.name);
            let ties = before.filter(|rule| {
                rule.is_default() == this.is_default()
                    && rule.outcome != this.outcome
                    && rule.may_overlap(this)
            });
            verdict.ties = ties.map(|rule| rule.name.clone()).take(16).collect();
        }
    }

    /// Takes in what became of the rules.
    pub(super) fn apply(&mut self, written: &Written) {
        for verdict in &mut self.each {
            if !matches!(verdict.live.0, LiveReason::Live | LiveReason::Refusing) {
                continue;
            }
            let binding = &verdict.binding;
            let cut = written.cut.get(&binding.namespace);
            if let Some(problem) = &written.problem {
                verdict.live = (LiveReason::NoCarrier, problem.clone());
            } else if let Some(problem) = &written.unapplied {
                verdict.live = (LiveReason::NotApplied, problem.clone());
            } else if let Some(cut) = cut.and_then(|cut| cut.get(&binding.name)) {
                verdict.live = left_out(*cut);
            }
        }
    }

    /// The bindings that the API server should apply.
    pub(super) fn applying(&self) -> impl Iterator<Item = &Binding> {
        let applying = self.each.iter().filter(|verdict| {
            let live = verdict.live.0;
            matches!(live, LiveReason::Live | LiveReason::Refusing)
        });
        applying.map(|verdict| verdict.binding.as_ref())
    }

    /// Counts the bindings by their reason.
    pub(super) fn count(&self, metrics: &ControllerMetrics) {
        for state in LiveReason::ALL {
            let of_state = self.each.iter().filter(|it| it.live.0 == *state);
            let labels = BindingLabels { state: *state };
            let count = of_state.count() as u64;
            metrics.admission.bindings.get_or_create(&labels).set(count);
        }
    }

    /// The status of each binding. Those that change their conditions come first.
    pub(super) fn statuses(
        &self,
        pods: &Items<UsedFiles>,
    ) -> impl Iterator<Item = (&Binding, SeccompBindingStatus)> {
        let mut changed: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (pod, kept) in pods {
            let Some(namespace) = pod.split_once('/').map(|(namespace, _)| namespace) else {
                continue;
            };
            let rules = kept.changed_by.iter().flat_map(|rules| rules.split(", "));
            let bindings = rules.filter_map(|rule| rule.strip_prefix(BY_BINDING));
            for name in bindings.collect::<BTreeSet<_>>() {
                *changed.entry((namespace, name)).or_default() += 1;
            }
        }
        let mut verdicts: Vec<&Verdict> = self.each.iter().collect();
        verdicts.sort_by_key(|verdict| {
            let before = verdict.binding.status.as_ref();
            before.is_some_and(|before| LiveReason::of(&before.conditions) == Some(verdict.live.0))
        });
        verdicts.into_iter().map(move |verdict| {
            let key = (
                verdict.binding.namespace.as_str(),
                verdict.binding.name.as_str(),
            );
            let pods = changed.get(&key).copied().unwrap_or_default();
            (verdict.binding.as_ref(), status(verdict, pods))
        })
    }
}

/// What there is to say about a binding that found no place.
fn left_out(cut: Cut) -> (LiveReason, String) {
    let (reason, message) = match cut {
        Cut::TooLarge => (
            LiveReason::TooLarge,
            "with its labels, containers and images it is longer than the policies can hold for one binding (4,000 characters); split it",
        ),
        Cut::TooMany => (
            LiveReason::TooMany,
            "the namespace, or the cluster, has more bindings than the policies can hold; those that enforce come first, then short ones, then those whose names sort first",
        ),
    };
    (reason, message.to_owned())
}

/// The rule of a binding, if it gives one, and whether it is valid.
pub(super) fn judge(
    binding: &Binding,
    profiles: &Items<Arc<Profile>>,
    labels: Option<&BTreeMap<String, String>>,
) -> (Option<Rule>, (BindingValidReason, String)) {
    let invalid = |message: String| (None, (BindingValidReason::Invalid, message));
    let spec = match &binding.spec {
        Ok(spec) => spec,
        Err(error) => return invalid(error.to_string()),
    };
    let mut rule = match rule(&binding.name, spec) {
        Ok(rule) => rule,
        Err(error) => return invalid(error.to_string()),
    };
    let problem = match &rule.outcome {
        Outcome::Apply(_, ProfileRef::Named(name)) => {
            match profiles.get(name).filter(|profile| !profile.deleted) {
                None => Some((
                    BindingValidReason::ProfileNotFound,
                    format!("SeccompProfile {name}, which does not exist"),
                )),
                Some(profile) if !is_offered(profile, labels) => Some((
                    BindingValidReason::NotOffered,
                    format!(
                        "SeccompProfile {name}, which is not offered to namespace {} (spec.offeredTo)",
                        binding.namespace
                    ),
                )),
                Some(_) => None,
            }
        }
        _ => None,
    };
    match problem {
        None => {
            let message = format!("it gives {}", spec.profile);
            (Some(rule), (BindingValidReason::Valid, message))
        }
        // What should be enforced is not left open.
        Some((reason, what)) if spec.mode == Mode::Enforce => {
            let message = format!("it names {what}");
            rule.outcome = Outcome::Refuse(what);
            (Some(rule), (reason, message))
        }
        Some((reason, what)) => (None, (reason, format!("it names {what}"))),
    }
}

fn is_offered(profile: &Profile, labels: Option<&BTreeMap<String, String>>) -> bool {
    let requirements = profile.offered_to.as_ref().map(Requirement::of);
    match (requirements, labels) {
        (Some(Ok(requirements)), Some(labels)) => requirements
            .iter()
            .all(|requirement| requirement.is_met(labels)),
        _ => false,
    }
}

fn rule(name: &str, spec: &SeccompBindingSpec) -> Result<Rule, Unsuitable> {
    let containers = spec.containers.iter().map(|name| name.parse());
    let images = spec.images.iter().map(|pattern| pattern.parse());
    Ok(Rule {
        name: name.to_owned(),
        outcome: Outcome::Apply(spec.mode, spec.profile.parse()?),
        pods: spec
            .pod_selector
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), Requirement::of)?,
        containers: containers.collect::<Result<_, _>>()?,
        images: images.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests;
