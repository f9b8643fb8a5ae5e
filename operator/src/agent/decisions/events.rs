//! Reports the gate's decisions: in the log and, in a cluster, as events on the pod.

use super::count_event;
use crate::kube::{
    events::{EventReason, Notice, PodEvents, Publisher},
    metrics::AgentMetrics,
};
use k8s_openapi::api::core::v1::ObjectReference;
use portcullis_profile::gate::decision::{Decision, Outcome};
use tokio::sync::mpsc;

/// Reports decisions, within limits.
pub(super) struct DecisionEvents<'a> {
    events: PodEvents,
    metrics: &'a AgentMetrics,
}

impl DecisionEvents<'_> {
    pub(super) fn new(publisher: Option<Publisher>, metrics: &AgentMetrics) -> DecisionEvents<'_> {
        DecisionEvents {
            events: PodEvents::new(publisher),
            metrics,
        }
    }

    pub(super) async fn run(mut self, mut decisions: mpsc::Receiver<Decision>) {
        while let Some(decision) = decisions.recv().await {
            self.publish(&decision).await;
        }
    }

    async fn publish(&mut self, decision: &Decision) {
        let notice = notice(decision);
        let pod = format!(
            "{}/{}",
            decision.namespace.as_deref().unwrap_or("-"),
            decision.pod.as_deref().unwrap_or("-")
        );
        let log = || tracing::warn!("the gate: pod {pod}, {}", words(decision));
        if let Some(result) = self.events.publish(&pod, notice.as_ref(), log).await {
            count_event(result, self.metrics);
        }
    }
}

/// The event on the pod, or `None` if the decision names no pod.
pub(super) fn notice(decision: &Decision) -> Option<Notice> {
    let namespace = decision.namespace.clone().filter(|name| is_name(name))?;
    let pod = decision.pod.clone().filter(|name| is_name(name))?;
    Some(Notice {
        about: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace),
            name: Some(pod),
            uid: decision.uid.clone(),
            ..ObjectReference::default()
        },
        reason: match decision.outcome {
            Outcome::Warned => EventReason::SeccompWarning,
            _ => EventReason::SeccompRefused,
        },
        note: words(decision),
    })
}

fn words(decision: &Decision) -> String {
    let part = |value: &'_ Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let what = match decision.outcome {
        Outcome::Warned => "starts anyway",
        _ => "does not start",
    };
    format!(
        "container {} {what}: {} (annotation {}, reference {})",
        part(&decision.container),
        decision.message,
        part(&decision.annotation),
        part(&decision.reference),
    )
}

/// Whether a value can be the name of an object, and thus a part of a URL path.
fn is_name(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 253
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        && !value.starts_with('.')
}
