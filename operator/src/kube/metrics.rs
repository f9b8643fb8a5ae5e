//! Every metric of the operator: its name, its help text, and the values that its labels can have.
//!
//! Labels are structs of enums, so the number of series is bounded. `prometheus-client` appends
//! `_total` to the names of counters and `_seconds` to those of durations.

use crate::{
    crd::{gate::GateState, profile::ReadyReason},
    words::words,
};
use portcullis_profile::gate::decision::{Outcome, reasons};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge as SignedGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry, Unit},
};
use std::{
    fmt,
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

words! {
    /// Why the HTTP server closed a connection that had no answer yet.
    pub enum Closed {
        /// It took too long.
        Late = "late",
        /// There were too many connections, and it was the oldest.
        Displaced = "displaced",
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

labels! {
    /// Labels of profiles on a node.
    FileLabels { state: FileState }
    /// Labels of reports.
    ReportLabels { result: ReportResult }
    /// Labels of events.
    EventLabels { result: EventResult }
    /// Labels of rejected datagrams.
    DistrustLabels { reason: Distrust }
    /// Labels of the gate's decisions.
    DecisionLabels { outcome: OutcomeWord, reason: DecisionReason }
    /// Labels of profiles in the cluster.
    ProfileLabels { state: ReadyReason }
    /// Labels of nodes.
    GateLabels { state: GateState }
    /// Labels of failed watches.
    WatchLabels { kind: Watched }
    /// Labels of writes.
    WriteLabels { what: ProfileWrite }
    /// Labels of closed connections.
    ClosedLabels { reason: Closed }
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
        AgentMetrics {
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
        }
    }
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
}

impl ControllerMetrics {
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

/// The metrics of the HTTP server itself.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The type of each family, and the value of each sample.
    type Parsed = (BTreeMap<String, String>, BTreeMap<String, f64>);

    /// Parses `OpenMetrics` text according to the specification: each family begins with its HELP
    /// and TYPE, its samples follow with the suffixes that its type allows, and EOF is last.
    fn parse(text: &str) -> Result<Parsed, String> {
        let mut families = BTreeMap::new();
        let mut samples = BTreeMap::new();
        let mut helped = None;
        let mut family = (String::new(), String::new());
        let Some(body) = text.strip_suffix("# EOF\n") else {
            return Err("it does not end with EOF".to_owned());
        };
        for line in body.lines() {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if help.len() < 10 || !help.ends_with('.') {
                    return Err(wrong("no sentence"));
                }
                helped = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                if helped.take().as_deref() != Some(name) {
                    return Err(wrong("no HELP before"));
                }
                if families.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(wrong("twice"));
                }
                family = (name.to_owned(), kind.to_owned());
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                if rest != format!("{} seconds", family.0) {
                    return Err(wrong("not the unit of this family"));
                }
            } else {
                let (series, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
                let name = series.split('{').next().unwrap_or_default();
                let suffix = name.strip_prefix(family.0.as_str());
                let allowed: &[&str] = match family.1.as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => return Err(wrong("unknown type")),
                };
                if !suffix.is_some_and(|suffix| allowed.contains(&suffix)) {
                    return Err(wrong("not a sample of this family"));
                }
                if let Some(labels) = series.strip_prefix(name)
                    && !labels.is_empty()
                    && !(labels.starts_with('{') && labels.ends_with("\"}"))
                {
                    return Err(wrong("odd labels"));
                }
                let number = value.parse().map_err(|_| wrong("not a number"))?;
                if samples.insert(series.to_owned(), number).is_some() {
                    return Err(wrong("twice"));
                }
            }
        }
        Ok((families, samples))
    }

    fn everything() -> (Registry, AgentMetrics, ControllerMetrics, ServerMetrics) {
        let mut registry = Registry::default();
        let agent = AgentMetrics::register(&mut registry);
        let controller = ControllerMetrics::register(&mut registry);
        let server = ServerMetrics::register(&mut registry);
        (registry, agent, controller, server)
    }

    /// Every metric, with a value of each label.
    fn filled() -> Registry {
        let (registry, agent, controller, server) = everything();
        agent.files_written.inc_by(3);
        agent.file_write.observe(Duration::from_millis(2));
        for state in FileState::ALL {
            let labels = FileLabels { state: *state };
            agent.profiles.get_or_create(&labels).set(7);
        }
        for result in EventResult::ALL {
            let labels = EventLabels { result: *result };
            agent.decision_events.get_or_create(&labels).inc();
            controller.profile_events.get_or_create(&labels).inc();
        }
        for reason in reasons().chain(["of my own", "\"}\n"]) {
            let labels = DecisionLabels {
                outcome: Outcome::Refused.into(),
                reason: DecisionReason::new(reason),
            };
            agent.decisions.get_or_create(&labels).inc();
        }
        for reason in Distrust::ALL {
            let labels = DistrustLabels { reason: *reason };
            agent.datagrams_dropped.get_or_create(&labels).inc();
        }
        for result in ReportResult::ALL {
            let labels = ReportLabels { result: *result };
            agent.reports.get_or_create(&labels).inc();
        }
        for state in ReadyReason::ALL {
            let labels = ProfileLabels { state: *state };
            controller.profiles.get_or_create(&labels).set(1);
        }
        for state in GateState::ALL {
            let labels = GateLabels { state: *state };
            controller.gates.get_or_create(&labels).set(1);
        }
        for kind in Watched::ALL {
            let labels = WatchLabels { kind: *kind };
            controller.watch_errors.get_or_create(&labels).inc();
        }
        for what in ProfileWrite::ALL {
            let labels = WriteLabels { what: *what };
            controller.write.get_or_create(&labels).observe(1.0);
        }
        for reason in Closed::ALL {
            let labels = ClosedLabels { reason: *reason };
            server.connections_closed.get_or_create(&labels).inc();
        }
        registry
    }

    #[test]
    fn the_exposition_parses_and_every_metric_has_help_and_type() {
        let registry = filled();
        let (families, samples) = parse(&exposition(&registry)).unwrap();
        assert_eq!(families.len(), 26, "{families:?}");
        for (sample, value) in [
            ("portcullis_agent_files_written_total", 3.0),
            ("portcullis_agent_profiles{state=\"installed\"}", 7.0),
            ("portcullis_gate_events_total{result=\"rate-limited\"}", 1.0),
            (
                "portcullis_gate_decisions_total{outcome=\"refused\",reason=\"profile-missing\"}",
                1.0,
            ),
            (
                "portcullis_gate_decisions_total{outcome=\"refused\",reason=\"other\"}",
                2.0,
            ),
            ("portcullis_controller_profiles{state=\"NodeFailed\"}", 1.0),
            ("portcullis_agent_file_write_seconds_count", 1.0),
            (
                "portcullis_agent_file_write_seconds_bucket{le=\"0.001\"}",
                0.0,
            ),
            (
                "portcullis_agent_file_write_seconds_bucket{le=\"0.002\"}",
                1.0,
            ),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample}: {samples:#?}");
        }
    }

    fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().copied().map(word).collect()
    }

    /// The words of a text that name a metric.
    fn named(text: &str) -> BTreeSet<String> {
        let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
        text.split(|char| !is_part(char))
            .filter(|word| word.starts_with("portcullis_"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_documentation_names_every_metric_with_its_labels_and_no_other() {
        let docs = include_str!("../../../docs/metrics.md");
        let registry = filled();
        let (families, _) = parse(&exposition(&registry)).unwrap();
        let exported: BTreeSet<String> = families
            .iter()
            .map(|(name, kind)| match kind.as_str() {
                "counter" => format!("{name}_total"),
                _ => name.clone(),
            })
            .collect();
        let (alerts, tables) = docs.split_once("## Agent").unwrap();
        assert_eq!(named(tables), exported);
        for name in named(alerts) {
            let family = name.strip_suffix("_count").unwrap_or(&name);
            assert!(exported.contains(family), "an alert on {name}");
        }
        let row = |name: &str| {
            let begin = format!("| `{name}` |");
            let row = tables.lines().find(|line| line.starts_with(&begin));
            row.unwrap_or_else(|| panic!("{name} has no row"))
                .to_owned()
        };
        let has = |name: &str, label: &str, values: Vec<&str>| {
            let labels = format!("| `{label}`: {} |", values.join(", "));
            assert!(row(name).contains(&labels), "{name}: {labels}");
        };
        for name in [
            "portcullis_gate_events_total",
            "portcullis_controller_events_total",
        ] {
            let results = words(EventResult::ALL, EventResult::as_str);
            has(name, "result", results);
        }
        let states = words(FileState::ALL, FileState::as_str);
        has("portcullis_agent_profiles", "state", states);
        let results = words(ReportResult::ALL, ReportResult::as_str);
        has("portcullis_agent_reports_total", "result", results);
        let reasons = words(Distrust::ALL, Distrust::as_str);
        has("portcullis_gate_datagrams_dropped_total", "reason", reasons);
        let kinds = words(Watched::ALL, Watched::as_str);
        has("portcullis_controller_watch_errors_total", "kind", kinds);
        let what = words(ProfileWrite::ALL, ProfileWrite::as_str);
        has("portcullis_controller_write_seconds", "what", what);
        let states = words(GateState::ALL, GateState::as_str);
        has("portcullis_controller_gates", "state", states);
        let reasons = words(Closed::ALL, Closed::as_str);
        has(
            "portcullis_http_connections_closed_total",
            "reason",
            reasons,
        );
    }

    #[test]
    fn what_has_not_happened_yet_is_zero_and_not_missing() {
        let (registry, ..) = everything();
        let (_, samples) = parse(&exposition(&registry)).unwrap();
        assert_eq!(
            samples.get("portcullis_agent_files_written_total"),
            Some(&0.0)
        );
        assert_eq!(
            samples.get("portcullis_controller_elected_total"),
            Some(&0.0)
        );
    }

    #[test]
    fn text_that_is_not_an_exposition_does_not_parse() {
        for wrong in [
            "",
            "# TYPE a counter\na_total 1\n# EOF\n",
            "# HELP a Some help text.\n# TYPE a counter\na 1\n# EOF\n",
            "# HELP a Some help text.\n# TYPE a gauge\na{x=1} 1\n# EOF\n",
            "# HELP a Some help text.\n# TYPE a gauge\na 1\na 1\n# EOF\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
