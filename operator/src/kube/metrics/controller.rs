//! The metrics of the controller: of the lease, of what it watches and writes, and of what it finds.

use super::{
    EventLabels, EventResult, Gauge, Seconds,
    admission::AdmissionMetrics,
    config_maps::{self, KeyLabels},
    duration, labels, register,
};
use crate::{
    crd::{gate::GateState, profile::ReadyReason},
    words::words,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

words! {
    /// A kind of object that the controller watches.
    pub enum Watched {
        /// `SeccompProfile`.
        Profiles = "profiles",
        /// `SeccompNode`.
        NodeReports = "node-reports",
        /// `Node`.
        Nodes = "nodes",
        /// `Pod`.
        Pods = "pods",
        /// The agent's `DaemonSet`.
        Agents = "agents",
        /// `SeccompBinding`.
        Bindings = "bindings",
        /// `Namespace`.
        Namespaces = "namespaces",
        /// `ConfigMap`, of the operator's namespace.
        ConfigMaps = "config-maps",
        /// The `ConfigMap` objects that the operator publishes.
        Published = "published-config-maps",
        /// Admission policies and their bindings.
        Policies = "admission-policies",
        /// Webhook configurations.
        Webhooks = "webhook-configurations",
    }
}

words! {
    /// What the controller writes to a profile.
    pub enum ProfileWrite {
        /// Its status.
        Status = "status",
        /// Its finalizer.
        Finalizer = "finalizer",
    }
}

labels! {
    /// Labels of profiles in the cluster.
    ProfileLabels { state: ReadyReason }
    /// Labels of nodes.
    GateLabels { state: GateState }
    /// Labels of failed watches.
    WatchLabels { kind: Watched }
    /// Labels of writes.
    WriteLabels { what: ProfileWrite }
}

/// The metrics of the controller.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    /// How often it became the leader.
    pub elected: Counter,
    /// How long a renewal of the lease took.
    pub lease_renewal: Seconds,
    /// Watches that failed.
    pub watch_errors: Family<WatchLabels, Counter>,
    /// Writes of profiles.
    pub writes: Counter,
    /// How long such a write took.
    pub write: Family<WriteLabels, Histogram, fn() -> Histogram>,
    /// Writes and lists that failed.
    pub errors: Counter,
    /// How long a pass over all profiles took.
    pub reconcile: Seconds,
    /// The profiles of the cluster.
    pub profiles: Family<ProfileLabels, Gauge>,
    /// The nodes on which the agent can run.
    pub nodes: Gauge,
    /// The pods that use a profile.
    pub pods_using: Gauge,
    /// Events about profiles.
    pub profile_events: Family<EventLabels, Counter>,
    /// The nodes, by whether they have a gate.
    pub gates: Family<GateLabels, Gauge>,
    /// Containers that run although no decision of the gate about them is known.
    pub unchecked: Counter,
    /// What the keys of `ConfigMap` objects give.
    pub config_map_keys: Family<KeyLabels, Gauge>,
    /// Those of admission.
    pub admission: AdmissionMetrics,
}

impl ControllerMetrics {
    /// Counts an event by what became of it.
    pub fn count_event(&self, result: EventResult) {
        let labels = EventLabels { result };
        self.profile_events.get_or_create(&labels).inc();
    }

    /// Registers them.
    pub fn register(to: &mut Registry) -> ControllerMetrics {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let write = Family::new_with_constructor(histogram);
        to.register_with_unit(
            "portcullis_controller_write",
            "Time taken to write a profile's status or finalizer",
            Unit::Seconds,
            write.clone(),
        );
        let metrics = ControllerMetrics {
            write,
            elected: register(
                to,
                "portcullis_controller_elected",
                "How often this controller became the leader",
                Counter::default(),
            ),
            lease_renewal: duration(
                to,
                "portcullis_controller_lease_renewal",
                "Time taken by successful renewals of the lease",
            ),
            watch_errors: register(
                to,
                "portcullis_controller_watch_errors",
                "Watches and lists that failed and were restarted, by kind",
                Family::default(),
            ),
            writes: register(
                to,
                "portcullis_controller_writes",
                "Writes of profiles' finalizers and status",
                Counter::default(),
            ),
            errors: register(
                to,
                "portcullis_controller_errors",
                "Writes of profiles and lists of pods that failed",
                Counter::default(),
            ),
            reconcile: duration(
                to,
                "portcullis_controller_reconcile",
                "Time taken by a pass over all profiles, including its writes",
            ),
            profiles: register(
                to,
                "portcullis_controller_profiles",
                "Profiles, by the reason of their Ready condition",
                Family::default(),
            ),
            nodes: register(
                to,
                "portcullis_controller_nodes",
                "Nodes on which the agent can run",
                Gauge::default(),
            ),
            pods_using: register(
                to,
                "portcullis_controller_pods_using",
                "Unfinished pods that use a profile",
                Gauge::default(),
            ),
            profile_events: register(
                to,
                "portcullis_controller_events",
                "Events about profiles and about containers that the gate has not seen, by result",
                Family::default(),
            ),
            gates: register(
                to,
                "portcullis_controller_gates",
                "Nodes, by whether they have a working gate",
                Family::default(),
            ),
            unchecked: register(
                to,
                "portcullis_controller_unchecked_containers",
                "Containers that started with an annotation selecting a profile, and about which no decision of the gate is known",
                Counter::default(),
            ),
            config_map_keys: config_maps::register(to),
            admission: AdmissionMetrics::register(to),
        };
        // Every series is there from the start, also while another controller leads.
        for state in ReadyReason::ALL {
            let labels = ProfileLabels { state: *state };
            metrics.profiles.get_or_create(&labels).set(0);
        }
        for kind in Watched::ALL {
            let labels = WatchLabels { kind: *kind };
            drop(metrics.watch_errors.get_or_create(&labels));
        }
        for result in EventResult::ALL {
            let labels = EventLabels { result: *result };
            drop(metrics.profile_events.get_or_create(&labels));
        }
        metrics
    }
}
