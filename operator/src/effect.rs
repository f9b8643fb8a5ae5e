//! Checks in the background whether libseccomp compiles the files of profiles to what they say. A
//! few files are checked at a time, and the result is kept for as long as the file stays the same.
//!
//! The result is that of this process's libseccomp; the gate on each node has the last word.

use crate::resolve::{Place, Resolved};
use portcullis_profile::{
    filter::reader::Runtime,
    program::{Examiner, Exceeds, Limits, Memo, Unusable},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How many files are checked at the same time. With two, a profile that libseccomp never finishes
/// compiling does not block the others.
const AT_ONCE: usize = 2;

/// The first delay before a file is checked again that could not be compiled, for example because
/// the machine was too busy. It doubles each time.
const RETRY: Duration = Duration::from_secs(60);
/// The longest such delay.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// The result of checking a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says. Contains warnings about it.
    Usable(Vec<String>),
    /// It does not, or that can't be determined. Contains the reason.
    Unusable(String),
    /// It does what the operator's rules for profiles exclude. Contains what that is.
    NotAllowed(String),
}

/// What is known about the file of one profile.
#[derive(Debug)]
struct Known {
    /// The checksum of the file.
    sum: [u8; 32],
    /// `None` until it has been checked.
    effect: Option<Effect>,
    /// When to check it again, and the delay until then.
    retry: Option<(Instant, Duration)>,
    /// Whether it is waiting to be checked.
    waits: bool,
}

/// A finished check of a file.
#[derive(Debug)]
struct Checked {
    name: String,
    sum: [u8; 32],
    effect: Effect,
    /// Whether checking it again may have another result.
    may_change: bool,
}

/// The results for files, by the names of their profiles.
#[derive(Debug)]
pub struct Effects {
    known: BTreeMap<String, Known>,
    /// The names whose files wait to be checked, each once.
    waiting: VecDeque<String>,
    running: usize,
    memo: Memo,
    limits: Arc<Limits>,
    done: mpsc::UnboundedSender<Checked>,
    finished: mpsc::UnboundedReceiver<Checked>,
}

impl Effects {
    /// Results under the operator's rules for profiles.
    pub fn new(limits: Limits) -> Effects {
        let (done, finished) = mpsc::unbounded_channel();
        Effects {
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            memo: Memo::none(),
            limits: Arc::new(limits),
            done,
            finished,
        }
    }

    /// Whether there are rules for profiles, so that only the result tells whether one is valid.
    pub fn have_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Also stores results in this cache, which outlives the process.
    pub fn remember_in(&mut self, memo: Memo) {
        self.memo = memo;
    }

    /// The result for the file of a profile; `None` until there is one, which
    /// [`next`](Effects::next) then announces.
    pub fn of(&mut self, name: &str, sum: &[u8; 32]) -> Option<&Effect> {
        let is_new = self.known.get(name).is_none_or(|known| known.sum != *sum);
        if is_new {
            let known = Known {
                sum: *sum,
                effect: None,
                retry: None,
                waits: false,
            };
            self.known.insert(name.to_owned(), known);
        }
        let known = self.known.get_mut(name)?;
        let is_due = known.retry.is_some_and(|(at, _)| at <= Instant::now());
        if (is_new || is_due) && !known.waits {
            // Don't check it again before this check is finished.
            known.retry = known
                .retry
                .map(|(_, delay)| (Instant::now() + delay, delay));
            known.waits = true;
            self.waiting.push_back(name.to_owned());
        }
        known.effect.as_ref()
    }

    /// Starts as many checks as allowed. `find` returns the file of a profile; `None` if it has
    /// none.
    pub fn start(&mut self, find: impl Fn(&str) -> Option<Resolved>) {
        while self.running < AT_ONCE
            && let Some(name) = self.waiting.pop_front()
        {
            let Some(known) = self.known.get_mut(&name) else {
                continue;
            };
            let Some(resolved) = find(&name) else {
                self.known.remove(&name);
                continue;
            };
            known.waits = false;
            // It may have changed while it waited.
            if known.sum != resolved.sum {
                (known.sum, known.effect, known.retry) = (resolved.sum, None, None);
            }
            self.running += 1;
            let (done, memo) = (self.done.clone(), self.memo.clone());
            let limits = Arc::clone(&self.limits);
            let failed = name.clone();
            let sum = resolved.sum;
            let started = thread::Builder::new().name("effect".into()).spawn(move || {
                // If the receiver is gone, nobody needs the result.
                let _ = done.send(check(name, &resolved, &limits, &memo));
            });
            if let Err(error) = started {
                let _ = self.done.send(Checked {
                    name: failed,
                    sum,
                    effect: Effect::Unusable(format!("it can't be checked: {error}")),
                    may_change: true,
                });
            }
        }
    }

    /// Waits for a result and returns the name of its profile. Does not return while there is
    /// nothing to wait for.
    pub async fn next(&mut self) -> String {
        loop {
            // `self` holds a sender, so the channel stays open.
            if let Some(checked) = self.finished.recv().await
                && let Some(name) = self.take(checked)
            {
                return name;
            }
        }
    }

    /// Stores a result. Returns the profile's name if the result is about its current file.
    fn take(&mut self, checked: Checked) -> Option<String> {
        self.running -= 1;
        let known = self.known.get_mut(&checked.name)?;
        if known.sum != checked.sum {
            return None;
        }
        let delay = |(_, delay): (Instant, Duration)| (delay * 2).min(MAX_RETRY);
        known.retry = checked.may_change.then(|| {
            let delay = known.retry.map_or(RETRY, delay);
            (Instant::now() + delay, delay)
        });
        known.effect = Some(checked.effect);
        Some(checked.name)
    }

    /// The known result, if there is one.
    pub fn known(&self, name: &str) -> Option<&Effect> {
        self.known.get(name)?.effect.as_ref()
    }

    /// Forgets a profile.
    pub fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Forgets all profiles but these.
    pub fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.known.retain(|name, _| names.contains(name.as_str()));
    }

    /// Whether a result is pending.
    pub fn is_waiting(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    /// [`next`](Effects::next) for tests without a runtime.
    #[cfg(test)]
    pub(crate) fn next_blocking(&mut self) -> Option<String> {
        let checked = self.finished.blocking_recv()?;
        self.take(checked)
    }
}

/// What the operator's rules for profiles exclude and the filter of a file does all the same; `None` if
/// it does nothing of that.
///
/// # Errors
/// What the filter does can't be determined.
pub fn not_allowed(
    resolved: &Resolved,
    limits: &Limits,
    examiner: &mut Examiner<'_>,
) -> Result<Option<String>, Unusable> {
    match examiner.within(&resolved.filter, limits, Runtime::Either) {
        Ok(()) => Ok(None),
        Err(Exceeds::NotAllowed(excess)) => {
            let excess = resolved.place.in_spec(&excess);
            let excess = excess.replace("(defaultAction)", "(spec.defaultAction)");
            Ok(Some(format!(
                "the operator's configuration does not allow it: it {excess}"
            )))
        }
        Err(Exceeds::Unchecked(why)) => Err(why),
    }
}

/// Checks one file.
fn check(name: String, resolved: &Resolved, limits: &Limits, memo: &Memo) -> Checked {
    let in_spec = |said: &str| resolved.place.in_spec(said);
    let mut examiner = Examiner::new(memo);
    let mut look = || {
        if let Some(excess) = not_allowed(resolved, limits, &mut examiner)? {
            return Ok(Effect::NotAllowed(excess));
        }
        let notes = examiner.effect(&resolved.filter, Runtime::Either)?;
        Ok(Effect::Usable(
            notes.iter().map(|note| in_spec(note)).collect(),
        ))
    };
    let found = look();
    let may_change = found
        .as_ref()
        .is_err_and(|error: &Unusable| !error.is_lasting());
    let effect = found.unwrap_or_else(|error| Effect::Unusable(in_spec(&error.to_string())));
    Checked {
        name,
        sum: resolved.sum,
        effect,
        may_change,
    }
}

impl Place {
    /// Translates a message about places in the file's `syscalls` into one about the specification.
    fn in_spec(&self, message: &str) -> String {
        let mut parts = message.split("syscalls[");
        let mut said = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once(']') {
                Some((index, rest)) if index.parse::<usize>().is_ok() => {
                    said += &self.of_rule(index.parse().unwrap_or_default());
                    said += rest;
                }
                _ => {
                    said += "syscalls[";
                    said += part;
                }
            }
        }
        said
    }
}

#[cfg(test)]
mod tests;
