//! The metrics of admission.

use super::{Gauge, labels, register};
use crate::{crd::binding::LiveReason, words::words};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

words! {
    /// What the controller writes for admission.
    pub enum AdmissionWrite {
        /// A policy, its binding, or a webhook configuration.
        Policy = "policy",
        /// The status of a `SeccompBinding`.
        Status = "status",
        /// Either, without success.
        Failed = "failed",
    }
}

words! {
    /// What applies admission's rules to new pods.
    pub enum Carrier {
        /// Admission policies, which the API server evaluates itself.
        Policies = "policies",
        /// The controller's webhook, which the API server asks.
        Webhook = "webhook",
        /// Nothing.
        None = "none",
    }
}

words! {
    /// How the cluster's default is.
    pub enum ClusterDefault {
        /// There is none.
        None = "none",
        /// Its profile exists and is valid, or is the runtime's own.
        Usable = "usable",
        /// There is no profile of that name.
        Missing = "missing",
        /// Its profile is not valid.
        Invalid = "invalid",
    }
}

labels! {
    /// Labels of bindings.
    BindingLabels { state: LiveReason }
    /// Labels of writes for admission.
    AdmissionWriteLabels { what: AdmissionWrite }
    /// Labels of carriers.
    CarrierLabels { carrier: Carrier }
    /// Labels of the cluster's default.
    ClusterDefaultLabels { state: ClusterDefault }
}

/// The metrics of admission.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    /// What applies the rules: 1 for that, 0 for the others.
    carrier: Family<CarrierLabels, Gauge>,
    /// How the cluster's default is: 1 for that, 0 for the others.
    cluster_default: Family<ClusterDefaultLabels, Gauge>,
    /// The bindings, by the reason of their Live condition.
    pub bindings: Family<BindingLabels, Gauge>,
    /// Pods that were created before the webhook was asked about their namespace, and miss its rule.
    pub missed: Counter,
    /// Writes of admission policies and of bindings' status.
    writes: Family<AdmissionWriteLabels, Counter>,
}

impl AdmissionMetrics {
    /// Registers them.
    pub fn register(to: &mut Registry) -> AdmissionMetrics {
        let metrics = AdmissionMetrics {
            carrier: register(
                to,
                "portcullis_admission_carrier",
                "What applies the rules of admission to new pods: 1 for the one that is live",
                Family::default(),
            ),
            cluster_default: register(
                to,
                "portcullis_admission_cluster_default",
                "The profile that is the cluster's default: 1 for the state that it has",
                Family::default(),
            ),
            bindings: register(
                to,
                "portcullis_admission_bindings",
                "SeccompBindings, by the reason of their Live condition",
                Family::default(),
            ),
            missed: register(
                to,
                "portcullis_admission_missed",
                "Pods that were created before the API server asked the webhook about their namespace, and miss the rule of its annotation",
                Counter::default(),
            ),
            writes: register(
                to,
                "portcullis_admission_writes",
                "Writes of admission policies, webhook configurations and the status of SeccompBindings",
                Family::default(),
            ),
        };
        metrics.set_carrier(Carrier::None);
        metrics.set_cluster_default(ClusterDefault::None);
        for state in LiveReason::ALL {
            let labels = BindingLabels { state: *state };
            metrics.bindings.get_or_create(&labels).set(0);
        }
        for what in AdmissionWrite::ALL {
            let labels = AdmissionWriteLabels { what: *what };
            drop(metrics.writes.get_or_create(&labels));
        }
        metrics
    }

    /// Says which carrier is live.
    pub fn set_carrier(&self, live: Carrier) {
        for carrier in Carrier::ALL {
            let labels = CarrierLabels { carrier: *carrier };
            let value = u64::from(*carrier == live);
            self.carrier.get_or_create(&labels).set(value);
        }
    }

    /// Says how the cluster's default is.
    pub fn set_cluster_default(&self, now: ClusterDefault) {
        for state in ClusterDefault::ALL {
            let labels = ClusterDefaultLabels { state: *state };
            let value = u64::from(*state == now);
            self.cluster_default.get_or_create(&labels).set(value);
        }
    }

    /// Counts a write.
    pub fn count(&self, what: AdmissionWrite) {
        let labels = AdmissionWriteLabels { what };
        self.writes.get_or_create(&labels).inc();
    }
}
