//! Defers status writes, so that their number does not grow with nodes times profiles.
//!
//! A status may lag in its counts, of nodes that have the profile and pods that use it: while they
//! keep changing, they are written less and less often, and soon after the last change. Final states
//! are written at once.

use crate::crd::{
    SeccompProfileStatus,
    condition::{Reason, find},
    profile::{InUseReason, ReadyReason, ValidReason},
};
use crate::kube::request::Backoff;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long counts must not have changed to be written.
const SETTLED: Duration = Duration::from_secs(3);
/// How long a status may lag at first, while its counts keep changing.
const FIRST: Duration = Duration::from_secs(10);
/// How long it may lag at most.
const LIMIT: Duration = Duration::from_secs(40);

#[derive(Debug)]
struct Behind {
    /// Until when it lags if it keeps changing.
    until: Instant,
    backoff: Backoff,
    /// What it should be, and since when.
    due: SeccompProfileStatus,
    since: Instant,
}

/// The statuses that lag, by profile.
#[derive(Debug, Default)]
pub(super) struct Deferral(BTreeMap<String, Behind>);

impl Deferral {
    /// Until when to defer writing a changed status; `None` to write it now.
    pub(super) fn until(
        &mut self,
        name: &str,
        before: Option<&SeccompProfileStatus>,
        after: &SeccompProfileStatus,
        now: Instant,
    ) -> Option<Instant> {
        if !is_progress(before, after) {
            self.0.remove(name);
            return None;
        }
        let behind = self.0.entry(name.to_owned()).or_insert_with(|| {
            let mut backoff = Backoff::new(FIRST, LIMIT);
            Behind {
                until: now + backoff.fail(),
                backoff,
                due: after.clone(),
                since: now,
            }
        });
        if behind.due != *after {
            behind.due = after.clone();
            behind.since = now;
        }
        let until = behind.until.min(behind.since + SETTLED);
        if now < until {
            return Some(until);
        }
        behind.until = now + behind.backoff.fail();
        behind.since = now;
        None
    }

    /// Takes note that a status has not changed. After a quiet period as long as its lag, the lag
    /// becomes short again.
    pub(super) fn unchanged(&mut self, name: &str, now: Instant) {
        if self.0.get(name).is_some_and(|behind| behind.until <= now) {
            self.0.remove(name);
        }
    }

    /// Forgets the profiles that are gone.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.0.retain(|name, _| names.contains(name.as_str()));
    }
}

/// Whether only counts, and the nodes and pods that messages name, have changed in a status.
fn is_progress(before: Option<&SeccompProfileStatus>, after: &SeccompProfileStatus) -> bool {
    let Some(ready) = ReadyReason::of(&after.conditions) else {
        return false;
    };
    let on_its_way = ready == ReadyReason::NodesMissing;
    let released = before.and_then(|before| before.released_generation);
    if released != after.released_generation {
        return false;
    }
    let Some(before) = before else {
        let valid = ValidReason::of(&after.conditions) == Some(ValidReason::Valid);
        return on_its_way && valid && after.pods == 0;
    };
    let same = |kind: &str, message: bool| match (
        find(&before.conditions, kind),
        find(&after.conditions, kind),
    ) {
        (Some(old), Some(new)) => {
            (&old.status, &old.reason) == (&new.status, &new.reason)
                && (!message || old.message == new.message)
                && (on_its_way || old.observed_generation == new.observed_generation)
        }
        _ => false,
    };
    same(ValidReason::TYPE, true)
        && same(InUseReason::TYPE, false)
        && (on_its_way || same(ReadyReason::TYPE, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::condition::condition;

    fn status(
        nodes: &str,
        pods: u64,
        generation: i64,
        (ready, message): (ReadyReason, &str),
    ) -> SeccompProfileStatus {
        let (in_use, by) = match pods {
            0 => (InUseReason::NotInUse, ""),
            _ => (InUseReason::InUse, "so many"),
        };
        let generation = Some(generation);
        SeccompProfileStatus {
            observed_generation: generation,
            released_generation: None,
            nodes: nodes.to_owned(),
            pods,
            localhost_profile: "x".to_owned(),
            conditions: vec![
                condition(in_use, by.to_owned(), generation, &[]),
                condition(ready, message.to_owned(), generation, &[]),
                condition(ValidReason::Valid, String::new(), generation, &[]),
            ],
        }
    }

    const READY: (ReadyReason, &str) = (ReadyReason::Ready, "");
    const MISSING: (ReadyReason, &str) = (ReadyReason::NodesMissing, "node n: not installed yet");
    const FAILED: (ReadyReason, &str) = (ReadyReason::NodeFailed, "node n: a foreign file");

    fn waits(before: Option<&SeccompProfileStatus>, after: &SeccompProfileStatus) {
        assert!(is_progress(before, after), "{before:?} → {after:?}");
    }

    fn is_written(before: Option<&SeccompProfileStatus>, after: &SeccompProfileStatus) {
        assert!(!is_progress(before, after), "{before:?} → {after:?}");
    }

    #[test]
    fn progress_may_wait_and_what_is_final_may_not() {
        let first = status("1/2", 0, 1, MISSING);
        waits(None, &first);
        waits(Some(&status("0/2", 0, 1, MISSING)), &first);
        let ready = status("2/2", 0, 1, READY);
        is_written(None, &ready);
        is_written(Some(&first), &ready);
        let edited = status("0/2", 0, 2, MISSING);
        waits(Some(&ready), &edited);
        is_written(Some(&ready), &status("2/2", 0, 2, READY));
        let new_node = status("3/3", 0, 1, READY);
        waits(Some(&ready), &new_node);
        is_written(Some(&first), &status("1/2", 0, 1, FAILED));
        is_written(None, &status("1/2", 0, 1, FAILED));
        let used_at_once = status("1/2", 1, 1, MISSING);
        is_written(None, &used_at_once);
        is_written(Some(&first), &used_at_once);
        let used = status("2/2", 1, 1, READY);
        let one_more_pod = status("2/2", 2, 1, READY);
        waits(Some(&used), &one_more_pod);
        is_written(Some(&used), &ready);
        let more_fail = (ReadyReason::NodeFailed, "node n: a foreign file; others: m");
        let failed = status("1/3", 0, 1, FAILED);
        waits(Some(&failed), &status("1/3", 0, 1, more_fail));
        is_written(Some(&failed), &status("1/3", 0, 2, more_fail));
        let released = SeccompProfileStatus {
            released_generation: Some(1),
            ..first.clone()
        };
        is_written(Some(&first), &released);
    }

    #[test]
    fn endless_progress_is_written_less_and_less_often() {
        let start = Instant::now();
        let mut deferral = Deferral::default();
        let before = status("0/900", 0, 1, MISSING);
        let mut writes = 0;
        for second in 0..600_u64 {
            let after = status(&format!("{second}/900"), 0, 1, MISSING);
            let now = start + Duration::from_secs(second);
            if deferral.until("a", Some(&before), &after, now).is_none() {
                writes += 1;
            }
        }
        assert!((10..=20).contains(&writes), "{writes}");
        let later = start + Duration::from_secs(700);
        deferral.unchanged("a", later);
        let first = deferral.until("a", Some(&before), &before, later);
        assert_eq!(first, Some(later + SETTLED));
        let settled = later + SETTLED;
        assert_eq!(deferral.until("a", Some(&before), &before, settled), None);
        let ready = status("900/900", 0, 1, READY);
        assert_eq!(deferral.until("a", Some(&before), &ready, later), None);
    }
}
