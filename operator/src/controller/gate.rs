//! Whether containers pass the gate: warns about a container that runs, whose annotation selects a
//! profile that no equal field does, and about which no decision of its node's gate is known.

mod unchecked;

use crate::{
    crd::gate::GateState,
    kube::{
        events::{ALL_EVENTS, EventReason, History, Notice, POD_EVENTS, Publisher},
        health::{HEARTBEAT, Health},
        metrics::{ControllerMetrics, EventLabels, EventResult, GateLabels},
        rate_limit::Limiter,
        stores::Stores,
    },
};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use unchecked::{Found, Unchecked};

/// How often to look.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    publisher: Publisher,
    health: Health,
    metrics: ControllerMetrics,
) {
    let heartbeat = health.heartbeat("gate");
    let mut events = Events {
        publisher,
        history: History::default(),
        limiter: Limiter::new(ALL_EVENTS, POD_EVENTS, Instant::now()),
        metrics,
    };
    let mut unchecked = Unchecked::default();
    let mut look = interval(EVERY.min(HEARTBEAT));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        heartbeat.beat();
        if !stores.pods.is_complete() || !stores.node_reports.is_complete() {
            continue;
        }
        let reports = stores.node_reports.snapshot();
        for state in GateState::ALL {
            let has = |gate: Option<GateState>| gate.unwrap_or(GateState::Unknown) == *state;
            let count = reports.values().filter(|report| has(report.gate)).count();
            let labels = GateLabels { state: *state };
            let gates = events.metrics.gates.get_or_create(&labels);
            gates.set(count as u64);
        }
        let (pods, now) = (stores.pods.snapshot(), Timestamp::now());
        for found in unchecked.look(&pods, &reports, Instant::now(), now) {
            events.metrics.unchecked.inc();
            events.publish(&found).await;
            heartbeat.beat();
        }
    }
}

/// Publishes events, within limits.
struct Events {
    publisher: Publisher,
    history: History,
    limiter: Limiter,
    metrics: ControllerMetrics,
}

impl Events {
    async fn publish(&mut self, found: &Found) {
        let notice = notice(found);
        let pod = format!("{}/{}", found.pod.namespace, found.pod.name);
        tracing::warn!("pod {pod}: {}", notice.note);
        let result = if !self.limiter.allows(&pod, Instant::now()) {
            EventResult::RateLimited
        } else if let Err(error) = self.publisher.publish(&notice, &mut self.history).await {
            tracing::warn!("{error}");
            EventResult::Failed
        } else {
            EventResult::Published
        };
        let labels = EventLabels { result };
        self.metrics.profile_events.get_or_create(&labels).inc();
    }
}

/// The event on the pod. The policy portcullis-events knows how its note begins.
fn notice(found: &Found) -> Notice {
    let (pod, container) = (&found.pod, &found.pod.containers[found.index]);
    let gate = match found.gate {
        Some(GateState::Present) => "its gate is in place, but has not seen this container",
        Some(GateState::Faulty) => "its gate has a problem (kubectl get scn)",
        Some(GateState::Unknown) => "whether it has a gate is unknown (kubectl get scn)",
        None => "it reports no gate",
    };
    Notice {
        about: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: pod.uid.clone(),
            ..ObjectReference::default()
        },
        reason: EventReason::SeccompUnchecked,
        note: format!(
            "container {} runs, perhaps without the profile that it selects (annotation {}, reference {}): no decision \
             of the gate about it is known; node {}: {gate}",
            container.name, container.annotation, container.reference, pod.node
        ),
    }
}
