//! The exposition as Prometheus reads it, and the documentation of every metric.

use super::*;
use crate::crd::{gate::GateState, profile::ReadyReason};
use portcullis_profile::gate::decision::{Outcome, reasons};
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
    for state in KeyState::ALL {
        let labels = KeyLabels { state: *state };
        controller.config_map_keys.get_or_create(&labels).set(1);
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
    assert_eq!(families.len(), 32, "{families:?}");
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
    let docs = include_str!("../../../../docs/metrics.md");
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
