//! Whether containers pass the gate: warns about a container that runs, whose annotation selects a
//! profile that no equal field does, and about which no decision of its node's gate is known.

mod unchecked;

use crate::{
    crd::gate::GateState,
    kube::{
        events::{EventReason, Notice, PodEvents, Publisher},
        health::{HEARTBEAT, Health},
        metrics::{ControllerMetrics, GateLabels},
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
    let mut events = PodEvents::new(Some(publisher));
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
            let gates = metrics.gates.get_or_create(&labels);
            gates.set(count as u64);
        }
        let (pods, now) = (stores.pods.snapshot(), Timestamp::now());
        for found in unchecked.look(&pods, &reports, Instant::now(), now) {
            metrics.unchecked.inc();
            let (notice, pod) = (notice(&found), &found.pod);
            let pod = format!("{}/{}", pod.namespace, pod.name);
            let log = || tracing::warn!("pod {pod}: {}", notice.note);
            if let Some(result) = events.publish(&pod, Some(&notice), log).await {
                metrics.count_event(result);
            }
            heartbeat.beat();
        }
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
