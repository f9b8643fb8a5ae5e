//! The union and the intersection of two filters with the same header.
//!
//! Both are exact or refused: what can't be written as rules is an error, never a guess.

use crate::{
    Action, ArgCondition, Filter, Rule,
    compare::normal::{Branch, Normal, is_multiplexed},
    filter::Treatment,
};
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

/// The effective rules of one name: those of one treatment are a set here, in which one without
/// conditions covers the others.
fn by_name<'a>(normal: &Normal<'a>) -> BTreeMap<&'a str, Vec<Branch>> {
    let mut names = normal.rules.clone();
    for branches in names.values_mut() {
        if branches
            .iter()
            .all(|branch| branch.treatment == branches[0].treatment)
        {
            branches.sort_unstable();
            branches.dedup();
            if branches[0].conditions.is_empty() {
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
fn passes(branches: &[Branch], default: Treatment) -> Option<Passes> {
    let decided = |action| !matches!(action, Action::Trace | Action::Notify);
    let whole = |through| {
        if through {
            Passes::All
        } else {
            Passes::Nothing
        }
    };
    let by_default = default.action.lets_through();
    let Some(first) = branches.first() else {
        return decided(default.action).then(|| whole(by_default));
    };
    let through = first.treatment.action.lets_through();
    if !decided(first.treatment.action)
        || branches.iter().any(|one| one.treatment != first.treatment)
    {
        None
    } else if first.conditions.is_empty() {
        Some(whole(through))
    } else if !decided(default.action) {
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
    let (of_a, of_b) = (Normal::of(a), Normal::of(b));
    if let Some(what) = of_a.header_difference(&of_b) {
        return Err(AlgebraError::Header(what));
    }
    let default = of_a.default;
    let (left, right) = (by_name(&of_a), by_name(&of_b));
    let mut family: Option<Treatment> = None;
    let mut syscalls = Vec::new();
    for name in of_a.names.union(&of_b.names).copied() {
        let inexpressible = |reason| AlgebraError::Inexpressible {
            name: name.to_owned(),
            reason,
        };
        let here = left.get(name).map_or(&[][..], Vec::as_slice);
        let there = right.get(name).map_or(&[][..], Vec::as_slice);
        if of_a.multiplexes() && is_multiplexed(name) {
            for branch in here.iter().chain(there) {
                if *family.get_or_insert(branch.treatment) != branch.treatment {
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
        syscalls.extend(
            joined
                .into_iter()
                .map(|branch| rule(name, branch.treatment, branch.conditions)),
        );
    }
    Ok(Filter {
        syscalls,
        ..a.clone()
    })
}

fn rule(name: &str, treatment: Treatment, args: Vec<ArgCondition>) -> Rule {
    let Treatment { action, errno } = treatment;
    Rule {
        names: vec![name.to_owned()],
        action,
        errno_ret: action.takes_errno().then_some(errno),
        args,
    }
}

fn join(
    a: &[Branch],
    b: &[Branch],
    default: Treatment,
    union: bool,
) -> Result<Vec<Branch>, &'static str> {
    if a == b {
        return Ok(a.to_vec());
    }
    let (Some(left), Some(right)) = (passes(a, default), passes(b, default)) else {
        return Err("several actions, or a tracer or supervisor decides");
    };
    match (left, right) {
        (Passes::All, _) | (Passes::Nothing, Passes::Nothing) if union => Ok(a.to_vec()),
        (Passes::Nothing, _) | (_, Passes::All) if union => Ok(b.to_vec()),
        (Passes::Nothing, _) | (Passes::All, Passes::All) => Ok(a.to_vec()),
        (Passes::All, _) | (_, Passes::Nothing) if !union => Ok(b.to_vec()),
        (Passes::Part, Passes::Part) => parts(a, b, union != default.action.lets_through()),
        _ => Ok(a.to_vec()),
    }
}

/// Joins conjunctions by "or" where `either`, else by "and".
fn parts(a: &[Branch], b: &[Branch], either: bool) -> Result<Vec<Branch>, &'static str> {
    let treatment = a[0].treatment;
    if treatment != b[0].treatment {
        return Err("different actions under conditions");
    }
    let mut joined = BTreeSet::new();
    if either {
        joined.extend(a.iter().chain(b).cloned());
    } else {
        for left in a {
            for right in b {
                let both: BTreeSet<ArgCondition> = left
                    .conditions
                    .iter()
                    .chain(&right.conditions)
                    .copied()
                    .collect();
                let indices: BTreeSet<u8> = both.iter().map(|one| one.index).collect();
                if indices.len() < both.len() {
                    // Two conditions on an argument are an "or" to the runtimes.
                    return Err("two conditions on one argument would have to hold");
                }
                joined.insert(Branch {
                    treatment,
                    conditions: both.into_iter().collect(),
                });
            }
        }
    }
    Ok(joined.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Arch,
        fixtures::{filter, is},
    };
    use proptest::prelude::*;

    const DENY: Action = Action::Errno;
    const ALLOW: Action = Action::Allow;

    /// The action class of a call by first matching rule, for filters of one treatment a name.
    fn lets(filter: &Filter, name: &str, args: [u64; 2]) -> bool {
        let normal = Normal::of(filter);
        by_name(&normal)
            .get(name)
            .and_then(|branches| {
                branches.iter().find(|branch| {
                    let mut all = branch.conditions.iter();
                    all.all(|c| args[usize::from(c.index)] == c.value)
                })
            })
            .map_or(normal.default, |branch| branch.treatment)
            .action
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
