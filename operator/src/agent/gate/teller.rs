//! Says what happened at the gate: in the log and, where there is a cluster, on the pod.

use super::told;
use crate::{
    events::{History, Notice, Publisher},
    health::Health,
    limit::{Limiter, Rate},
};
use k8s_openapi::api::core::v1::ObjectReference;
use portcullis_profile::gate::decision::{Decision, Outcome};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What may be said of all pods.
const ALL: Rate = Rate {
    burst: 50,
    every: Duration::from_secs(1),
};
/// What may be said of one pod.
const POD: Rate = Rate {
    burst: 5,
    every: Duration::from_secs(30),
};

/// Says decisions, not too often.
pub(super) struct Teller {
    publisher: Option<Publisher>,
    health: Health,
    limiter: Limiter,
    history: History,
}

impl Teller {
    pub(super) fn new(publisher: Option<Publisher>, health: Health) -> Teller {
        Teller {
            publisher,
            health,
            limiter: Limiter::new(ALL, POD, Instant::now()),
            history: History::default(),
        }
    }

    pub(super) async fn run(mut self, mut decisions: mpsc::Receiver<Decision>) {
        while let Some(decision) = decisions.recv().await {
            self.tell(&decision).await;
        }
    }

    async fn tell(&mut self, decision: &Decision) {
        let notice = notice(decision);
        let pod = format!(
            "{}/{}",
            decision.namespace.as_deref().unwrap_or("-"),
            decision.pod.as_deref().unwrap_or("-")
        );
        if !self.limiter.allows(&pod, Instant::now()) {
            if let Some(notice) = notice {
                self.history.hold(&notice);
            }
            told("held", &self.health);
            return;
        }
        tracing::warn!("the gate: pod {pod}, {}", words(decision));
        let (Some(publisher), Some(notice)) = (&self.publisher, notice) else {
            return;
        };
        match publisher.publish(&notice, &mut self.history).await {
            Ok(()) => told("said", &self.health),
            Err(error) => {
                tracing::warn!("{error}");
                told("failed", &self.health);
            }
        }
    }
}

/// The event on the pod; nothing where the decision names none.
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
        warning: true,
        reason: match decision.outcome {
            Outcome::Warned => "SeccompWarning",
            _ => "SeccompRefused",
        },
        action: "StartContainer",
        note: words(decision),
    })
}

fn words(decision: &Decision) -> String {
    let part = |value: &'_ Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let what = match decision.outcome {
        Outcome::Warned => "starts all the same",
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

/// Whether a value can be an object's name, and so a part of a path.
fn is_name(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 253
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        && !value.starts_with('.')
}
