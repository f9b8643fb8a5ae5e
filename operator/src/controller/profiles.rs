//! The controller of `SeccompProfile` objects: their status, and the finalizer that protects those
//! in use.

mod deferral;
mod events;
mod failures;
mod holder;
mod nodes;
mod reconciler;
mod resolutions;
mod status;
mod uses;
mod writer;

use crate::kube::{
    events::Publisher,
    health::{HEARTBEAT, Health},
    metrics::ControllerMetrics,
    schedule::Schedule,
    stores::Stores,
};
use events::ProfileEvents;
use kube::Client;
use portcullis_profile::program::Limits;
use reconciler::Reconciler;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, interval};
use writer::Writer;

/// How long changes are collected before a pass. A node reports many profiles at once, and each
/// status should be written only once.
const DEBOUNCE: Duration = Duration::from_millis(700);

/// Keeps profiles up to date until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    client: Client,
    publisher: Publisher,
    limits: Limits,
    health: Health,
    metrics: ControllerMetrics,
) {
    let (events, queue) = ProfileEvents::new();
    let writer = Writer::new(client.clone(), metrics.clone());
    let reconciler = Reconciler::new(client, limits, events, metrics.clone());
    tokio::join!(
        follow(&stores, reconciler, &health),
        holder::run(&stores, writer, &health, &metrics),
        events::publish(publisher, queue, &metrics)
    );
}

async fn follow(stores: &Stores, mut reconciler: Reconciler, health: &Health) {
    let mut profiles = stores.profiles.changes();
    let mut reports = stores.node_reports.changes();
    let mut nodes = stores.nodes.changes();
    let mut agents = stores.agents.changes();
    let mut pods = stores.pods.changes();
    let mut artifacts = stores.artifacts.changes();
    let heartbeat = health.heartbeat("profiles");
    let mut idle = interval(HEARTBEAT);
    let mut late_events = interval(events::NODE_PATIENCE);
    let mut schedule = Schedule::after(DEBOUNCE);
    loop {
        heartbeat.beat();
        tokio::select! {
            () = profiles.next() => {}
            () = reports.next() => {}
            () = nodes.next() => {}
            () = agents.next() => {}
            () = pods.next() => {}
            () = artifacts.next() => {}
            () = schedule.reached(), if is_complete(stores) => {
                let due = reconciler.pass(stores, &heartbeat).await.map(Instant::from_std);
                schedule.set(due);
                health.set_ready();
                continue;
            }
            is_told = reconciler.checked(stores) => {
                if !is_told {
                    continue;
                }
            }
            _ = idle.tick() => continue,
            _ = late_events.tick() => if !reconciler.has_waiting_events() {
                continue;
            }
        }
        // A deferred pass happens earlier if there is a change.
        schedule.bring_forward(DEBOUNCE);
    }
}

/// Whether everything that a status depends on is known.
fn is_complete(stores: &Stores) -> bool {
    stores.profiles.is_complete()
        && stores.node_reports.is_complete()
        && stores.nodes.is_complete()
        && stores.pods.is_complete()
        // Without the right to read it, statuses are still better than none.
        && (stores.agents.is_complete() || stores.agents.has_failed())
}
