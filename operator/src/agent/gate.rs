//! The gate's decisions on this node: read from the hook's socket, counted, and where a container
//! was refused or started with a warning, said in the log and as an event on its pod.

mod socket;
mod teller;

use crate::{
    events::Publisher,
    health::{Health, Metric},
};
use portcullis_profile::gate::decision::{Decision, Outcome, VERSION, reasons};
use serde::Deserialize;
use socket::{Received, Socket};
use std::{io, path::Path, time::Duration};
use teller::Teller;
use tokio::{sync::mpsc, time::sleep};

/// How many decisions wait to be said; more are counted only.
const WAITING: usize = 64;
/// How long until a socket that can't be had is tried for again.
const AGAIN: Duration = Duration::from_secs(30);

const DECISIONS: Metric = Metric::counter(
    "portcullis_gate_decisions_total",
    "Decisions of the gate on this node.",
);
const DROPPED: Metric = Metric::counter(
    "portcullis_gate_datagrams_dropped_total",
    "Datagrams on the gate's socket that were not believed.",
);
const EVENTS: Metric = Metric::counter(
    "portcullis_gate_events_total",
    "What became of events about the gate's decisions.",
);
const SOCKET_ERRORS: Metric = Metric::counter(
    "portcullis_gate_socket_errors_total",
    "How often the gate's socket could not be had.",
);

/// Listens on a socket for as long as it is polled. A socket that can't be had is said, and tried
/// for again: the files on the node don't hang on it.
pub async fn listen(path: &Path, publisher: Option<Publisher>, health: &Health) {
    let (say, said) = mpsc::channel(WAITING);
    let teller = Teller::new(publisher, health.clone());
    tokio::join!(teller.run(said), async {
        loop {
            if let Err(error) = receive(path, &say, health).await {
                tracing::warn!("the gate's socket {}: {error}", path.display());
                health.add(SOCKET_ERRORS, 1);
            }
            sleep(AGAIN).await;
        }
    });
}

/// Receives until the socket is gone or another's.
async fn receive(path: &Path, say: &mpsc::Sender<Decision>, health: &Health) -> io::Result<()> {
    let socket = Socket::bind(path)?;
    loop {
        let received = tokio::select! {
            received = socket.receive() => received?,
            () = sleep(AGAIN) => {
                if socket.is_gone() {
                    return Err(io::Error::other("it was removed"));
                }
                continue;
            }
        };
        match read(received) {
            Ok(decision) => {
                count(&decision, health);
                if matches!(decision.outcome, Outcome::Refused | Outcome::Warned)
                    && say.try_send(decision).is_err()
                {
                    told("dropped", health);
                }
            }
            Err(why) => health.add_labelled(DROPPED, vec![("reason", why.as_str())], 1),
        }
    }
}

/// Why a datagram is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    /// Its sender is not root.
    Sender,
    /// It is longer than any record.
    Oversized,
    /// It is no record.
    Malformed,
    /// Its version is another one.
    Version,
}

impl Dropped {
    const fn as_str(self) -> &'static str {
        match self {
            Dropped::Sender => "sender",
            Dropped::Oversized => "oversized",
            Dropped::Malformed => "malformed",
            Dropped::Version => "version",
        }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The decision in a datagram.
fn read(received: Received) -> Result<Decision, Dropped> {
    if received.uid != Some(0) {
        return Err(Dropped::Sender);
    }
    let bytes = received.bytes.ok_or(Dropped::Oversized)?;
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(|_| Dropped::Malformed)?;
    if version != VERSION {
        return Err(Dropped::Version);
    }
    let decision: Decision = serde_json::from_slice(&bytes).map_err(|_| Dropped::Malformed)?;
    Ok(decision.bounded())
}

fn count(decision: &Decision, health: &Health) {
    let outcome = decision.outcome.as_str();
    let reason = reasons().find(|word| *word == decision.reason);
    health.add_labelled(
        DECISIONS,
        vec![("outcome", outcome), ("reason", reason.unwrap_or("other"))],
        1,
    );
}

/// Counts what became of an event.
fn told(result: &'static str, health: &Health) {
    let labels = vec![("result", result)];
    health.add_labelled(EVENTS, labels, 1);
}

#[cfg(test)]
mod tests;
