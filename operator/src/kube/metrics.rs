//! Every metric of the operator: its name, its help text, and the values that its labels can have.
//! Here is what they share; each part of the operator has a file.
//!
//! Labels are structs of enums, so the number of series is bounded. `prometheus-client` appends
//! `_total` to the names of counters and `_seconds` to those of durations.

pub mod admission;
mod agent;
mod config_maps;
mod controller;
mod server;

pub use agent::{
    AgentMetrics, DecisionLabels, DecisionReason, Distrust, DistrustLabels, FileLabels, FileState,
    OutcomeWord, ReportLabels, ReportResult,
};
pub use config_maps::{KeyLabels, KeyState};
pub use controller::{
    ControllerMetrics, GateLabels, ProfileLabels, ProfileWrite, WatchLabels, Watched, WriteLabels,
};
pub use server::{Closed, ClosedLabels, ServerMetrics};

use crate::words::words;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        gauge::Gauge as SignedGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry, Unit},
};
use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

/// The `Content-Type` of [`exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A current number of things.
pub type Gauge = SignedGauge<u64, AtomicU64>;

/// The registered metrics as `OpenMetrics` text.
pub fn exposition(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = encode(&mut text, registry);
    text
}

/// Registers a metric and returns it.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a duration in seconds, from half a millisecond to 16 seconds.
fn duration(registry: &mut Registry, name: &str, help: &str) -> Seconds {
    let histogram = Histogram::new(exponential_buckets(0.0005, 2.0, 16));
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    Seconds(histogram)
}

/// How long something took.
#[derive(Clone, Debug)]
pub struct Seconds(Histogram);

impl Seconds {
    /// Records a duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// Records the time since `start`.
    pub fn observe_since(&self, begin: Instant) {
        self.observe(begin.elapsed());
    }
}

words! {
    /// What happened to an event.
    pub enum EventResult {
        /// The API server accepted it.
        Published = "published",
        /// The API server refused it or did not answer.
        Failed = "failed",
        /// There were too many events. The next one includes it in its count.
        RateLimited = "rate-limited",
        /// Too many were waiting to be published.
        Dropped = "dropped",
    }
}

macro_rules! labels {
    ($($(#[$meta:meta])* $name:ident { $($label:ident: $type:ty),+ })+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub struct $name {
                $(
                    /// The label's value.
                    pub $label: $type,
                )+
            }
        )+
    };
}
use labels;

labels! {
    /// Labels of events.
    EventLabels { result: EventResult }
}

#[cfg(test)]
mod tests;
