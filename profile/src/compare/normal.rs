//! The normal form of a filter: what the runtimes would load, without anything that provably makes
//! no difference to the kernel.

use crate::{Arch, ArgCondition, Filter, Flag, Operator, Rule, filter::Treatment};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// One of libseccomp's rules for one name: all conditions must hold. Without any, it always
/// matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Branch {
    pub(crate) treatment: Treatment,
    pub(crate) conditions: Vec<ArgCondition>,
}

/// A filter's normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Normal<'a> {
    pub(crate) default: Treatment,
    /// As listed: runc adds its ENOSYS stub only for these.
    pub(crate) architectures: BTreeSet<Arch>,
    /// Those beside the host's, which always comes first, in the order in which libseccomp is told
    /// them: its program depends on it.
    foreign: Vec<Arch>,
    /// `None` differs from any list: the runtimes then choose.
    pub(crate) flags: Option<BTreeSet<Flag>>,
    pub(crate) listener: (Option<&'a str>, Option<&'a str>),
    /// Every name that a rule mentions, even if it changes nothing: runc's stub counts them all.
    pub(crate) names: BTreeSet<&'a str>,
    /// The rules that change something, by name. The names of one rule share them.
    pub(crate) rules: BTreeMap<&'a str, Rc<[Branch]>>,
    /// Rules for calls that share a number, in their order, if that may matter.
    family: Vec<(&'a str, Branch)>,
}

/// Calls that 32-bit and older architectures reach through `socketcall` and `ipc`, so that
/// libseccomp merges the rules for them.
pub(crate) fn is_multiplexed(name: &str) -> bool {
    matches!(
        name,
        "socketcall"
            | "socket"
            | "bind"
            | "connect"
            | "listen"
            | "accept"
            | "accept4"
            | "getsockname"
            | "getpeername"
            | "socketpair"
            | "send"
            | "recv"
            | "sendto"
            | "recvfrom"
            | "shutdown"
            | "setsockopt"
            | "getsockopt"
            | "sendmsg"
            | "recvmsg"
            | "sendmmsg"
            | "recvmmsg"
            | "recvmmsg_time64"
            | "ipc"
            | "semop"
            | "semget"
            | "semctl"
            | "semtimedop"
            | "semtimedop_time64"
            | "msgsnd"
            | "msgrcv"
            | "msgget"
            | "msgctl"
            | "shmat"
            | "shmdt"
            | "shmget"
            | "shmctl"
    )
}

/// Names of which libseccomp makes one call: it numbers calls that the host lacks by themselves,
/// and 2.5.4 gave these two the same number (-10191), so that on PowerPC both mean `switch_endian`.
/// A test looks for others in the linked library.
fn shares_its_number(name: &str) -> bool {
    matches!(name, "switch_endian" | "sys_debug_setcontext")
}

/// Architectures that certainly have no multiplexer.
fn has_no_multiplexer(arch: Arch) -> bool {
    matches!(
        arch.concrete(),
        Arch::X86_64 | Arch::X32 | Arch::Aarch64 | Arch::Riscv64 | Arch::Loongarch64
    )
}

/// Whether one of the architectures, or the host's, has multiplexed calls.
fn multiplexes(architectures: &BTreeSet<Arch>) -> bool {
    let mut all = architectures.iter().chain([&Arch::HOST]);
    !all.all(|arch| has_no_multiplexer(*arch))
}

fn canonical(condition: &ArgCondition) -> ArgCondition {
    let value_two = match condition.op {
        Operator::MaskedEq => condition.value_two,
        _ => 0,
    };
    ArgCondition {
        value_two,
        ..*condition
    }
}

/// The rules that libseccomp gets for each name of a rule.
fn branches(treatment: Treatment, rule: &Rule) -> Vec<Branch> {
    let branch = |conditions: &[ArgCondition]| {
        let mut conditions: Vec<_> = conditions.iter().map(canonical).collect();
        conditions.sort_unstable();
        Branch {
            treatment,
            conditions,
        }
    };
    rule.branches().into_iter().map(branch).collect()
}

/// Rules for calls that share a multiplexer or a number, in their order; empty if that can't
/// matter, because there are none or all of them are treated alike.
fn family<'a>(
    architectures: &BTreeSet<Arch>,
    mentions: &[(&'a str, usize)],
    sets: &[Rc<[Branch]>],
) -> Vec<(&'a str, Branch)> {
    // Usually so, and then no name has to be looked up.
    if are_alike(sets.iter().flat_map(|set| set.iter())) {
        return Vec::new();
    }
    let multiplexes = multiplexes(architectures);
    let meets = |name| multiplexes && is_multiplexed(name) || shares_its_number(name);
    let family: Vec<(&str, Branch)> = mentions
        .iter()
        .filter(|(name, _)| meets(name))
        .flat_map(|(name, set)| sets[*set].iter().map(|branch| (*name, branch.clone())))
        .collect();
    if are_alike(family.iter().map(|(_, branch)| branch)) {
        return Vec::new();
    }
    family
}

/// Whether all rules have one treatment and no conditions.
fn are_alike<'b>(branches: impl IntoIterator<Item = &'b Branch>) -> bool {
    let mut treatment = None;
    branches.into_iter().all(|branch| {
        branch.conditions.is_empty()
            && *treatment.get_or_insert(branch.treatment) == branch.treatment
    })
}

impl<'a> Normal<'a> {
    pub(crate) fn of(filter: &'a Filter) -> Normal<'a> {
        let default = Treatment::default_of(filter);
        let architectures: BTreeSet<Arch> = filter
            .architectures
            .iter()
            .map(|arch| arch.concrete())
            .collect();
        let mut foreign: Vec<Arch> = Vec::new();
        for arch in filter.architectures.iter().map(|arch| arch.concrete()) {
            if arch != Arch::HOST && !foreign.contains(&arch) {
                foreign.push(arch);
            }
        }
        let mut sets: Vec<Rc<[Branch]>> = Vec::new();
        // Each name with the set that a rule of it gives, in the order of the rules.
        let mut mentions: Vec<(&str, usize)> = Vec::new();
        for rule in &filter.syscalls {
            let treatment = Treatment::of(rule.action, rule.errno_ret);
            if treatment != default {
                mentions.extend(rule.names.iter().map(|name| (name.as_str(), sets.len())));
                sets.push(folded(branches(treatment, rule)));
            }
        }
        let family = family(&architectures, &mentions, &sets);
        // By name, and within a name still in order. The map is built from them at once: a filter
        // has hundreds of names, and the gate compares two filters for each container.
        mentions.sort_by_key(|(name, _)| *name);
        let rules = mentions
            .chunk_by(|(a, _), (b, _)| a == b)
            .map(|of_name| {
                let branches = match of_name {
                    [(_, set)] => Rc::clone(&sets[*set]),
                    several => folded(
                        several
                            .iter()
                            .flat_map(|(_, set)| sets[*set].iter().cloned())
                            .collect(),
                    ),
                };
                (of_name[0].0, branches)
            })
            .collect();
        Normal {
            default,
            architectures,
            foreign,
            flags: filter.flags.as_ref().map(|flags| {
                flags
                    .iter()
                    .copied()
                    .filter(|flag| *flag != Flag::Tsync)
                    .collect()
            }),
            listener: (
                filter.listener_path.as_deref(),
                filter.listener_metadata.as_deref(),
            ),
            names: filter.names().collect(),
            rules,
            family,
        }
    }

    /// Whether a rule for one call may reach another through a multiplexer.
    pub(crate) fn multiplexes(&self) -> bool {
        multiplexes(&self.architectures)
    }

    /// The first differing part other than the rules, in words.
    pub(crate) fn header_difference(&self, other: &Normal<'_>) -> Option<&'static str> {
        [
            (self.default != other.default, "default actions"),
            (self.architectures != other.architectures, "architectures"),
            (self.flags != other.flags, "flags"),
            (self.listener != other.listener, "listeners"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

/// Unconditional rules with the same treatment become one rule. The order of all others is kept,
/// because libseccomp's program for conditional rules depends on it even if their treatment is the
/// same.
fn folded(mut branches: Vec<Branch>) -> Rc<[Branch]> {
    if are_alike(&branches) {
        branches.truncate(1);
    }
    branches.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::syscalls::names;
    use libseccomp::ScmpSyscall;

    #[test]
    fn every_name_that_shares_its_number_in_the_library_is_known_to() {
        let mut by_number: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
        for name in names() {
            if let Ok(call) = ScmpSyscall::from_name(name) {
                by_number.entry(call.into()).or_default().push(name);
            }
        }
        assert!(by_number.len() > 300);
        let shared = by_number.values().filter(|names| names.len() > 1);
        for name in shared.flatten() {
            assert!(shares_its_number(name), "{name}");
        }
    }
}
