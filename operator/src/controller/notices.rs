//! What is said about profiles as events: what is wrong with one, and what it waits for.

use super::profile::Profile;
use crate::{
    crd::SeccompProfileStatus,
    events::{History, Notice, Publisher},
    health::{Health, Metric},
    limit::{Limiter, Rate},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const EVENTS: Metric = Metric::counter(
    "portcullis_controller_events_total",
    "What became of events about profiles.",
);
/// What may be said of all profiles.
const ALL: Rate = Rate {
    burst: 50,
    every: Duration::from_secs(1),
};
/// What may be said of one profile.
const PROFILE: Rate = Rate {
    burst: 6,
    every: Duration::from_secs(60),
};
/// How many wait to be said.
const WAITING: usize = 64;
/// How long a node may take before it is said that a profile is not there.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What is the case with one profile, and whether that was said.
#[derive(Debug)]
struct Case {
    note: String,
    since: Instant,
    said: bool,
}

/// Decides what is said. Nothing here waits for the API server: [`publish`] does.
#[derive(Debug)]
pub(super) struct Notices {
    cases: BTreeMap<String, BTreeMap<&'static str, Case>>,
    limiter: Limiter,
    say: mpsc::Sender<Notice>,
}

impl Notices {
    /// And what [`publish`] reads.
    pub(super) fn new() -> (Notices, mpsc::Receiver<Notice>) {
        let (say, said) = mpsc::channel(WAITING);
        let notices = Notices {
            cases: BTreeMap::new(),
            limiter: Limiter::new(ALL, PROFILE, Instant::now()),
            say,
        };
        (notices, said)
    }

    /// Whether there is something that is not said yet.
    pub(super) fn are_due(&self) -> bool {
        let mut cases = self.cases.values().flat_map(BTreeMap::values);
        cases.any(|case| !case.said)
    }

    /// Forgets the profiles that are gone.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.cases.retain(|name, _| names.contains(name.as_str()));
    }

    /// Says what is new about a profile; `held_by` is a pod that its deletion waits for.
    pub(super) fn tell(
        &mut self,
        profile: &Profile,
        status: &SeccompProfileStatus,
        held_by: Option<(u64, &str)>,
        now: Instant,
    ) {
        let name = &profile.name;
        let mut before = self.cases.remove(name).unwrap_or_default();
        let mut cases = BTreeMap::new();
        for (reason, note, patience) in facts(status, held_by) {
            let mut case = match before.remove(reason) {
                Some(case) if case.note == note => case,
                other => Case {
                    note,
                    // What only changes its words lasts on.
                    since: other.map_or(now, |case| case.since),
                    said: false,
                },
            };
            let lasted = now.saturating_duration_since(case.since) >= patience;
            if !case.said && lasted && self.limiter.allows(name, now) {
                let notice = Notice {
                    about: profile.reference(),
                    warning: reason != "InUse",
                    reason,
                    action: "Reconcile",
                    note: case.note.clone(),
                };
                case.said = self.say.try_send(notice).is_ok();
            }
            cases.insert(reason, case);
        }
        if !cases.is_empty() {
            self.cases.insert(name.clone(), cases);
        }
    }
}

/// What is worth an event, and how long it has to last for that.
fn facts(
    status: &SeccompProfileStatus,
    held_by: Option<(u64, &str)>,
) -> Vec<(&'static str, String, Duration)> {
    let mut facts = Vec::new();
    for condition in &status.conditions {
        let message = || condition.message.clone();
        match (condition.type_.as_str(), condition.reason.as_str()) {
            ("Valid", "Invalid") => facts.push(("Invalid", message(), Duration::ZERO)),
            ("Ready", "NodeReportFull") => {
                facts.push(("NodeReportFull", message(), Duration::ZERO));
            }
            ("Ready", "NodeFailed") => facts.push(("NotReady", message(), Duration::ZERO)),
            ("Ready", "NodesMissing") => facts.push(("NotReady", message(), PATIENCE)),
            _ => {}
        }
    }
    match held_by {
        Some((0, _)) | None => {}
        Some((1, pod)) => facts.push((
            "InUse",
            format!("its deletion waits for the pod {pod}"),
            Duration::ZERO,
        )),
        Some((count, pod)) => facts.push((
            "InUse",
            format!("its deletion waits for {count} pods, among them {pod}"),
            Duration::ZERO,
        )),
    }
    facts
}

/// Publishes what was decided, for as long as it is polled.
pub(super) async fn publish(
    publisher: Publisher,
    mut said: mpsc::Receiver<Notice>,
    health: &Health,
) {
    let mut history = History::default();
    while let Some(notice) = said.recv().await {
        let result = match publisher.publish(&notice, &mut history).await {
            Ok(()) => "said",
            Err(error) => {
                tracing::warn!("{error}");
                "failed"
            }
        };
        let labels = vec![("result", result)];
        health.add_labelled(EVENTS, labels, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile() -> Profile {
        let stored = r#"{"metadata": {"name": "a"}, "spec": {"allow": ["mkdir"]}}"#;
        Profile::new(serde_json::from_str(stored).unwrap())
    }

    fn status(kind: &str, reason: &str, message: &str) -> SeccompProfileStatus {
        serde_json::from_value(json!({"nodes": "0/1", "pods": 0, "localhostProfile": "x",
            "conditions": [{"type": kind, "status": "False", "reason": reason,
            "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
        .unwrap()
    }

    #[test]
    fn what_is_wrong_is_said_once_and_again_where_it_changes() {
        let (mut notices, mut said) = Notices::new();
        let now = Instant::now();
        for message in ["x", "x", "y", "y"] {
            notices.tell(&profile(), &status("Valid", "Invalid", message), None, now);
        }
        assert_eq!(said.try_recv().unwrap().note, "x");
        let second = said.try_recv().unwrap();
        assert_eq!((second.reason, second.note.as_str()), ("Invalid", "y"));
        assert_eq!(second.about.kind.as_deref(), Some("SeccompProfile"));
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn a_node_that_is_late_has_time_and_one_that_fails_has_none() {
        let (mut notices, mut said) = Notices::new();
        let now = Instant::now();
        let late = status("Ready", "NodesMissing", "node n: not there yet");
        notices.tell(&profile(), &late, None, now);
        assert!(said.try_recv().is_err() && notices.are_due());
        notices.tell(&profile(), &late, None, now + PATIENCE);
        assert_eq!(said.try_recv().unwrap().note, "node n: not there yet");
        assert!(!notices.are_due());
        let failed = status("Ready", "NodeFailed", "node n: a foreign file");
        notices.tell(&profile(), &failed, None, now + PATIENCE);
        assert_eq!(said.try_recv().unwrap().note, "node n: a foreign file");
    }

    #[test]
    fn a_deletion_that_waits_names_a_pod_and_profiles_that_are_gone_are_forgotten() {
        let (mut notices, mut said) = Notices::new();
        let ready = status("Ready", "Ready", "");
        notices.tell(&profile(), &ready, Some((2, "shop/till")), Instant::now());
        let notice = said.try_recv().unwrap();
        assert!(!notice.warning && notice.note.contains("shop/till"));
        notices.keep_only(&BTreeSet::new());
        assert!(notices.cases.is_empty());
    }

    #[test]
    fn one_profile_is_not_spoken_of_without_end() {
        let (mut notices, mut said) = Notices::new();
        let now = Instant::now();
        for index in 0..100 {
            let status = status("Valid", "Invalid", &index.to_string());
            notices.tell(&profile(), &status, None, now);
        }
        assert_eq!(std::iter::from_fn(|| said.try_recv().ok()).count(), 6);
    }
}
