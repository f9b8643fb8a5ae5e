//! A search for pairs of filters that `equal` calls equal and the kernel does not.
//!
//! A filter is made up, then written differently: rules in another order, split, doubled, their
//! conditions turned around. Whether that changes its meaning is left to `equal`, since with
//! conditional rules it may; what it calls equal is probed.

use crate::probe::{outcomes, probes};
use portcullis_profile::{
    Action, Arch, ArgCondition, Filter, Operator, Rule, equal, program::compile::compile,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use std::cell::Cell;

/// How many made-up pairs are looked at.
const PAIRS: u32 = 600;

/// Calls of their own, and two families that 32-bit x86 reaches through one call each.
const NAMES: [&str; 10] = [
    "mkdir",
    "clone",
    "ioctl",
    "socketcall",
    "socket",
    "bind",
    "sendto",
    "ipc",
    "msgget",
    "semop",
];

fn some_condition() -> impl Strategy<Value = ArgCondition> {
    let operator = prop_oneof![
        4 => Just(Operator::Eq),
        1 => Just(Operator::Ne),
        1 => Just(Operator::Lt),
        1 => Just(Operator::Ge),
        1 => Just(Operator::Gt),
        2 => Just(Operator::MaskedEq),
    ];
    let value = || prop::sample::select(vec![0_u64, 1, 2, 3, 9]);
    (0_u8..3, operator, value(), value()).prop_map(|(index, op, value, value_two)| ArgCondition {
        index,
        op,
        // libseccomp refuses a value with bits outside of its mask.
        value_two: if op == Operator::MaskedEq {
            value_two & value
        } else {
            0
        },
        value,
    })
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let names = prop::sample::subsequence(NAMES.to_vec(), 1..4);
    let treatment = prop_oneof![
        4 => Just((Action::Errno, Some(61))),
        2 => Just((Action::Errno, Some(62))),
        3 => Just((Action::Allow, None)),
    ];
    let args = prop::collection::vec(some_condition(), 0..3);
    (names, treatment, args).prop_map(|(names, (action, errno_ret), args)| Rule {
        names: names.into_iter().map(str::to_owned).collect(),
        action,
        errno_ret,
        args,
    })
}

fn some_filter() -> impl Strategy<Value = Filter> {
    let architectures = prop_oneof![
        Just(vec![]),
        Just(vec![Arch::HOST]),
        Just(vec![Arch::X86_64, Arch::X86, Arch::X32]),
    ];
    let rules = prop::collection::vec(some_rule(), 1..6);
    (any::<bool>(), architectures, rules).prop_map(|(allows, architectures, syscalls)| Filter {
        architectures,
        syscalls,
        ..Filter::new(if allows { Action::Allow } else { Action::Errno })
    })
}

/// One way to write a filter differently; whether it stays the same is another question.
#[derive(Clone, Debug)]
enum Rewrite {
    /// Two rules change places.
    Swap(usize, usize),
    /// A rule for each of a rule's names.
    Split(usize),
    /// A rule is there once more, somewhere.
    Double(usize, usize),
    /// A rule's names and conditions are turned around.
    Turn(usize),
    /// A rule that says what the default says anyway.
    Redundant(usize, &'static str),
    /// A part of a rule for the case that another rule decides already.
    Narrow(usize, ArgCondition),
}

fn some_rewrite() -> impl Strategy<Value = Rewrite> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(64));
    prop_oneof![
        3 => (at(), at()).prop_map(|(a, b)| Rewrite::Swap(a, b)),
        1 => at().prop_map(Rewrite::Split),
        1 => (at(), at()).prop_map(|(a, b)| Rewrite::Double(a, b)),
        2 => at().prop_map(Rewrite::Turn),
        1 => (at(), prop::sample::select(NAMES.to_vec()))
            .prop_map(|(at, name)| Rewrite::Redundant(at, name)),
        1 => (at(), some_condition()).prop_map(|(at, condition)| Rewrite::Narrow(at, condition)),
    ]
}

fn rewritten(filter: &Filter, rewrites: &[Rewrite]) -> Filter {
    let mut other = filter.clone();
    for rewrite in rewrites {
        let rules = &mut other.syscalls;
        let count = rules.len();
        match rewrite {
            Rewrite::Swap(a, b) => rules.swap(a % count, b % count),
            Rewrite::Split(at) => {
                let rule = rules.remove(at % count);
                for name in rule.names.iter().rev() {
                    let names = vec![name.clone()];
                    rules.insert(
                        at % count,
                        Rule {
                            names,
                            ..rule.clone()
                        },
                    );
                }
            }
            Rewrite::Double(from, to) => rules.insert(to % count, rules[from % count].clone()),
            Rewrite::Turn(at) => {
                let rule = &mut rules[at % count];
                rule.names.reverse();
                rule.args.reverse();
            }
            Rewrite::Redundant(at, name) => rules.insert(
                at % count,
                Rule {
                    names: vec![(*name).to_owned()],
                    action: other.default_action,
                    errno_ret: other.default_errno_ret,
                    args: Vec::new(),
                },
            ),
            Rewrite::Narrow(at, condition) => {
                let mut rule = rules[at % count].clone();
                rule.args.push(*condition);
                rules.push(rule);
            }
        }
    }
    other
}

#[test]
fn no_made_up_pair_is_called_equal_and_is_not() {
    let mut runner = TestRunner::new(Config {
        cases: PAIRS,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    });
    let (same, conditional, told) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let pairs = (some_filter(), prop::collection::vec(some_rewrite(), 1..5));
    let result = runner.run(&pairs, |(filter, rewrites)| {
        let other = rewritten(&filter, &rewrites);
        // What libseccomp refuses, the runtimes refuse too.
        if compile(&filter).is_err() || compile(&other).is_err() {
            return Err(TestCaseError::reject("libseccomp refuses it"));
        }
        let alike =
            equal(&filter, &other).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if !alike || filter == other {
            return Ok(());
        }
        let probes = probes(&other);
        let (a, b) = (outcomes(&filter, &probes), outcomes(&other, &probes));
        let first = probes
            .iter()
            .zip(a.iter().zip(&b))
            .find(|(_, (a, b))| a != b);
        prop_assert!(
            first.is_none(),
            "{:?} for\n{:?}\n{:?}",
            first,
            filter,
            other
        );
        same.set(same.get() + 1);
        told.set(told.get() + u32::from(a.iter().min() != a.iter().max()));
        let has_conditions = |rule: &Rule| !rule.args.is_empty();
        if filter.syscalls.iter().any(has_conditions) {
            conditional.set(conditional.get() + 1);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (same, conditional, told) = (same.get(), conditional.get(), told.get());
    eprintln!(
        "of {PAIRS} made-up pairs {same} are called equal, {conditional} of them with conditions; \
         the kernel told calls apart under {told}"
    );
    // Or the search would have shown nothing.
    assert!(conditional > PAIRS / 10 && told > PAIRS / 10);
}
