//! Whether this node has the gate, and for which containers it has decided: what a timer has
//! `portcullis-hook check` write, and the stamps that the hook leaves. Both become part of the node's
//! report.

use crate::crd::{
    SeccompNodeSpec,
    gate::{GateState, NodeGate, short_id},
    nri::NodeNri,
};
use portcullis_profile::{check::Report, stamp};
use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// How often to look. Decisions that were made meanwhile are reported at once.
const EVERY: Duration = Duration::from_secs(5);
/// After which time what was checked is no longer known. The timer runs each minute.
const MAX_AGE: Duration = Duration::from_secs(180);
/// For how long decisions are reported. The controller looks at containers that started up to ten
/// minutes ago.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How much of a problem is reported, in bytes.
const MAX_PROBLEM: usize = 1024;

/// Where the gate leaves its traces.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The file that `portcullis-hook check --output` writes.
    pub check: PathBuf,
    /// The folder of the hook's stamps.
    pub decided: PathBuf,
}

impl Traces {
    /// What they tell.
    fn look(&self, now: SystemTime) -> NodeGate {
        let (state, problem) = self.state(now);
        NodeGate {
            state: state.as_str().to_owned(),
            problem: problem.map(|text| cut(text, MAX_PROBLEM)),
            decided: self.decided(now),
        }
    }

    fn state(&self, now: SystemTime) -> (GateState, Option<String>) {
        let unknown = |why: String| {
            let help = "is portcullis-check.timer enabled?";
            let text = format!("{}: {why}; {help}", self.check.display());
            (GateState::Unknown, Some(text))
        };
        let report = match Report::read(&self.check) {
            Ok(report) => report,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return unknown("it does not exist".to_owned());
            }
            Err(error) => return unknown(error.to_string()),
        };
        let age = UNIX_EPOCH
            .checked_add(Duration::from_secs(report.time))
            .and_then(|time| now.duration_since(time).ok());
        match age {
            Some(age) if age <= MAX_AGE => {}
            Some(_) => return unknown("it is more than three minutes old".to_owned()),
            None => return unknown("it is from the future".to_owned()),
        }
        match report.first_problem() {
            None if report.good => (GateState::Present, None),
            problem => (GateState::Faulty, problem),
        }
    }

    /// The containers of the last minutes, sorted.
    fn decided(&self, now: SystemTime) -> Vec<String> {
        let stamps = stamp::read(&self.decided).unwrap_or_default();
        let is_recent = |time| now.duration_since(time).is_ok_and(|age| age <= KEPT);
        let mut all: Vec<String> = stamps
            .into_iter()
            .filter(|stamp| is_recent(stamp.time))
            .map(|stamp| short_id(&stamp.id).to_owned())
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Whether a report has to be written because the gate's part has changed. That a decision is too old
/// to be reported is no reason.
fn is_news(before: Option<&NodeGate>, now: &NodeGate) -> bool {
    let Some(before) = before else {
        return true;
    };
    let is_new = |id: &String| before.decided.binary_search(id).is_err();
    before.state != now.state || before.problem != now.problem || now.decided.iter().any(is_new)
}

/// Adds the parts of the gate and of the NRI plugin to the reports about the files, until there can be
/// no more of those.
pub(super) async fn join(
    traces: &Traces,
    mut files: watch::Receiver<Option<SeccompNodeSpec>>,
    mut nri: watch::Receiver<Option<NodeNri>>,
    joined: watch::Sender<Option<SeccompNodeSpec>>,
) {
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gate = None;
    loop {
        tokio::select! {
            changed = files.changed() => if changed.is_err() {
                return;
            },
            Ok(()) = nri.changed() => {}
            _ = look.tick() => {
                let now = traces.look(SystemTime::now());
                if !is_news(gate.as_ref(), &now) {
                    continue;
                }
                gate = Some(now);
            }
        }
        let report = files.borrow_and_update().clone();
        let plugin = nri.borrow_and_update().clone();
        joined.send_replace(report.map(|report| SeccompNodeSpec {
            gate: gate.clone(),
            nri: plugin.clone(),
            ..report
        }));
    }
}

fn cut(mut text: String, bytes: usize) -> String {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::Engine;

    fn traces(folder: &tempfile::TempDir) -> Traces {
        Traces {
            check: folder.path().join("run/check.json"),
            decided: folder.path().join("run/decided"),
        }
    }

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn what_was_not_checked_lately_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let traces = traces(&folder);
        let now = SystemTime::now();
        let state = |now| traces.look(now).state;
        assert_eq!(state(now), "Unknown");
        let mut report = Report::new(seconds(now));
        report.write(&traces.check).unwrap();
        assert_eq!(state(now), "Present");
        assert_eq!(state(now + MAX_AGE * 2), "Unknown");
        assert_eq!(state(now - MAX_AGE), "Unknown");
        report.problem("the hook", "is away", "install it");
        report.write(&traces.check).unwrap();
        let gate = traces.look(now);
        assert_eq!(gate.state, "Faulty");
        let problem = "the hook: is away; install it";
        assert_eq!(gate.problem.as_deref(), Some(problem));
        std::fs::write(&traces.check, "{}").unwrap();
        assert_eq!(state(now), "Unknown");
    }

    #[test]
    fn decisions_are_news_and_their_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let traces = traces(&folder);
        let now = SystemTime::now();
        let before = traces.look(now);
        assert!(is_news(None, &before) && !is_news(Some(&before), &before));
        let id = "0123456789abcdef0123456789abcdef";
        stamp::leave(&traces.decided, Engine::CriO, id, "verify", "accepted").unwrap();
        let later = SystemTime::now();
        let after = traces.look(later);
        assert_eq!(after.decided, ["0123456789abcdef"]);
        assert!(is_news(Some(&before), &after));
        let gone = traces.look(later + KEPT * 2);
        assert!(gone.decided.is_empty() && !is_news(Some(&after), &gone));
    }
}
