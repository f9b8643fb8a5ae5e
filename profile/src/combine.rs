//! The union and the intersection of two filters with the same header.
//!
//! Both are exact or refused: what can't be written as rules is an error, never a guess.

use crate::{Action, Arch, ArgCondition, Filter, Flag, Operator, Rule, filter::DEFAULT_ERRNO};
use std::collections::{BTreeMap, BTreeSet};

/// Why two filters can't be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgebraError {
    /// A part outside of the rules differs.
    #[error("the filters have different {0}")]
    Header(&'static str),
    /// The result for a call can't be written as rules.
    #[error("{name}: its rules can't be combined: {reason}")]
    Inexpressible {
        /// The system call.
        name: String,
        /// What stands in the way.
        reason: &'static str,
    },
}

/// An action with its errno, equal to the kernel where equal here; 0 where there is no errno.
type Treatment = (Action, u16);
type Conjunction = Vec<ArgCondition>;

/// The effective rules of one name, in order.
type Branches = Vec<(Treatment, Conjunction)>;

fn treatment(action: Action, errno: Option<u16>) -> Treatment {
    let errno = if action.takes_errno() {
        errno.unwrap_or(DEFAULT_ERRNO)
    } else {
        0
    };
    (action.folded(), errno)
}

/// The conjunctions of a rule's conditions, of which one must hold.
fn conjunctions(args: &[ArgCondition]) -> Vec<Conjunction> {
    let mut conditions = args.to_vec();
    for condition in &mut conditions {
        if condition.op != Operator::MaskedEq {
            condition.value_two = 0;
        }
    }
    let indices: BTreeSet<u8> = args.iter().map(|arg| arg.index).collect();
    if indices.len() < args.len() {
        return conditions.into_iter().map(|one| vec![one]).collect();
    }
    conditions.sort_unstable();
    vec![conditions]
}

/// The rules that change something by name. Those of one treatment are a set.
fn by_name(filter: &Filter, default: Treatment) -> BTreeMap<&str, Branches> {
    let mut names: BTreeMap<&str, Branches> = BTreeMap::new();
    for rule in &filter.syscalls {
        let treatment = treatment(rule.action, rule.errno_ret);
        if treatment == default {
            continue;
        }
        let branches: Branches = conjunctions(&rule.args)
            .into_iter()
            .map(|conjunction| (treatment, conjunction))
            .collect();
        for name in &rule.names {
            names.entry(name).or_default().extend(branches.clone());
        }
    }
    for branches in names.values_mut() {
        if branches.iter().all(|(of, _)| *of == branches[0].0) {
            branches.sort_unstable();
            branches.dedup();
            if branches[0].1.is_empty() {
                branches.truncate(1);
            }
        }
    }
    names
}

/// What passes of a call.
enum Passes {
    All,
    Nothing,
    /// The rules decide against the default where one of their conjunctions holds.
    Part,
}

/// `None` where a tracer or a supervisor decides, or the rules have several treatments.
fn passes(branches: &[(Treatment, Conjunction)], default: Treatment) -> Option<Passes> {
    let decided = |action| !matches!(action, Action::Trace | Action::Notify);
    let whole = |through| {
        if through {
            Passes::All
        } else {
            Passes::Nothing
        }
    };
    let by_default = default.0.lets_through();
    let Some((first, conjunction)) = branches.first() else {
        return decided(default.0).then(|| whole(by_default));
    };
    let through = first.0.lets_through();
    if !decided(first.0) || branches.iter().any(|(of, _)| of != first) {
        None
    } else if conjunction.is_empty() {
        Some(whole(through))
    } else if !decided(default.0) {
        None
    } else if through == by_default {
        Some(whole(through))
    } else {
        Some(Passes::Part)
    }
}

/// The filter under which passes what passes under `a` or under `b`.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn union(a: &Filter, b: &Filter) -> Result<Filter, AlgebraError> {
    combine(a, b, true)
}

/// The filter under which passes what passes under both `a` and `b`.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn intersection(a: &Filter, b: &Filter) -> Result<Filter, AlgebraError> {
    combine(a, b, false)
}

fn combine(a: &Filter, b: &Filter, union: bool) -> Result<Filter, AlgebraError> {
    let default = same_header(a, b)?;
    let (left, right) = (by_name(a, default), by_name(b, default));
    let names: BTreeSet<&str> = a.names().chain(b.names()).collect();
    let multiplexed =
        a.architectures.iter().any(|arch| has_multiplexer(*arch)) || has_multiplexer(Arch::HOST);
    let mut family: Option<Treatment> = None;
    let mut syscalls = Vec::new();
    let none = Branches::new();
    for name in names {
        let inexpressible = |reason| AlgebraError::Inexpressible {
            name: name.to_owned(),
            reason,
        };
        let here = left.get(name).unwrap_or(&none);
        let there = right.get(name).unwrap_or(&none);
        if multiplexed && MULTIPLEXED.contains(&name) {
            for (of, _) in here.iter().chain(there) {
                if *family.get_or_insert(*of) != *of {
                    return Err(inexpressible(
                        "an architecture multiplexes it with calls of other actions",
                    ));
                }
            }
        }
        let joined = join(here, there, default, union).map_err(inexpressible)?;
        if joined.is_empty() {
            // A rule without effect, for runc's ENOSYS stub counts every name.
            syscalls.push(rule(name, default, Vec::new()));
        }
        syscalls.extend(joined.into_iter().map(|(of, args)| rule(name, of, args)));
    }
    Ok(Filter {
        syscalls,
        ..a.clone()
    })
}

fn rule(name: &str, (action, errno): Treatment, args: Conjunction) -> Rule {
    Rule {
        names: vec![name.to_owned()],
        action,
        errno_ret: action.takes_errno().then_some(errno),
        args,
    }
}

fn same_header(a: &Filter, b: &Filter) -> Result<Treatment, AlgebraError> {
    let default = treatment(a.default_action, a.default_errno_ret);
    let architectures = |filter: &Filter| -> BTreeSet<Arch> {
        filter
            .architectures
            .iter()
            .map(|one| one.concrete())
            .collect()
    };
    let flags = |filter: &Filter| -> Option<BTreeSet<Flag>> {
        let flags = filter.flags.as_ref()?.iter().copied();
        Some(flags.filter(|flag| *flag != Flag::Tsync).collect())
    };
    if default != treatment(b.default_action, b.default_errno_ret) {
        Err(AlgebraError::Header("default actions"))
    } else if architectures(a) != architectures(b) {
        Err(AlgebraError::Header("architectures"))
    } else if flags(a) != flags(b) {
        Err(AlgebraError::Header("flags"))
    } else if (&a.listener_path, &a.listener_metadata) != (&b.listener_path, &b.listener_metadata) {
        Err(AlgebraError::Header("listeners"))
    } else {
        Ok(default)
    }
}

fn join(
    a: &Branches,
    b: &Branches,
    default: Treatment,
    union: bool,
) -> Result<Branches, &'static str> {
    if a == b {
        return Ok(a.clone());
    }
    let (Some(left), Some(right)) = (passes(a, default), passes(b, default)) else {
        return Err("several actions, or a tracer or supervisor decides");
    };
    match (left, right) {
        (Passes::All, _) | (Passes::Nothing, Passes::Nothing) if union => Ok(a.clone()),
        (Passes::Nothing, _) | (_, Passes::All) if union => Ok(b.clone()),
        (Passes::Nothing, _) | (Passes::All, Passes::All) => Ok(a.clone()),
        (Passes::All, _) | (_, Passes::Nothing) if !union => Ok(b.clone()),
        (Passes::Part, Passes::Part) => parts(a, b, union != default.0.lets_through()),
        _ => Ok(a.clone()),
    }
}

/// Joins conjunctions by "or" where `either`, else by "and".
fn parts(a: &Branches, b: &Branches, either: bool) -> Result<Branches, &'static str> {
    let of = a[0].0;
    if of != b[0].0 {
        return Err("different actions under conditions");
    }
    let mut joined = BTreeSet::new();
    if either {
        joined.extend(a.iter().chain(b).cloned());
    } else {
        for (_, left) in a {
            for (_, right) in b {
                let both: BTreeSet<ArgCondition> = left.iter().chain(right).copied().collect();
                let indices: BTreeSet<u8> = both.iter().map(|one| one.index).collect();
                if indices.len() < both.len() {
                    // Two conditions on an argument are an "or" to the runtimes.
                    return Err("two conditions on one argument would have to hold");
                }
                joined.insert((of, both.into_iter().collect()));
            }
        }
    }
    Ok(joined.into_iter().collect())
}

fn has_multiplexer(arch: Arch) -> bool {
    !matches!(
        arch.concrete(),
        Arch::X86_64 | Arch::X32 | Arch::Aarch64 | Arch::Riscv64 | Arch::Loongarch64
    )
}

/// Calls that meet in `socketcall` and `ipc` on older architectures (`socketcall(2)`, `ipc(2)`).
const MULTIPLEXED: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ipc",
    "listen",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "socket",
    "socketcall",
    "socketpair",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DENY: Action = Action::Errno;
    const ALLOW: Action = Action::Allow;

    fn is(index: u8, value: u64) -> ArgCondition {
        ArgCondition {
            index,
            value,
            value_two: 0,
            op: Operator::Eq,
        }
    }

    fn filter(default: Action, rules: &[(&str, Action, &[ArgCondition])]) -> Filter {
        let syscalls = rules
            .iter()
            .map(|(name, action, args)| Rule {
                names: vec![(*name).to_owned()],
                action: *action,
                errno_ret: None,
                args: args.to_vec(),
            })
            .collect();
        Filter {
            syscalls,
            ..Filter::new(default)
        }
    }

    /// The action class of a call by first matching rule, for filters of one treatment a name.
    fn lets(filter: &Filter, name: &str, args: [u64; 2]) -> bool {
        let default = treatment(filter.default_action, filter.default_errno_ret);
        by_name(filter, default)
            .get(name)
            .and_then(|branches| {
                branches
                    .iter()
                    .find(|(_, all)| all.iter().all(|c| args[usize::from(c.index)] == c.value))
            })
            .map_or(default, |(of, _)| *of)
            .0
            .lets_through()
    }

    fn conditions() -> impl Strategy<Value = Vec<ArgCondition>> {
        proptest::collection::vec((0..2_u8, 0..2_u64).prop_map(|(i, v)| is(i, v)), 0..3)
    }

    fn rules() -> impl Strategy<Value = Vec<(bool, Vec<ArgCondition>)>> {
        proptest::collection::vec((any::<bool>(), conditions()), 0..4)
    }

    fn build(default: Action, other: Action, rules: &[(bool, Vec<ArgCondition>)]) -> Filter {
        let rules: Vec<_> = rules
            .iter()
            .map(|(first, args)| {
                (
                    if *first { "read" } else { "write" },
                    other,
                    args.as_slice(),
                )
            })
            .collect();
        filter(default, &rules)
    }

    proptest! {
        #[test]
        fn what_passes_is_exactly_the_union_and_the_intersection(
            a in rules(), b in rules(), permissive: bool,
        ) {
            let (default, other) = if permissive { (ALLOW, DENY) } else { (DENY, ALLOW) };
            let (a, b) = (build(default, other, &a), build(default, other, &b));
            let (or, and) = (union(&a, &b), intersection(&a, &b));
            for name in ["read", "write", "mkdir"] {
                for args in [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [0, 2], [2, 2]] {
                    let (x, y) = (lets(&a, name, args), lets(&b, name, args));
                    if let Ok(or) = &or {
                        prop_assert_eq!(lets(or, name, args), x || y);
                    }
                    if let Ok(and) = &and {
                        prop_assert_eq!(lets(and, name, args), x && y);
                    }
                }
            }
            // Only "and" of conditions may be beyond rules.
            let always = if permissive { and } else { or };
            prop_assert!(always.is_ok());
        }
    }

    #[test]
    fn an_explicit_denial_gives_way_in_a_union_and_stays_in_an_intersection() {
        let mut denies = filter(DENY, &[("clone3", DENY, &[])]);
        denies.syscalls[0].errno_ret = Some(38);
        let allows = filter(DENY, &[("clone3", ALLOW, &[])]);
        for (a, b) in [(&denies, &allows), (&allows, &denies)] {
            assert_eq!(union(a, b).unwrap(), allows);
            assert_eq!(intersection(a, b).unwrap(), denies);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let one = filter(DENY, &[("clone", ALLOW, &[is(0, 1)])]);
        let two = filter(DENY, &[("clone", ALLOW, &[is(0, 2)])]);
        let traced = filter(DENY, &[("clone", Action::Trace, &[])]);
        for refused in [
            intersection(&one, &two),
            union(&one, &traced),
            intersection(&one, &traced),
            union(&one, &filter(DENY, &[("clone", Action::Log, &[is(0, 2)])])),
        ] {
            assert!(
                matches!(refused, Err(AlgebraError::Inexpressible { ref name, .. }) if name == "clone"),
                "{refused:?}"
            );
        }
        assert!(union(&traced, &traced).is_ok());
    }

    #[test]
    fn multiplexed_calls_of_several_actions_are_refused_only_where_they_meet() {
        let mut a = filter(ALLOW, &[("socket", DENY, &[])]);
        let mut b = filter(ALLOW, &[("socketcall", Action::Kill, &[])]);
        assert!(union(&a, &b).is_ok());
        a.architectures = vec![Arch::X86];
        b.architectures = vec![Arch::X86];
        assert!(union(&a, &b).is_err());
    }

    #[test]
    fn headers_must_be_the_same() {
        let a = Filter::new(DENY);
        let changed = |change: fn(&mut Filter)| {
            let mut b = a.clone();
            change(&mut b);
            union(&a, &b)
        };
        assert_eq!(
            [
                changed(|b| b.default_errno_ret = Some(38)),
                changed(|b| b.architectures.push(Arch::X86)),
                changed(|b| b.flags = Some(vec![])),
                changed(|b| b.listener_path = Some("/run/a".into())),
            ],
            ["default actions", "architectures", "flags", "listeners"]
                .map(|what| Err(AlgebraError::Header(what)))
        );
        assert!(changed(|b| b.default_errno_ret = Some(1)).is_ok());
    }
}
