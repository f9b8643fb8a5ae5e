//! The gate's decisions on this node: received from the hook's socket and counted. If a container
//! was refused, or started with a warning, there is a log line and an event on its pod.

mod events;
mod socket;

use crate::kube::{
    events::Publisher,
    metrics::{
        AgentMetrics, DecisionLabels, DecisionReason, Distrust, DistrustLabels, EventLabels,
        EventResult,
    },
};
use events::DecisionEvents;
use portcullis_profile::gate::decision::{Decision, Outcome, VERSION};
use serde::Deserialize;
use socket::{Received, Socket};
use std::{io, path::Path, time::Duration};
use tokio::{sync::mpsc, time::sleep};

/// How many decisions may wait for their event. More are only counted.
const QUEUE: usize = 64;
/// How many decisions of the agent itself may wait to be counted.
pub(super) const OWN: usize = 256;
/// How long to wait before binding the socket again after a failure, and how often to check it.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// Listens on a socket, and for the agent's `own` decisions, until the future is dropped. If the socket
/// fails, that is logged and it is bound again later; the files on the node don't depend on it.
pub(super) async fn listen(
    path: &Path,
    mut own: mpsc::Receiver<Decision>,
    publisher: Option<Publisher>,
    metrics: &AgentMetrics,
) {
    let (queue, decisions) = mpsc::channel(QUEUE);
    let events = DecisionEvents::new(publisher, metrics);
    let counted = async {
        while let Some(decision) = own.recv().await {
            take(decision, &queue, metrics);
        }
    };
    tokio::join!(events.run(decisions), counted, async {
        loop {
            if let Err(error) = receive(path, &queue, metrics).await {
                tracing::warn!("the gate's socket {}: {error}", path.display());
                metrics.socket_errors.inc();
            }
            sleep(RETRY_DELAY).await;
        }
    });
}

/// Receives until the socket is removed or replaced.
async fn receive(
    path: &Path,
    queue: &mpsc::Sender<Decision>,
    metrics: &AgentMetrics,
) -> io::Result<()> {
    let socket = Socket::bind(path)?;
    loop {
        let received = tokio::select! {
            received = socket.receive() => received?,
            () = sleep(RETRY_DELAY) => {
                if socket.is_gone() {
                    return Err(io::Error::other("it was removed"));
                }
                continue;
            }
        };
        match read(received) {
            Ok(decision) => take(decision, queue, metrics),
            Err(reason) => {
                let labels = DistrustLabels { reason };
                metrics.datagrams_dropped.get_or_create(&labels).inc();
            }
        }
    }
}

/// Counts a decision, and has it published if it is a refusal or a warning.
fn take(decision: Decision, queue: &mpsc::Sender<Decision>, metrics: &AgentMetrics) {
    count(&decision, metrics);
    if matches!(decision.outcome, Outcome::Refused | Outcome::Warned)
        && queue.try_send(decision).is_err()
    {
        count_event(EventResult::Dropped, metrics);
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The decision in a datagram.
fn read(received: Received) -> Result<Decision, Distrust> {
    if received.uid != Some(0) {
        return Err(Distrust::Sender);
    }
    let bytes = received.bytes.ok_or(Distrust::Oversized)?;
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(|_| Distrust::Malformed)?;
    if version != VERSION {
        return Err(Distrust::Version);
    }
    let decision: Decision = serde_json::from_slice(&bytes).map_err(|_| Distrust::Malformed)?;
    Ok(decision.bounded())
}

fn count(decision: &Decision, metrics: &AgentMetrics) {
    let labels = DecisionLabels {
        outcome: decision.outcome.into(),
        reason: DecisionReason::new(&decision.reason),
    };
    metrics.decisions.get_or_create(&labels).inc();
}

/// Counts the result of publishing an event.
fn count_event(result: EventResult, metrics: &AgentMetrics) {
    let labels = EventLabels { result };
    metrics.decision_events.get_or_create(&labels).inc();
}

#[cfg(test)]
mod tests;
