//! Whether the files of profiles would do what they say: what libseccomp makes of each is looked at
//! beside everything else, a few at a time, and remembered for as long as the file stays the same.
//!
//! The verdict is that of this process's libseccomp; the gate of each node has the last word.

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

/// How many files are looked at at once: a profile with which libseccomp comes to no end blocks
/// the others for no longer than the other places are taken, too.
const AT_ONCE: usize = 2;

/// When a file that could not be compiled is looked at again for the first time; each time after
/// that it takes twice as long. The machine may have been too busy.
const RETRY: Duration = Duration::from_secs(60);
/// And at most this long.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// What was found out about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does what it says; this is to be said of it.
    Usable(Vec<String>),
    /// It does not, or that can't be determined: why.
    Unusable(String),
}

/// What is known of the file of one profile.
#[derive(Debug)]
struct Known {
    /// The checksum of the file that this is about.
    sum: [u8; 32],
    /// `None` until it was looked at.
    verdict: Option<Verdict>,
    /// When it is to be looked at again, and how long that was put off.
    retry: Option<(Instant, Duration)>,
    /// Whether it waits for that.
    waits: bool,
}

/// One look at a file.
#[derive(Debug)]
struct Look {
    name: String,
    sum: [u8; 32],
    verdict: Verdict,
    /// Whether another look may find something else.
    may_change: bool,
}

/// The verdicts on files by the names of their profiles.
#[derive(Debug)]
pub struct Effects {
    known: BTreeMap<String, Known>,
    /// Names whose files have to be looked at, each once.
    waiting: VecDeque<String>,
    running: usize,
    memo: Memo,
    done: mpsc::UnboundedSender<Look>,
    looks: mpsc::UnboundedReceiver<Look>,
}

impl Default for Effects {
    fn default() -> Effects {
        let (done, looks) = mpsc::unbounded_channel();
        Effects {
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            memo: Memo::none(),
            done,
            looks,
        }
    }
}

impl Effects {
    /// From now on verdicts are also remembered there, over the end of this process.
    pub fn remember_in(&mut self, memo: Memo) {
        self.memo = memo;
    }

    /// The verdict on the file of a profile; `None` until there is one, which
    /// [`next`](Effects::next) then tells.
    pub fn of(&mut self, name: &str, sum: &[u8; 32]) -> Option<&Verdict> {
        let is_new = self.known.get(name).is_none_or(|known| known.sum != *sum);
        if is_new {
            let known = Known {
                sum: *sum,
                verdict: None,
                retry: None,
                waits: false,
            };
            self.known.insert(name.to_owned(), known);
        }
        let known = self.known.get_mut(name)?;
        let is_due = known.retry.is_some_and(|(at, _)| at <= Instant::now());
        if (is_new || is_due) && !known.waits {
            // Not again before this look is over.
            known.retry = known
                .retry
                .map(|(_, delay)| (Instant::now() + delay, delay));
            known.waits = true;
            self.waiting.push_back(name.to_owned());
        }
        known.verdict.as_ref()
    }

    /// Begins to look at files as far as there is room. `find` says what the file of a profile is;
    /// `None` if it has none.
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
                (known.sum, known.verdict, known.retry) = (resolved.sum, None, None);
            }
            self.running += 1;
            let (done, memo) = (self.done.clone(), self.memo.clone());
            let told = name.clone();
            let sum = resolved.sum;
            let started = thread::Builder::new().name("effect".into()).spawn(move || {
                // Nobody waits for it where the receiver is gone.
                let _ = done.send(look(name, &resolved, &memo));
            });
            if let Err(error) = started {
                let _ = self.done.send(Look {
                    name: told,
                    sum,
                    verdict: Verdict::Unusable(format!("it can't be checked: {error}")),
                    may_change: true,
                });
            }
        }
    }

    /// Waits for a verdict and gives the name of its profile. Never returns while there is nothing
    /// to wait for.
    pub async fn next(&mut self) -> String {
        loop {
            // This side has a sender, so the channel stays open.
            if let Some(look) = self.looks.recv().await
                && let Some(name) = self.take(look)
            {
                return name;
            }
        }
    }

    /// Takes in what was found; the name, if it is about the file as it is now.
    fn take(&mut self, look: Look) -> Option<String> {
        self.running -= 1;
        let known = self.known.get_mut(&look.name)?;
        if known.sum != look.sum {
            return None;
        }
        let delay = |(_, delay): (Instant, Duration)| (delay * 2).min(MAX_RETRY);
        known.retry = look.may_change.then(|| {
            let delay = known.retry.map_or(RETRY, delay);
            (Instant::now() + delay, delay)
        });
        known.verdict = Some(look.verdict);
        Some(look.name)
    }

    /// The verdict that is there already.
    pub fn known(&self, name: &str) -> Option<&Verdict> {
        self.known.get(name)?.verdict.as_ref()
    }

    /// Forgets what is known of a profile.
    pub fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Forgets what is known of all profiles but these.
    pub fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.known.retain(|name, _| names.contains(name.as_str()));
    }

    /// Whether a verdict is still to come.
    pub fn is_waiting(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    /// [`next`](Effects::next) for tests without a runtime.
    #[cfg(test)]
    pub(crate) fn next_blocking(&mut self) -> Option<String> {
        let look = self.looks.blocking_recv()?;
        self.take(look)
    }
}

/// Looks at one file.
fn look(name: String, resolved: &Resolved, memo: &Memo) -> Look {
    let in_spec = |said: &str| resolved.place.in_spec(said);
    let found = Examiner::new(memo).effect(&resolved.filter, Runtime::Either);
    let may_change = found.as_ref().is_err_and(|error| !error.is_lasting());
    let verdict = match found {
        Ok(notes) => Verdict::Usable(notes.iter().map(|note| in_spec(note)).collect()),
        Err(error) => Verdict::Unusable(in_spec(&error.to_string())),
    };
    Look {
        name,
        sum: resolved.sum,
        verdict,
        may_change,
    }
}

impl Place {
    /// A message about places in `syscalls` of the file as one about the specification.
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

    fn verdict(spec: &Value) -> Verdict {
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
        let Verdict::Unusable(why) = verdict(spec) else {
            panic!("{spec}");
        };
        for expected in expected {
            assert!(why.contains(expected), "{why}");
        }
    }

    fn denying(names: &[&str], args: &Value) -> Value {
        json!({"names": names, "action": "SCMP_ACT_ERRNO", "args": args})
    }

    /// A1: libseccomp 2.5.4 applies no native rule of it.
    fn lost() -> Value {
        let new_user = json!([{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000,
            "op": "SCMP_CMP_MASKED_EQ"}]);
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            "syscalls": [denying(&["clone", "unshare"], &new_user), denying(&["umount"], &json!([]))]})
    }

    #[test]
    fn what_does_as_it_says_is_usable_and_what_does_not_is_told_by_the_fields_of_its_author() {
        assert_eq!(
            verdict(&json!({"allow": ["mkdir"]})),
            Verdict::Usable(Vec::new())
        );
        if cfg!(target_arch = "x86_64") {
            unusable(
                &lost(),
                &["would not do what it says: spec.syscalls[0]: clone on SCMP_ARCH_X86_64"],
            );
        }
    }

    /// A8: both rules are named, each with its action.
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
    fn a_file_that_changes_meanwhile_gets_a_verdict_of_its_own() {
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
        let told = effects.of("p", &sum).cloned();
        let Some(Verdict::Unusable(why)) = &told else {
            panic!("{told:?}");
        };
        assert!(why.contains("no end with the rules for mkdir"), "{why}");
        assert!(!effects.is_waiting());
        effects.known.get_mut("p").unwrap().retry = Some((Instant::now(), RETRY));
        assert_eq!(effects.of("p", &sum).cloned(), told);
        assert!(effects.is_waiting());
        // Asked again, it waits once.
        effects.of("p", &sum);
        assert_eq!(effects.waiting.len(), 1);
    }
}
