//! Checks in the background whether libseccomp compiles the files of profiles to what they say. A
//! few files are checked at a time, and the result is kept for as long as the file stays the same.
//!
//! The result is that of this process's libseccomp; the gate on each node has the last word.

use crate::resolve::{Place, Resolved};
use portcullis_profile::{
    filter::reader::Runtime,
    program::{Examiner, Memo},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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
    done: mpsc::UnboundedSender<Checked>,
    finished: mpsc::UnboundedReceiver<Checked>,
}

impl Default for Effects {
    fn default() -> Effects {
        let (done, finished) = mpsc::unbounded_channel();
        Effects {
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            memo: Memo::none(),
            done,
            finished,
        }
    }
}

impl Effects {
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
            let failed = name.clone();
            let sum = resolved.sum;
            let started = thread::Builder::new().name("effect".into()).spawn(move || {
                // If the receiver is gone, nobody needs the result.
                let _ = done.send(check(name, &resolved, &memo));
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

/// Checks one file.
fn check(name: String, resolved: &Resolved, memo: &Memo) -> Checked {
    let in_spec = |said: &str| resolved.place.in_spec(said);
    let found = Examiner::new(memo).effect(&resolved.filter, Runtime::Either);
    let may_change = found.as_ref().is_err_and(|error| !error.is_lasting());
    let effect = match found {
        Ok(notes) => Effect::Usable(notes.iter().map(|note| in_spec(note)).collect()),
        Err(error) => Effect::Unusable(in_spec(&error.to_string())),
    };
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
mod tests {
    use super::*;
    use crate::resolve::resolve;
    use serde_json::{Value, json};

    fn file(spec: &Value) -> Resolved {
        resolve("p", &spec.to_string(), &|_| None).unwrap().unwrap()
    }

    fn effect(spec: &Value) -> Effect {
        let resolved = file(spec);
        let mut effects = Effects::default();
        assert_eq!(effects.of("p", &resolved.sum), None);
        effects.start(|_| Some(file(spec)));
        assert_eq!(effects.next_blocking().as_deref(), Some("p"));
        let found = effects.of("p", &resolved.sum).cloned().unwrap();
        assert!(!effects.is_waiting(), "it is looked at again");
        found
    }

    fn unusable(spec: &Value, expected: &[&str]) {
        let Effect::Unusable(why) = effect(spec) else {
            panic!("{spec}");
        };
        for expected in expected {
            assert!(why.contains(expected), "{why}");
        }
    }

    fn denying(names: &[&str], args: &Value) -> Value {
        json!({"names": names, "action": "SCMP_ACT_ERRNO", "args": args})
    }

    /// libseccomp 2.5.4 compiles it to a program that applies no native rule.
    fn lost() -> Value {
        let new_user = json!([{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000,
            "op": "SCMP_CMP_MASKED_EQ"}]);
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            "syscalls": [denying(&["clone", "unshare"], &new_user), denying(&["umount"], &json!([]))]})
    }

    #[test]
    fn a_faulty_profile_is_unusable_and_the_message_names_its_authors_fields() {
        assert_eq!(
            effect(&json!({"allow": ["mkdir"]})),
            Effect::Usable(Vec::new())
        );
        if cfg!(target_arch = "x86_64") {
            unusable(
                &lost(),
                &[
                    "would not do what the profile says: spec.syscalls[0]: clone on SCMP_ARCH_X86_64",
                ],
            );
        }
    }

    /// Both rules are named, each with its action.
    #[test]
    fn rules_that_contradict_each_other_are_both_named() {
        let kill = json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"});
        let denied = denying(&["mkdir"], &json!([]));
        unusable(
            &json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied, kill]}),
            &[
                "spec.syscalls[1]: mkdir",
                "should get SCMP_ACT_KILL_PROCESS",
                "gives SCMP_ACT_ERRNO (1), which spec.syscalls[0] says",
            ],
        );
        let other = json!({"names": ["mkdir"], "action": "SCMP_ACT_TRAP"});
        unusable(
            &json!({"syscalls": [
                {"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}, other], "allow": ["mkdir"]}),
            &["spec.syscalls[1]: mkdir", "which spec.syscalls[0] says"],
        );
    }

    #[test]
    fn a_message_names_the_fields_that_the_places_of_the_file_come_from() {
        let place = Place {
            own: 2,
            has_allow: true,
        };
        assert_eq!(
            place.in_spec("syscalls[0] and syscalls[2], not syscalls[x] or syscalls[3]: [1]"),
            "spec.syscalls[0] and spec.allow, not syscalls[x] or syscalls[3] of the file (from a base): [1]"
        );
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_checked_again() {
        let (before, after) = (json!({"allow": ["mkdir"]}), json!({"allow": ["rmdir"]}));
        let mut effects = Effects::default();
        assert_eq!(effects.of("p", &file(&before).sum), None);
        effects.start(|_| Some(file(&before)));
        assert_eq!(effects.of("p", &file(&after).sum), None);
        assert_eq!(effects.next_blocking(), None, "it is of the old file");
        assert!(effects.is_waiting());
        effects.start(|_| Some(file(&after)));
        assert_eq!(effects.next_blocking().as_deref(), Some("p"));
        assert!(effects.of("p", &file(&after).sum).is_some());
        effects.forget("p");
        assert_eq!(effects.of("p", &file(&after).sum), None);
    }

    #[test]
    fn what_can_not_be_compiled_is_looked_at_again_only_after_a_while() {
        let lt = |index: u8, op: &str, value: u8| json!({"index": index, "value": value, "op": op});
        let (a, b) = (lt(0, "SCMP_CMP_LT", 9), lt(2, "SCMP_CMP_GE", 3));
        let c = lt(1, "SCMP_CMP_EQ", 1);
        let endless = json!({"syscalls": [
            denying(&["mkdir"], &json!([a, b, c])), denying(&["mkdir"], &json!([a, b]))],
            "defaultAction": "SCMP_ACT_ALLOW"});
        let sum = file(&endless).sum;
        let mut effects = Effects::default();
        assert_eq!(effects.of("p", &sum), None);
        effects.start(|_| Some(file(&endless)));
        effects.next_blocking();
        let first = effects.of("p", &sum).cloned();
        let Some(Effect::Unusable(why)) = &first else {
            panic!("{first:?}");
        };
        assert!(
            why.contains("did not finish within 2 s on the rules for mkdir"),
            "{why}"
        );
        assert!(!effects.is_waiting());
        effects.known.get_mut("p").unwrap().retry = Some((Instant::now(), RETRY));
        assert_eq!(effects.of("p", &sum).cloned(), first);
        assert!(effects.is_waiting());
        // If asked again, it is queued only once.
        effects.of("p", &sum);
        assert_eq!(effects.waiting.len(), 1);
    }
}
