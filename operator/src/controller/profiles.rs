//! The controller of `SeccompProfile` objects: their status, and the finalizer that protects those
//! in use.

mod deferral;
mod events;
mod failures;
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
    stores::Stores,
};
use events::ProfileEvents;
use kube::Client;
use reconciler::Reconciler;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, interval, sleep_until};

/// How long changes are collected before a pass. A node reports many profiles at once, and each
/// status should be written only once.
const DEBOUNCE: Duration = Duration::from_millis(700);

/// Keeps profiles up to date until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    client: Client,
    publisher: Publisher,
    health: Health,
    metrics: ControllerMetrics,
) {
    let (events, queue) = ProfileEvents::new();
    let reconciler = Reconciler::new(client, events, metrics.clone());
    tokio::join!(
        follow(&stores, reconciler, &health),
        events::publish(publisher, queue, &metrics)
    );
}

async fn follow(stores: &Stores, mut reconciler: Reconciler, health: &Health) {
    let mut profiles = stores.profiles.changes();
    let mut reports = stores.node_reports.changes();
    let mut nodes = stores.nodes.changes();
    let mut agents = stores.agents.changes();
    let mut pods = stores.pods.changes();
    let heartbeat = health.heartbeat("profiles");
    let mut idle = interval(HEARTBEAT);
    let mut late_events = interval(events::NODE_PATIENCE);
    let mut due = Some(Instant::now() + DEBOUNCE);
    loop {
        heartbeat.beat();
        let at = due.unwrap_or_else(|| Instant::now() + HEARTBEAT);
        tokio::select! {
            () = profiles.next() => {}
            () = reports.next() => {}
            () = nodes.next() => {}
            () = agents.next() => {}
            () = pods.next() => {}
            () = sleep_until(at), if due.is_some() && is_complete(stores) => {
                due = reconciler.pass(stores, &heartbeat).await.map(Instant::from_std);
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
        let soon = Instant::now() + DEBOUNCE;
        due = Some(due.map_or(soon, |due| due.min(soon)));
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
