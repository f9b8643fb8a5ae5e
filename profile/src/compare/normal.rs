//! The normal form of a filter: what the runtimes would load, with everything folded that
//! provably makes no difference to the kernel.

use crate::{Arch, ArgCondition, Filter, Flag, Operator, filter::Treatment};
use std::collections::{BTreeMap, BTreeSet};

/// One rule of libseccomp for one name: all conditions must hold; none: always.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Branch {
    pub(crate) treatment: Treatment,
    pub(crate) conditions: Vec<ArgCondition>,
}

/// A filter's normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Normal<'a> {
    pub(crate) default: Treatment,
    /// As listed: runc makes an ENOSYS stub for these only.
    pub(crate) architectures: BTreeSet<Arch>,
    /// `None` differs from any list: the runtimes then choose.
    pub(crate) flags: Option<BTreeSet<Flag>>,
    pub(crate) listener: (Option<&'a str>, Option<&'a str>),
    /// Every name that a rule mentions, also one that changes nothing: runc's stub counts them.
    pub(crate) names: BTreeSet<&'a str>,
    /// The rules that change something, by name.
    pub(crate) rules: BTreeMap<&'a str, Vec<Branch>>,
    /// Rules of multiplexed calls in their order, where that may matter.
    family: Vec<(&'a str, Branch)>,
}

/// Calls that 32-bit and older architectures reach through `socketcall` and `ipc`, so that
/// libseccomp's rules for them meet there.
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

/// Architectures that surely have no multiplexer.
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

impl<'a> Normal<'a> {
    pub(crate) fn of(filter: &'a Filter) -> Normal<'a> {
        let default = Treatment::default_of(filter);
        let architectures: BTreeSet<Arch> = filter
            .architectures
            .iter()
            .map(|arch| arch.concrete())
            .collect();
        let mut rules: BTreeMap<&str, Vec<Branch>> = BTreeMap::new();
        let mut family = Vec::new();
        for rule in &filter.syscalls {
            let treatment = Treatment::of(rule.action, rule.errno_ret);
            if treatment == default {
                continue;
            }
            let branches: Vec<Branch> = rule
                .branches()
                .into_iter()
                .map(|conditions| {
                    let mut conditions: Vec<_> = conditions.iter().map(canonical).collect();
                    conditions.sort_unstable();
                    Branch {
                        treatment,
                        conditions,
                    }
                })
                .collect();
            for name in &rule.names {
                if is_multiplexed(name) {
                    family.extend(
                        branches
                            .iter()
                            .map(|branch| (name.as_str(), branch.clone())),
                    );
                }
                rules
                    .entry(name)
                    .or_default()
                    .extend(branches.iter().cloned());
            }
        }
        for branches in rules.values_mut() {
            fold(branches);
        }
        let alike = |(_, branch): &(&str, Branch)| {
            branch.conditions.is_empty() && branch.treatment == family[0].1.treatment
        };
        if !multiplexes(&architectures) || family.iter().all(alike) {
            family = Vec::new();
        }
        Normal {
            default,
            architectures,
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

    /// The first part outside of the rules that differs, in words.
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

/// Rules of one treatment without conditions are one rule. The order of all others is kept: what
/// libseccomp builds of conditional rules depends on it, also where they have one treatment.
fn fold(branches: &mut Vec<Branch>) {
    let Some(first) = branches.first() else {
        return;
    };
    let treatment = first.treatment;
    if branches
        .iter()
        .all(|branch| branch.treatment == treatment && branch.conditions.is_empty())
    {
        branches.truncate(1);
    }
}
