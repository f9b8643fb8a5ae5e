//! Limits on filters: calls that none may let through, and actions that none may use.
//!
//! A filter is judged by what its program does to every call of every architecture, not by its rules
//! alone. A call counts as let through if it may be executed: allowed, also with some arguments only,
//! logged, or left to a tracer or to a supervisor.

use crate::{
    Action, Arch, Filter,
    compare::difference::first_names,
    filter::{Treatment, syscalls},
    program::{
        calls::{Multiplexer, audit_arch, entry, library_knows, named},
        interpret::{ARCH, NUMBER, low_word},
        layout::Programs,
        region::Word,
        walk::{Leaf, WalkError, Walker},
    },
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What no filter may do. An empty list limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The only calls that a filter may let through.
    pub allowed_calls: BTreeSet<String>,
    /// Calls that no filter may let through, even if they are among those.
    pub forbidden_calls: BTreeSet<String>,
    /// The only actions that a filter may use.
    pub allowed_actions: BTreeSet<Action>,
    /// Actions that no filter may use, even if they are among those.
    pub forbidden_actions: BTreeSet<Action>,
}

/// A name that no architecture has a call of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no system call {name:?}{}", meant(*.nearest))]
pub struct UnknownCall {
    name: String,
    nearest: Option<&'static str>,
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean {nearest:?}?")
    })
}

/// The name of a call, for a list of [`Limits`]. A mistyped one would limit nothing.
///
/// # Errors
/// [`UnknownCall`].
pub fn call_name(name: &str) -> Result<String, UnknownCall> {
    if syscalls::is_known(name) || library_knows(name) {
        return Ok(name.to_owned());
    }
    Err(UnknownCall {
        name: name.to_owned(),
        nearest: syscalls::nearest(name),
    })
}

/// A call that a filter lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Passing {
    name: String,
    /// The multiplexer that it is reached through.
    by: Option<Multiplexer>,
}

/// What a filter does beyond its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    forbidden_calls: Vec<String>,
    other_calls: Vec<String>,
    /// Calls pass that no rule names, and not all may.
    default: bool,
    forbidden_actions: Vec<String>,
    other_actions: Vec<String>,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |what: &[String], begin: &str, end: &str| {
            if !what.is_empty() {
                parts.push(format!("{begin} {}{end}", first_names(what)));
            }
        };
        part(
            &self.forbidden_calls,
            "lets through",
            ", forbidden by --forbidden-syscalls",
        );
        let default = ["calls that no rule names (defaultAction)".to_owned()];
        part(
            if self.default { &default } else { &[] },
            "lets through",
            ", while --allowed-syscalls lists those that may pass",
        );
        part(
            &self.other_calls,
            "lets through",
            ", not listed in --allowed-syscalls",
        );
        part(
            &self.forbidden_actions,
            "uses",
            ", forbidden by --forbidden-seccomp-actions",
        );
        part(
            &self.other_actions,
            "uses",
            ", not listed in --allowed-seccomp-actions",
        );
        f.write_str(&parts.join("; "))
    }
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// The digest of all of them.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let actions = |actions: &BTreeSet<Action>| -> Vec<String> {
            actions.iter().map(ToString::to_string).collect()
        };
        let lists: [Vec<String>; 4] = [
            self.allowed_calls.iter().cloned().collect(),
            self.forbidden_calls.iter().cloned().collect(),
            actions(&self.allowed_actions),
            actions(&self.forbidden_actions),
        ];
        let mut digest = Sha256::new();
        let length = |length: usize, digest: &mut Sha256| {
            digest.update((length as u64).to_le_bytes());
        };
        for list in lists {
            length(list.len(), &mut digest);
            for name in list {
                length(name.len(), &mut digest);
                digest.update(name);
            }
        }
        digest.finalize().into()
    }

    /// What a filter with these programs does beyond the limits; `None` if nothing.
    ///
    /// # Errors
    /// If it can't be determined what the programs do.
    pub(crate) fn excess(
        &self,
        filter: &Filter,
        programs: &Programs,
    ) -> Result<Option<Excess>, WalkError> {
        let mut calls = Calls::of(self);
        if !(self.allowed_calls.is_empty() && self.forbidden_calls.is_empty()) {
            for program in programs.each() {
                Walker::default().walk(program, |_, leaf| {
                    if Treatment::of_answer(leaf.returns).might_pass() {
                        calls.passes(leaf);
                    }
                    Ok::<(), WalkError>(())
                })?;
            }
            calls.unknown(filter);
        }
        let mut excess = Excess {
            forbidden_calls: in_words(&calls.forbidden, filter),
            other_calls: in_words(&calls.others, filter),
            default: calls.default,
            ..Excess::default()
        };
        self.look_at_actions(filter, &mut excess);
        Ok((excess != Excess::default()).then_some(excess))
    }

    /// Runtimes add actions that no profile asks for: they kill calls of other architectures, and runc
    /// answers new calls with ENOSYS. So only the filter's own count, each with its first place.
    fn look_at_actions(&self, filter: &Filter, excess: &mut Excess) {
        let default = (filter.default_action, "defaultAction".to_owned());
        let rules = filter.syscalls.iter().enumerate();
        let rules = rules.map(|(at, rule)| (rule.action, format!("syscalls[{at}]")));
        let mut seen = BTreeSet::new();
        let has = |set: &BTreeSet<Action>, action: Action| {
            set.iter().any(|listed| listed.folded() == action.folded())
        };
        for (action, place) in [default].into_iter().chain(rules) {
            if !seen.insert(action.folded()) {
                continue;
            }
            let said = format!("{action} ({place})");
            if has(&self.forbidden_actions, action) {
                excess.forbidden_actions.push(said);
            } else if !self.allowed_actions.is_empty() && !has(&self.allowed_actions, action) {
                excess.other_actions.push(said);
            }
        }
    }
}

/// How the calls of a list reach the kernel where it sees one `AUDIT_ARCH_*`.
#[derive(Debug, Default)]
struct Reached<'a> {
    numbers: BTreeMap<u32, (Arch, &'a str)>,
    behind: Vec<Behind<'a>>,
}

#[derive(Debug)]
struct Behind<'a> {
    number: u32,
    multiplexer: Multiplexer,
    call: u32,
    arch: Arch,
    name: &'a str,
}

impl Behind<'_> {
    /// Whether a first argument may select the call. Of `ipc`'s, the kernel looks at the low half only.
    fn may_be_selected_by(&self, argument: &Word) -> bool {
        match (self.multiplexer, argument.value()) {
            (Multiplexer::Ipc, Some(value)) => value & 0xffff == self.call,
            (Multiplexer::Ipc, None) => true,
            (Multiplexer::Socketcall, _) => argument.contains(self.call),
        }
    }
}

impl<'a> Reached<'a> {
    fn of(names: &'a BTreeSet<String>, audit: u32) -> Reached<'a> {
        let mut reached = Reached::default();
        for arch in Arch::ALL.iter().copied() {
            if arch == Arch::Native || audit_arch(arch) != Some(audit) {
                continue;
            }
            for name in names {
                let entry = entry(name, arch);
                if let Some(number) = entry.number() {
                    reached.numbers.insert(number, (arch, name));
                }
                if let Some((multiplexer, call)) = entry.behind
                    && let Some(number) = self::entry(multiplexer.name(), arch).number()
                {
                    reached.behind.push(Behind {
                        number,
                        multiplexer,
                        call,
                        arch,
                        name,
                    });
                }
            }
        }
        reached
    }
}

/// The calls beyond the limits that a walk finds, with the architectures where they pass.
struct Calls<'a> {
    limits: &'a Limits,
    /// Those that are listed as allowed and as forbidden, by `AUDIT_ARCH_*`.
    reached: BTreeMap<u32, (Reached<'a>, Reached<'a>)>,
    forbidden: BTreeMap<Passing, BTreeSet<Arch>>,
    others: BTreeMap<Passing, BTreeSet<Arch>>,
    default: bool,
}

impl<'a> Calls<'a> {
    fn of(limits: &'a Limits) -> Calls<'a> {
        Calls {
            limits,
            reached: BTreeMap::new(),
            forbidden: BTreeMap::new(),
            others: BTreeMap::new(),
            default: false,
        }
    }

    /// Every call of a leaf may be executed.
    fn passes(&mut self, leaf: &Leaf<'_>) {
        let arches = leaf.region.word(ARCH);
        let audits: BTreeSet<u32> = Arch::ALL
            .iter()
            .filter_map(|arch| audit_arch(*arch))
            .filter(|audit| arches.contains(*audit) && !leaf.holes.contains(ARCH, *audit))
            .collect();
        // A program that lets calls of unknown architectures pass is of no library.
        self.default |= arches.value().is_none() && !self.limits.allowed_calls.is_empty();
        for audit in audits {
            self.passes_on(audit, leaf);
        }
    }

    fn passes_on(&mut self, audit: u32, leaf: &Leaf<'_>) {
        let limits = self.limits;
        let (allowed, forbidden) = self.reached.entry(audit).or_insert_with(|| {
            let allowed = Reached::of(&limits.allowed_calls, audit);
            (allowed, Reached::of(&limits.forbidden_calls, audit))
        });
        let (numbers, first) = (leaf.region.word(NUMBER), leaf.region.word(low_word(0)));
        let has = |number: u32| numbers.contains(number) && !leaf.holes.contains(NUMBER, number);
        let direct = forbidden.numbers.iter().filter(|(number, _)| has(**number));
        let direct = direct.map(|(_, (arch, name))| (*arch, *name, None));
        let behind = forbidden.behind.iter();
        let behind = behind.filter(|it| has(it.number) && it.may_be_selected_by(first));
        let behind = behind.map(|it| (it.arch, it.name, Some(it.multiplexer)));
        for (arch, name, by) in direct.chain(behind) {
            let name = name.to_owned();
            let arches = self.forbidden.entry(Passing { name, by }).or_default();
            arches.insert(arch);
        }
        if limits.allowed_calls.is_empty() {
            return;
        }
        // −1, which is no call, gets the default.
        let Some(number) = numbers.value().filter(|number| *number != u32::MAX) else {
            self.default = true;
            return;
        };
        let selects = |it: &Behind<'_>| {
            let is_one = it.number == number && first.value().is_some();
            is_one && it.may_be_selected_by(first)
        };
        if allowed.numbers.contains_key(&number) || allowed.behind.iter().any(selects) {
            return;
        }
        if let Some((arch, name)) = named(audit, number) {
            let arches = self.others.entry(Passing { name, by: None }).or_default();
            arches.insert(arch);
        }
    }

    /// Calls that the linked libseccomp does not know, but a runtime's may. The program has no rules for
    /// them, so the filter's own decide.
    fn unknown(&mut self, filter: &Filter) {
        let limits = self.limits;
        let mut passing: Vec<&str> = filter
            .syscalls
            .iter()
            .filter(|rule| Treatment::of(rule.action, rule.errno_ret).might_pass())
            .flat_map(|rule| rule.names.iter().map(String::as_str))
            .filter(|name| !library_knows(name))
            .collect();
        if Treatment::default_of(filter).might_pass() {
            // A number that is not known here can't be found in the program.
            let all = filter.architectures.iter().chain([&Arch::HOST]);
            let all: Vec<Arch> = all.copied().collect();
            let names = limits.forbidden_calls.iter().map(String::as_str);
            passing.extend(names.filter(|name| {
                let has_number = |arch: &Arch| entry(name, *arch).number().is_some();
                !library_knows(name) && !all.iter().all(has_number)
            }));
        }
        for name in passing {
            let of = if limits.forbidden_calls.contains(name) {
                &mut self.forbidden
            } else if !limits.allowed_calls.is_empty() && !limits.allowed_calls.contains(name) {
                &mut self.others
            } else {
                continue;
            };
            let name = name.to_owned();
            let arches = of.entry(Passing { name, by: None }).or_default();
            arches.insert(Arch::HOST);
        }
    }
}

/// Names each call with the architecture, unless it passes on the host's own, and with what lets it
/// pass, where that can be told.
fn in_words(calls: &BTreeMap<Passing, BTreeSet<Arch>>, filter: &Filter) -> Vec<String> {
    let in_words = |(passing, arches): (&Passing, &BTreeSet<Arch>)| {
        let by = passing.by.map(|by| format!(" by {}", by.name()));
        let only = arches.first().filter(|_| !arches.contains(&Arch::HOST));
        let only = only.map(|arch| format!(" on {arch}"));
        let place = place(passing, filter).map(|place| format!(" ({place})"));
        let more = [by, only, place].into_iter().flatten();
        passing.name.clone() + &more.collect::<String>()
    };
    calls.iter().map(in_words).collect()
}

fn place(passing: &Passing, filter: &Filter) -> Option<String> {
    let name = passing.by.map_or(passing.name.as_str(), |by| by.name());
    let rule = filter.syscalls.iter().position(|rule| {
        let passes = Treatment::of(rule.action, rule.errno_ret).might_pass();
        passes
            && rule
                .names
                .iter()
                .any(|it| *it == name || *it == passing.name)
    });
    let default = Treatment::default_of(filter).might_pass();
    let default = default.then(|| "defaultAction".to_owned());
    rule.map(|rule| format!("syscalls[{rule}]")).or(default)
}

#[cfg(test)]
mod tests;
