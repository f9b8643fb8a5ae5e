//! The union and the intersection of two filters with the same header: for each call and its
//! arguments the looser, or the stricter, of the two treatments in the kernel's order.
//!
//! Both are exact: a result that can't be written as rules is an error, never a guess. They are
//! commutative, associative and idempotent.

use crate::{
    ArgCondition, Filter, Rule,
    compare::normal::{Branch, Normal, is_multiplexed},
    filter::Treatment,
};
use std::collections::BTreeSet;

/// Why two filters can't be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgebraError {
    /// A part other than the rules differs.
    #[error("the filters have different {0}")]
    Header(&'static str),
    /// The result for a call can't be written as rules.
    #[error("{name}: its rules can't be combined: {reason}")]
    Inexpressible {
        /// The system call.
        name: String,
        /// Why not.
        reason: &'static str,
    },
}

/// What a filter does with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// The same treatment whatever the arguments are.
    Always(Treatment),
    /// This treatment if one of the conjunctions holds, otherwise the default.
    Where(Treatment, BTreeSet<Vec<ArgCondition>>),
    /// Several treatments. libseccomp's program for such rules depends on their order, so they are
    /// kept or dropped as a whole.
    Several(Vec<Branch>),
}

impl Decision {
    fn of(branches: &[Branch], default: Treatment) -> Decision {
        let Some(first) = branches.first() else {
            return Decision::Always(default);
        };
        if branches.iter().any(|one| one.treatment != first.treatment) {
            return Decision::Several(branches.to_vec());
        }
        let conjunctions = branches.iter().map(|branch| branch.conditions.clone());
        Decision::any(first.treatment, &conjunctions.collect())
    }

    /// A treatment that applies if any of the conjunctions holds. One without conditions always
    /// does; one that is stricter than another adds nothing.
    fn any(treatment: Treatment, conjunctions: &BTreeSet<Vec<ArgCondition>>) -> Decision {
        if conjunctions.iter().any(Vec::is_empty) {
            return Decision::Always(treatment);
        }
        let adds = |one: &&Vec<ArgCondition>| {
            !conjunctions
                .iter()
                .any(|other| other != *one && other.iter().all(|condition| one.contains(condition)))
        };
        Decision::Where(
            treatment,
            conjunctions.iter().filter(adds).cloned().collect(),
        )
    }

    /// Every treatment that a call may get.
    fn treatments(&self, default: Treatment) -> Vec<Treatment> {
        match self {
            Decision::Always(treatment) => vec![*treatment],
            Decision::Where(treatment, _) => vec![*treatment, default],
            Decision::Several(branches) => {
                let own = branches.iter().map(|branch| branch.treatment);
                own.chain([default]).collect()
            }
        }
    }
}

/// Which of two treatments a call gets.
#[derive(Clone, Copy)]
struct Choice {
    default: Treatment,
    looser: bool,
}

impl Choice {
    /// The looser or the stricter one in the kernel's order. Of two errnos, an intersection takes
    /// the smaller one and a union the larger one. The default's errno counts as the loosest, so
    /// that rules keep their errno in an intersection and lose it in a union.
    fn of(self, a: Treatment, b: Treatment) -> Treatment {
        let rank = |one: Treatment| (one.action, one == self.default, one.errno);
        if (rank(a) > rank(b)) == self.looser {
            a
        } else {
            b
        }
    }

    /// The combined treatment of a call.
    fn join(self, a: &Decision, b: &Decision) -> Result<Decision, &'static str> {
        use Decision::{Always, Several, Where};
        match (a, b) {
            _ if a == b => Ok(a.clone()),
            (Always(a), Always(b)) => Ok(Always(self.of(*a, *b))),
            (Always(always), other) | (other, Always(always)) => self.join_always(*always, other),
            (Where(a, here), Where(b, there)) => self.join_conditions(*a, here, *b, there),
            (Several(_), _) | (_, Several(_)) => Err("it has rules of several actions"),
        }
    }

    fn join_always(self, always: Treatment, other: &Decision) -> Result<Decision, &'static str> {
        let all = other.treatments(self.default);
        let chosen: Vec<Treatment> = all.iter().map(|one| self.of(always, *one)).collect();
        if chosen.iter().all(|one| *one == chosen[0]) {
            return Ok(Decision::Always(chosen[0]));
        }
        match other {
            _ if chosen == all => Ok(other.clone()),
            Decision::Where(_, conjunctions) if chosen[1] == self.default => {
                Ok(Decision::Where(chosen[0], conjunctions.clone()))
            }
            _ => Err("both its conditional and its unconditional treatment would apply"),
        }
    }

    fn join_conditions(
        self,
        a: Treatment,
        here: &BTreeSet<Vec<ArgCondition>>,
        b: Treatment,
        there: &BTreeSet<Vec<ArgCondition>>,
    ) -> Result<Decision, &'static str> {
        let both = self.of(a, b);
        if here == there {
            return Ok(Decision::Where(both, here.clone()));
        }
        let alone = |one| self.of(one, self.default) == one;
        match (alone(a), alone(b)) {
            (true, true) if a == b => Ok(Decision::any(a, &here.union(there).cloned().collect())),
            (true, true) => Err("different actions under conditions"),
            // The other treatment never prevails over the default.
            (true, false) => Ok(Decision::Where(a, here.clone())),
            (false, true) => Ok(Decision::Where(b, there.clone())),
            (false, false) => Ok(Decision::any(both, &product(here, there)?)),
        }
    }
}

/// The conjunctions that hold if one of each side does.
fn product(
    here: &BTreeSet<Vec<ArgCondition>>,
    there: &BTreeSet<Vec<ArgCondition>>,
) -> Result<BTreeSet<Vec<ArgCondition>>, &'static str> {
    let mut products = BTreeSet::new();
    for left in here {
        for right in there {
            let both: BTreeSet<ArgCondition> = left.iter().chain(right).copied().collect();
            let indices: BTreeSet<u8> = both.iter().map(|one| one.index).collect();
            if indices.len() < both.len() {
                // Two conditions on an argument are an "or" to the runtimes.
                return Err("two conditions on the same argument would both have to hold");
            }
            products.insert(both.into_iter().collect());
        }
    }
    Ok(products)
}

/// The filter under which each call gets the looser of its two treatments.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn union(a: &Filter, b: &Filter) -> Result<Filter, AlgebraError> {
    combine(a, b, true)
}

/// The filter under which each call gets the stricter of its two treatments.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn intersection(a: &Filter, b: &Filter) -> Result<Filter, AlgebraError> {
    combine(a, b, false)
}

fn combine(a: &Filter, b: &Filter, looser: bool) -> Result<Filter, AlgebraError> {
    let (of_a, of_b) = (Normal::of(a), Normal::of(b));
    if let Some(what) = of_a.header_difference(&of_b) {
        return Err(AlgebraError::Header(what));
    }
    let default = of_a.default;
    let choice = Choice { default, looser };
    let mut family: Option<Treatment> = None;
    let mut syscalls = Vec::new();
    for name in of_a.names.union(&of_b.names).copied() {
        let inexpressible = |reason| AlgebraError::Inexpressible {
            name: name.to_owned(),
            reason,
        };
        let here = of_a.rules.get(name).map_or(&[][..], |rules| rules);
        let there = of_b.rules.get(name).map_or(&[][..], |rules| rules);
        if of_a.multiplexes() && is_multiplexed(name) {
            for branch in here.iter().chain(there) {
                if *family.get_or_insert(branch.treatment) != branch.treatment {
                    return Err(inexpressible(
                        "an architecture multiplexes it with calls of other actions",
                    ));
                }
            }
        }
        let (here, there) = (Decision::of(here, default), Decision::of(there, default));
        match choice.join(&here, &there).map_err(inexpressible)? {
            // Where that is the default, a rule without effect: runc's ENOSYS stub counts it.
            Decision::Always(treatment) => syscalls.push(rule(name, treatment, Vec::new())),
            Decision::Where(treatment, conjunctions) => syscalls.extend(
                conjunctions
                    .into_iter()
                    .map(|conditions| rule(name, treatment, conditions)),
            ),
            Decision::Several(branches) => syscalls.extend(
                branches
                    .into_iter()
                    .map(|branch| rule(name, branch.treatment, branch.conditions)),
            ),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use crate::{
        Arch,
        fixtures::{filter, is},
    };
    use proptest::prelude::*;

    const DENY: Action = Action::Errno;
    const ALLOW: Action = Action::Allow;

    /// What a filter does with a call: the strictest of the rules that match, else the default.
    fn treatment(filter: &Filter, name: &str, args: [u64; 2]) -> Treatment {
        let normal = Normal::of(filter);
        let branches = normal.rules.get(name).map_or(&[][..], |rules| rules);
        let matching = branches.iter().filter(|branch| {
            let mut all = branch.conditions.iter();
            all.all(|c| args[usize::from(c.index)] == c.value)
        });
        matching
            .map(|branch| branch.treatment)
            .min()
            .unwrap_or(normal.default)
    }

    fn all_treatments(filter: &Filter) -> Vec<Treatment> {
        let values = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [0, 2], [2, 2]];
        ["read", "write", "mkdir"]
            .iter()
            .flat_map(|name| values.map(|args| treatment(filter, name, args)))
            .collect()
    }

    fn action() -> impl Strategy<Value = Action> {
        proptest::sample::select(Action::ALL)
    }

    /// An action with an errno where it takes one.
    fn some_treatment() -> impl Strategy<Value = (Action, Option<u16>)> {
        (action(), proptest::option::of(1..4_u16))
            .prop_map(|(action, errno)| (action, errno.filter(|_| action.takes_errno())))
    }

    fn conditions() -> impl Strategy<Value = Vec<ArgCondition>> {
        proptest::collection::vec((0..2_u8, 0..2_u64).prop_map(|(i, v)| is(i, v)), 0..3)
    }

    /// For each of two names a treatment, and whether it depends on arguments.
    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let of = |name: &'static str| {
            let whole = (some_treatment(), proptest::bool::weighted(0.4));
            (whole, proptest::collection::vec(conditions(), 0..3)).prop_map(
                move |(((action, errno_ret), always), conditions)| {
                    let conditions = if always { vec![Vec::new()] } else { conditions };
                    let rules = conditions.into_iter().map(|args| Rule {
                        errno_ret,
                        ..crate::fixtures::rule(&[name], action, &args)
                    });
                    rules.collect::<Vec<_>>()
                },
            )
        };
        (of("read"), of("write")).prop_map(|(a, b)| [a, b].concat())
    }

    fn build(default: (Action, Option<u16>), syscalls: &[Rule]) -> Filter {
        Filter {
            default_errno_ret: default.1,
            syscalls: syscalls.to_vec(),
            ..Filter::new(default.0)
        }
    }

    type Operation = fn(&Filter, &Filter) -> Result<Filter, AlgebraError>;
    const OPERATIONS: [(Operation, bool); 2] = [(union, true), (intersection, false)];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn each_call_gets_the_looser_or_the_stricter_treatment_for_all_arguments(
            default in some_treatment(), a in rules(), b in rules(),
        ) {
            let (a, b) = (build(default, &a), build(default, &b));
            for (operation, looser) in OPERATIONS {
                let Ok(both) = operation(&a, &b) else { continue };
                let (of_a, of_b) = (all_treatments(&a), all_treatments(&b));
                for ((one, other), is) in of_a.iter().zip(&of_b).zip(all_treatments(&both)) {
                    let (least, most) = (one.action.min(other.action), one.action.max(other.action));
                    prop_assert_eq!(is.action, if looser { most } else { least });
                    prop_assert!(is == *one || is == *other, "{:?} of {:?} and {:?}", is, one, other);
                }
            }
        }

        #[test]
        fn order_and_grouping_and_repetition_change_nothing(
            default in some_treatment(), a in rules(), b in rules(), c in rules(),
        ) {
            let [a, b, c] = [a, b, c].map(|rules| build(default, &rules));
            for (operation, _) in OPERATIONS {
                let itself = operation(&a, &a).expect("expressible");
                prop_assert_eq!(all_treatments(&itself), all_treatments(&a));
                let (ab, ba) = (operation(&a, &b), operation(&b, &a));
                prop_assert_eq!(&ab, &ba);
                let (Ok(ab), Ok(bc)) = (ab, operation(&b, &c)) else { continue };
                if let (Ok(left), Ok(right)) = (operation(&ab, &c), operation(&a, &bc)) {
                    prop_assert_eq!(all_treatments(&left), all_treatments(&right));
                }
            }
        }

        /// The shapes of recordings and their bases: combining these never fails.
        #[test]
        fn what_allows_over_a_denying_default_always_has_a_union(
            a in proptest::collection::vec(conditions(), 0..4),
            b in proptest::collection::vec(conditions(), 0..4),
            permissive: bool,
        ) {
            let (default, other) = if permissive { (ALLOW, DENY) } else { (DENY, ALLOW) };
            let [a, b] = [a, b].map(|all| {
                let rules: Vec<_> = all.iter().map(|args| ("read", other, &**args)).collect();
                filter(default, &rules)
            });
            let both = if permissive { intersection(&a, &b) } else { union(&a, &b) };
            prop_assert!(both.is_ok());
        }
    }

    #[test]
    fn the_order_is_the_kernels() {
        let order = [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno,
            Action::Notify,
            Action::Trace,
            Action::Log,
            ALLOW,
        ];
        for (at, stricter) in order.iter().enumerate() {
            for looser in &order[at + 1..] {
                for default in Action::ALL {
                    let of = |action: &Action| filter(*default, &[("read", *action, &[])]);
                    let (a, b) = (of(stricter), of(looser));
                    let read = |both: Filter| treatment(&both, "read", [0, 0]).action;
                    for (a, b) in [(&a, &b), (&b, &a)] {
                        assert_eq!(read(intersection(a, b).unwrap()), *stricter);
                        assert_eq!(read(union(a, b).unwrap()), *looser);
                    }
                }
            }
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
        // The same beside the default, whose errno is the smaller one.
        let nothing = Filter::new(DENY);
        for (a, b) in [(&denies, &nothing), (&nothing, &denies)] {
            let errno = |both: Filter| treatment(&both, "clone3", [0, 0]).errno;
            assert_eq!(errno(intersection(a, b).unwrap()), 38);
            assert_eq!(errno(union(a, b).unwrap()), 1);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let one = filter(DENY, &[("clone", ALLOW, &[is(0, 1)])]);
        let two = filter(DENY, &[("clone", ALLOW, &[is(0, 2)])]);
        let traced = filter(DENY, &[("clone", Action::Trace, &[])]);
        let several = filter(
            DENY,
            &[
                ("clone", ALLOW, &[is(0, 1)]),
                ("clone", Action::Log, &[is(0, 2)]),
            ],
        );
        let killed = filter(DENY, &[("clone", Action::KillProcess, &[])]);
        for refused in [
            intersection(&one, &two),
            union(&one, &traced),
            union(&one, &filter(DENY, &[("clone", Action::Log, &[is(0, 2)])])),
            union(&one, &several),
        ] {
            assert!(
                matches!(refused, Err(AlgebraError::Inexpressible { ref name, .. }) if name == "clone"),
                "{refused:?}"
            );
        }
        // A tracer is stricter than what is allowed, and looser than the default.
        let expected = filter(DENY, &[("clone", Action::Trace, &[is(0, 1)])]);
        let both = intersection(&one, &traced).unwrap();
        assert_eq!(Normal::of(&both).rules.len(), 1);
        assert_eq!(both.syscalls[0].args, expected.syscalls[0].args);
        assert_eq!(both.syscalls[0].action, Action::Trace);
        assert!(union(&traced, &traced).is_ok());
        // Several actions are kept or dropped as a whole.
        assert_eq!(union(&several, &several).unwrap(), several);
        assert_eq!(union(&several, &killed).unwrap(), several);
        let both = intersection(&several, &killed).unwrap();
        assert_eq!(both.syscalls, killed.syscalls);
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
