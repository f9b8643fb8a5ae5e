//! Events about profiles: what is wrong with one, and what its deletion waits for.

use crate::{
    crd::{
        SeccompProfileStatus,
        condition::{Reason, find},
        profile::{ReadyReason, ValidReason},
    },
    kube::{
        events::{ALL_EVENTS, EventReason, History, Notice, Publisher},
        metrics::ControllerMetrics,
        rate_limit::{Limiter, Rate},
        stores::profile::Profile,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The limit on events about one profile.
const PROFILE: Rate = Rate {
    burst: 6,
    every: Duration::from_secs(60),
};
/// How many events may wait to be published.
const QUEUE: usize = 64;
/// How long a node may take to install a profile before there is an event about it.
pub(super) const NODE_PATIENCE: Duration = Duration::from_secs(60);

/// A condition of a profile, and whether it has been published.
#[derive(Debug)]
struct Case {
    note: String,
    since: Instant,
    published: bool,
}

/// Decides which events to publish. It never waits for the API server; [`publish`] does.
#[derive(Debug)]
pub(super) struct ProfileEvents {
    cases: BTreeMap<String, BTreeMap<EventReason, Case>>,
    limiter: Limiter,
    queue: mpsc::Sender<Notice>,
}

impl ProfileEvents {
    /// A new instance, and the queue for [`publish`].
    pub(super) fn new() -> (ProfileEvents, mpsc::Receiver<Notice>) {
        let (queue, notices) = mpsc::channel(QUEUE);
        let events = ProfileEvents {
            cases: BTreeMap::new(),
            limiter: Limiter::new(ALL_EVENTS, PROFILE, Instant::now()),
            queue,
        };
        (events, notices)
    }

    /// Whether something has not been published yet.
    pub(super) fn are_waiting(&self) -> bool {
        let mut cases = self.cases.values().flat_map(BTreeMap::values);
        cases.any(|case| !case.published)
    }

    /// Forgets the profiles that are gone.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.cases.retain(|name, _| names.contains(name.as_str()));
    }

    /// Queues events about a profile. `waits` says what its deletion waits for, or the removal of its
    /// file.
    pub(super) fn observe(
        &mut self,
        profile: &Profile,
        status: &SeccompProfileStatus,
        waits: Option<String>,
        now: Instant,
    ) {
        let name = &profile.name;
        let mut before = self.cases.remove(name).unwrap_or_default();
        let mut cases = BTreeMap::new();
        for (reason, note, patience) in facts(status, waits) {
            let mut case = match before.remove(&reason) {
                Some(case) if case.note == note => case,
                other => Case {
                    note,
                    // If only the message changes, the condition has persisted.
                    since: other.map_or(now, |case| case.since),
                    published: false,
                },
            };
            let has_lasted = now.saturating_duration_since(case.since) >= patience;
            if !case.published && has_lasted && self.limiter.allows(name, now) {
                let notice = Notice {
                    about: profile.reference(),
                    reason,
                    note: case.note.clone(),
                };
                case.published = self.queue.try_send(notice).is_ok();
            }
            cases.insert(reason, case);
        }
        if !cases.is_empty() {
            self.cases.insert(name.clone(), cases);
        }
    }
}

/// What deserves an event, and how long it has to persist first.
fn facts(
    status: &SeccompProfileStatus,
    waits: Option<String>,
) -> Vec<(EventReason, String, Duration)> {
    let conditions = &status.conditions;
    let message = |kind| find(conditions, kind).map_or_else(String::new, |it| it.message.clone());
    let mut facts = Vec::new();
    let invalid = match ValidReason::of(conditions) {
        Some(ValidReason::Invalid | ValidReason::FileNameTaken | ValidReason::NotAllowed) => {
            Some(Duration::ZERO)
        }
        Some(ValidReason::BaseNotPulled) => Some(NODE_PATIENCE),
        Some(ValidReason::Valid) | None => None,
    };
    if let Some(patience) = invalid {
        facts.push((EventReason::Invalid, message(ValidReason::TYPE), patience));
    }
    let ready = match ReadyReason::of(conditions) {
        Some(ReadyReason::NodeReportFull) => Some((EventReason::NodeReportFull, Duration::ZERO)),
        Some(ReadyReason::NodeFailed) => Some((EventReason::NotReady, Duration::ZERO)),
        Some(ReadyReason::NodesMissing) => Some((EventReason::NotReady, NODE_PATIENCE)),
        Some(
            ReadyReason::Ready
            | ReadyReason::Disabled
            | ReadyReason::Invalid
            | ReadyReason::Deleting,
        )
        | None => None,
    };
    if let Some((reason, patience)) = ready {
        facts.push((reason, message(ReadyReason::TYPE), patience));
    }
    if let Some(note) = waits {
        facts.push((EventReason::InUse, note, Duration::ZERO));
    }
    facts
}

/// Publishes the queue until the future is dropped.
pub(super) async fn publish(
    publisher: Publisher,
    mut queue: mpsc::Receiver<Notice>,
    metrics: &ControllerMetrics,
) {
    let mut history = History::default();
    while let Some(notice) = queue.recv().await {
        metrics.count_event(publisher.try_publish(&notice, &mut history).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::condition::condition;
    use serde_json::json;

    fn profile() -> Profile {
        Profile::of("a", &json!({"allow": ["mkdir"]}))
    }

    fn status(reason: impl Reason, message: &str) -> SeccompProfileStatus {
        SeccompProfileStatus {
            conditions: vec![condition(reason, message.to_owned(), None, &[])],
            ..SeccompProfileStatus::default()
        }
    }

    #[test]
    fn what_is_wrong_is_published_once_and_again_when_it_changes() {
        let (mut events, mut queue) = ProfileEvents::new();
        let now = Instant::now();
        for message in ["x", "x", "y", "y"] {
            let status = status(ValidReason::Invalid, message);
            events.observe(&profile(), &status, None, now);
        }
        assert_eq!(queue.try_recv().unwrap().note, "x");
        let second = queue.try_recv().unwrap();
        assert_eq!(second.reason, EventReason::Invalid);
        assert_eq!(second.note, "y");
        assert_eq!(second.about.kind.as_deref(), Some("SeccompProfile"));
        assert!(queue.try_recv().is_err());
    }

    #[test]
    fn a_node_that_is_late_has_time_and_one_that_fails_has_none() {
        let (mut events, mut queue) = ProfileEvents::new();
        let now = Instant::now();
        let late = status(ReadyReason::NodesMissing, "node n: not installed yet");
        events.observe(&profile(), &late, None, now);
        assert!(queue.try_recv().is_err() && events.are_waiting());
        events.observe(&profile(), &late, None, now + NODE_PATIENCE);
        assert_eq!(queue.try_recv().unwrap().note, "node n: not installed yet");
        assert!(!events.are_waiting());
        let failed = status(ReadyReason::NodeFailed, "node n: a foreign file");
        events.observe(&profile(), &failed, None, now + NODE_PATIENCE);
        assert_eq!(queue.try_recv().unwrap().note, "node n: a foreign file");
    }

    #[test]
    fn a_deletion_that_waits_names_a_pod_and_profiles_that_are_gone_are_forgotten() {
        let (mut events, mut queue) = ProfileEvents::new();
        let ready = status(ReadyReason::Ready, "");
        let note = "its deletion waits for the pod shop/till".to_owned();
        events.observe(&profile(), &ready, Some(note), Instant::now());
        let notice = queue.try_recv().unwrap();
        assert_eq!(notice.reason.event_type(), "Normal");
        assert!(notice.note.contains("shop/till"));
        events.keep_only(&BTreeSet::new());
        assert!(events.cases.is_empty());
    }

    #[test]
    fn one_profile_does_not_get_events_without_end() {
        let (mut events, mut queue) = ProfileEvents::new();
        let now = Instant::now();
        for index in 0..100 {
            let status = status(ValidReason::Invalid, &index.to_string());
            events.observe(&profile(), &status, None, now);
        }
        assert_eq!(std::iter::from_fn(|| queue.try_recv().ok()).count(), 6);
    }
}
