//! What becomes of a pod: the rule set, evaluated here as the policies evaluate it in the API server.
//!
//! It is pure, and decides exactly as `mutating.yaml` and `validating.yaml` do, with the same
//! messages. One table tests both (`tests/operator/src/cases/admission/table.json`).

mod candidates;
mod containers;
mod patch;

use super::{
    review::{Pod, Verdict},
    rules::{CHANGED_BY, Outcome, RuleSet},
};
use crate::crd::binding::Mode;
use candidates::{Candidate, candidates, of_cluster, of_namespace};
use containers::{Said, containers, field, mark, selected};
use patch::{add_field, changed_by, remove};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The annotation that selects the pod's profile.
const POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// What is before a container's name in the annotation that selects its profile.
const CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// What annotations that select a profile have in common.
const SELECTS: &str = "seccomp.security.alpha.kubernetes.io/";
/// The annotation of a static pod's mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where a pod is created, or gets ephemeral containers.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The name of its namespace.
    pub namespace: &'a str,
    /// The annotations of its namespace.
    pub annotations: &'a BTreeMap<String, String>,
    /// The rules, at least those of its namespace and the offer of the profile that is named there.
    pub rules: &'a RuleSet,
}

type Annotations = BTreeMap<String, String>;

/// What is decided on a container.
struct Decided<'a> {
    said: &'a Said<'a>,
    rule: Option<&'a Candidate<'a>>,
    /// The profile that its field gets; empty where it stays as it is.
    set: String,
}

impl Decided<'_> {
    fn is_enforced(&self) -> bool {
        self.rule.is_some_and(Candidate::enforces)
    }
}

/// What a mutating webhook answers for a new pod, or, with the pod as it was, for new ephemeral
/// containers.
pub fn mutate(pod: &Pod, before: Option<&Pod>, around: Surroundings<'_>) -> Verdict {
    let none = Annotations::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let is_windows = pod.spec.os.as_ref().is_some_and(|os| os.name == "windows");
    if is_windows || annotations.contains_key(MIRROR) {
        return Verdict::default();
    }
    let containers = containers(pod, before, annotations);
    let pod_annotation = selected(annotations, POD_ANNOTATION);
    let pod_field = field(pod.spec.security_context.as_ref());
    let (of_namespace, namespace_fault) = of_namespace(&around);
    let of_cluster = of_cluster(&around);
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let candidates = candidates(&around, of_cluster.as_ref(), of_namespace.as_ref());
    let differ = before.is_none()
        && !pod_annotation.is_empty()
        && !pod_field.is_empty()
        && pod_annotation != pod_field;
    let pod_fault = match namespace_fault {
        Some(fault) => Some(format!("namespace {}: {fault}", around.namespace)),
        None => differ.then(|| {
            format!(
                "the annotation {POD_ANNOTATION} selects {pod_annotation}, but the pod's field securityContext.seccompProfile {pod_field}"
            )
        }),
    };
    let mut decided = Vec::new();
    for said in &containers {
        let own = [
            said.field.as_str(),
            said.annotation,
            &pod_field,
            pod_annotation,
        ];
        let own = own
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default();
        let rule = candidates
            .iter()
            .find(|it| it.selects(labels, said.container));
        if let Some(why) = fault(said, own, rule, pod_fault.as_deref()) {
            return Verdict::refused(why);
        }
        let set = set(said, own, rule);
        decided.push(Decided { said, rule, set });
    }
    let sets_pod = before.is_none() && pod_field.is_empty() && becomes_field(pod_annotation);
    let mut patches = Vec::new();
    if sets_pod {
        let context = pod.spec.security_context.as_ref();
        patches.push(add_field("/spec", context, pod_annotation));
    }
    for Decided { said, set, .. } in decided.iter().filter(|it| !it.set.is_empty()) {
        let context = said.container.security_context.as_ref();
        patches.push(add_field(&said.at, context, set));
    }
    // Later, annotations can't be changed any more.
    if before.is_none() {
        // What the API server would not accept beside the fields.
        if pod_annotation == "unconfined"
            && (pod_field.is_empty() || pod_field == pod_annotation)
            && decided.iter().all(Decided::is_enforced)
        {
            patches.push(remove(POD_ANNOTATION));
        }
        patches.extend(decided.iter().filter_map(unfitting));
        let why = reasons(sets_pod, &decided);
        if !why.is_empty() {
            patches.push(changed_by(pod.metadata.annotations.as_ref(), &why));
        }
    }
    Verdict {
        patches,
        ..Verdict::default()
    }
}

/// The removal of a container's annotation that does not fit its field.
fn unfitting(decided: &Decided<'_>) -> Option<Value> {
    let said = decided.said;
    let field = if decided.set.is_empty() {
        &said.field
    } else {
        &decided.set
    };
    let fits = said.annotation.is_empty() || field.is_empty() || said.annotation == field;
    let key = format!("{CONTAINER_ANNOTATION}{}", said.container.name);
    (!fits).then(|| remove(&key))
}

/// By which rules a pod is changed.
fn reasons(sets_pod: bool, decided: &[Decided<'_>]) -> String {
    let mut why = Vec::from_iter(sets_pod.then_some("annotation"));
    for each in decided {
        let annotation = each.said.annotation;
        let is_replaced = annotation == "unconfined" && each.is_enforced();
        let by = match each.rule {
            _ if each.set.is_empty() && !is_replaced => continue,
            _ if each.set == annotation => "annotation",
            Some(rule) => rule.whose.as_str(),
            None => "",
        };
        if !why.contains(&by) {
            why.push(by);
        }
    }
    why.join(", ")
}

/// What a validating webhook answers: it refuses what the mutating policy has marked, and keeps
/// annotations as they were when the pod was created. `before` is the object as it was; a binding of
/// a pod to a node has none.
pub fn validate(object: &Pod, before: Option<&Pod>, subresource: &str, creates: bool) -> Verdict {
    let is_new = subresource.is_empty() && creates;
    if is_new || subresource == "ephemeralcontainers" {
        let spec = &object.spec;
        let all = [
            &spec.containers,
            &spec.init_containers,
            &spec.ephemeral_containers,
        ];
        let mut all = all.into_iter().flatten().flatten();
        if let Some(why) = all.find_map(mark) {
            return Verdict::refused(why.to_owned());
        }
    }
    if is_new {
        return Verdict::default();
    }
    let none = Annotations::new();
    let after = object.metadata.annotations.as_ref().unwrap_or(&none);
    let before = before.and_then(|before| before.metadata.annotations.as_ref());
    let before = before.unwrap_or(&none);
    let keys: BTreeSet<&String> = after.keys().chain(before.keys()).collect();
    let changed = keys.into_iter().find(|key| {
        (key.as_str() == CHANGED_BY || key.contains(SELECTS)) && after.get(*key) != before.get(*key)
    });
    changed.map_or_else(Verdict::default, |key| {
        Verdict::refused(format!(
            "the annotation {key} can be set only when the pod is created"
        ))
    })
}

/// Why a container is refused.
fn fault(
    said: &Said<'_>,
    own: &str,
    rule: Option<&Candidate<'_>>,
    pod_fault: Option<&str>,
) -> Option<String> {
    if let Some(why) = mark(said.container) {
        return Some(why.to_owned());
    }
    if let Some(fault) = pod_fault {
        return Some(fault.to_owned());
    }
    let name = &said.container.name;
    let (annotation, field) = (said.annotation, &said.field);
    let is_replaced = annotation == "unconfined" && rule.is_some_and(Candidate::enforces);
    if !annotation.is_empty() && !field.is_empty() && annotation != field && !is_replaced {
        return Some(format!(
            "container {name}: the annotation {CONTAINER_ANNOTATION}{name} selects {annotation}, but its field securityContext.seccompProfile {field}"
        ));
    }
    let rule = rule?;
    let whose = &rule.whose;
    match rule.outcome {
        Outcome::Refuse(why) => Some(format!("container {name}: {whose} enforces {why}")),
        Outcome::Apply(Mode::Default, _) => None,
        Outcome::Apply(Mode::Enforce, profile) if said.is_privileged() => Some(format!(
            "container {name}: {whose} enforces {profile}, but the container is privileged, so no profile would apply to it"
        )),
        Outcome::Apply(Mode::Enforce, profile) => {
            let fits = own.is_empty() || own == "unconfined" || own == profile.to_string();
            (!fits).then(|| {
                format!("container {name}: {whose} enforces {profile}, but the pod selects {own}")
            })
        }
    }
}

/// Whether an annotation becomes a field. One never weakens, so `unconfined` does not.
fn becomes_field(annotation: &str) -> bool {
    annotation.starts_with("localhost/") || annotation == "runtime/default"
}

/// The profile that a container's field gets; empty where it stays as it is.
fn set(said: &Said<'_>, own: &str, rule: Option<&Candidate<'_>>) -> String {
    let given = match rule.map(|rule| rule.outcome) {
        Some(Outcome::Apply(_, profile)) => profile.to_string(),
        _ => String::new(),
    };
    let enforces = rule.is_some_and(Candidate::enforces);
    if enforces && (own.is_empty() || own == "unconfined") {
        given
    } else if !said.field.is_empty() {
        String::new()
    } else if becomes_field(said.annotation) {
        said.annotation.to_owned()
    } else if own.is_empty() && !said.is_privileged() {
        given
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
