//! The metrics of the agent: of its files, of its report, and of the gate's decisions on its node.

use super::{EventLabels, Gauge, Seconds, duration, labels, register};
use crate::words::words;
use portcullis_profile::gate::decision::{Outcome, reasons};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use std::fmt;

words! {
    /// Whether a profile's file is on the node.
    pub enum FileState {
        /// The file is there and has the right text.
        Installed = "installed",
        /// It is not, for a known reason.
        Failed = "failed",
    }
}

words! {
    /// What happened to a node's report.
    pub enum ReportResult {
        /// The API server accepted it.
        Written = "written",
        /// The API server refused it or did not answer.
        Failed = "failed",
    }
}

words! {
    /// Why a datagram at the gate's socket was rejected.
    pub enum Distrust {
        /// Its sender is not root.
        Sender = "sender",
        /// It is longer than any record.
        Oversized = "oversized",
        /// It is not a record.
        Malformed = "malformed",
        /// It is a record of another version.
        Version = "version",
    }
}

labels! {
    /// Labels of profiles on a node.
    FileLabels { state: FileState }
    /// Labels of reports.
    ReportLabels { result: ReportResult }
    /// Labels of rejected datagrams.
    DistrustLabels { reason: Distrust }
    /// Labels of the gate's decisions.
    DecisionLabels { outcome: OutcomeWord, reason: DecisionReason }
}

/// The outcome of a decision at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutcomeWord(&'static str);

impl From<Outcome> for OutcomeWord {
    fn from(outcome: Outcome) -> OutcomeWord {
        OutcomeWord(outcome.as_str())
    }
}

impl EncodeLabelValue for OutcomeWord {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// The reason of a decision at the gate: one of the library's words, else `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionReason(&'static str);

impl DecisionReason {
    /// The label value for a reason in a record.
    pub fn new(reason: &str) -> DecisionReason {
        let known = reasons().find(|word| *word == reason);
        DecisionReason(known.unwrap_or("other"))
    }
}

impl EncodeLabelValue for DecisionReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// The metrics of the agent's files, of its report, and of the gate's decisions on its node.
#[derive(Clone, Debug)]
pub struct AgentMetrics {
    /// Files that were written.
    pub files_written: Counter,
    /// Files that were written because someone else had changed or removed them.
    pub files_repaired: Counter,
    /// Files that were removed.
    pub files_removed: Counter,
    /// The time from learning about a change to writing the file.
    pub file_write: Seconds,
    /// The profiles of the node.
    pub profiles: Family<FileLabels, Gauge>,
    /// 1 if no file can be written.
    pub folder_unusable: Gauge,
    /// Writes of the node's `SeccompNode`.
    pub reports: Family<ReportLabels, Counter>,
    /// How long such a write took.
    pub report_write: Seconds,
    /// The gate's decisions.
    pub decisions: Family<DecisionLabels, Counter>,
    /// Rejected datagrams.
    pub datagrams_dropped: Family<DistrustLabels, Counter>,
    /// Events about the gate's decisions.
    pub decision_events: Family<EventLabels, Counter>,
    /// How often the gate's socket failed.
    pub socket_errors: Counter,
}

impl AgentMetrics {
    /// Registers them.
    pub fn register(to: &mut Registry) -> AgentMetrics {
        let metrics = AgentMetrics {
            files_written: register(
                to,
                "portcullis_agent_files_written",
                "Files written, new or changed",
                Counter::default(),
            ),
            files_repaired: register(
                to,
                "portcullis_agent_files_repaired",
                "Files rewritten because someone else had changed or removed them",
                Counter::default(),
            ),
            files_removed: register(
                to,
                "portcullis_agent_files_removed",
                "Files removed",
                Counter::default(),
            ),
            file_write: duration(
                to,
                "portcullis_agent_file_write",
                "Time from learning about a change, in the cluster or of the file, to writing the file",
            ),
            profiles: register(
                to,
                "portcullis_agent_profiles",
                "Profiles on this node, by whether their file is installed",
                Family::default(),
            ),
            folder_unusable: register(
                to,
                "portcullis_agent_folder_unusable",
                "1 if the folder of the files can't be used, or the disk refuses files",
                Gauge::default(),
            ),
            reports: register(
                to,
                "portcullis_agent_reports",
                "Writes of this node's SeccompNode",
                Family::default(),
            ),
            report_write: duration(
                to,
                "portcullis_agent_report_write",
                "Time taken to write this node's SeccompNode",
            ),
            decisions: register(
                to,
                "portcullis_gate_decisions",
                "Decisions of the gate on this node",
                Family::default(),
            ),
            datagrams_dropped: register(
                to,
                "portcullis_gate_datagrams_dropped",
                "Datagrams at the gate's socket that were rejected",
                Family::default(),
            ),
            decision_events: register(
                to,
                "portcullis_gate_events",
                "Events about the gate's decisions, by result",
                Family::default(),
            ),
            socket_errors: register(
                to,
                "portcullis_gate_socket_errors",
                "Failures to bind or read the gate's socket",
                Counter::default(),
            ),
        };
        // These series are there from the start.
        for state in FileState::ALL {
            let labels = FileLabels { state: *state };
            metrics.profiles.get_or_create(&labels).set(0);
        }
        metrics
    }
}
