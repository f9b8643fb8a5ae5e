//! The metrics of the HTTP server itself.

use super::{labels, register};
use crate::words::words;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

words! {
    /// Why the HTTP server closed a connection that had no answer yet.
    pub enum Closed {
        /// It took too long.
        Late = "late",
        /// There were too many connections, and it was the oldest.
        Displaced = "displaced",
    }
}

labels! {
    /// Labels of closed connections.
    ClosedLabels { reason: Closed }
}

/// The metrics of the HTTP server.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// Connections that were closed without an answer.
    pub connections_closed: Family<ClosedLabels, Counter>,
}

impl ServerMetrics {
    /// Registers them.
    pub fn register(to: &mut Registry) -> ServerMetrics {
        ServerMetrics {
            connections_closed: register(
                to,
                "portcullis_http_connections_closed",
                "Connections that the server closed before it had answered, by reason",
                Family::default(),
            ),
        }
    }
}
