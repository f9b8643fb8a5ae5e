//! A search for pairs of filters that `equal` considers equal but the kernel does not.
//!
//! A random filter is rewritten: rules are reordered, split and doubled, and their conditions
//! reordered. With conditional rules that may change its meaning; `equal` decides, and pairs that
//! it considers equal are probed. Along the way, the kernel is compared with the interpreter and
//! the walk, and the result of the check with what the rules say.

use crate::probe::{Probe, outcome_of, outcomes, probes};
use portcullis_profile::{
    Action, Arch, ArgCondition, Filter, Operator, Rule, equal,
    filter::reader::Runtime,
    program::{Program, check, compile::compile, partition::Partition},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use std::cell::Cell;

/// How many made-up pairs are looked at.
const PAIRS: u32 = 600;

/// Calls of their own, two families that 32-bit x86 reaches through one call each, and calls that
/// x86-64 does not have.
const NAMES: [&str; 13] = [
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
    "umount",
    "_llseek",
    "vm86",
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
        1 => Just(vec![]),
        1 => Just(vec![Arch::HOST]),
        2 => Just(vec![Arch::X86_64, Arch::X86, Arch::X32]),
        2 => Just(vec![Arch::X86_64, Arch::X32]),
        1 => Just(vec![Arch::X32]),
        1 => Just(vec![Arch::X86_64, Arch::Aarch64, Arch::Arm]),
        1 => Just(vec![Arch::X86_64, Arch::X86, Arch::X32, Arch::S390X, Arch::Mipsel]),
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

/// How many made-up filters are looked at one by one.
const FILTERS: u32 = 100;

fn holds(condition: &ArgCondition, probe: &Probe) -> bool {
    let there = probe.argument(condition.index);
    let value = condition.value;
    match condition.op {
        Operator::Ne => there != value,
        Operator::Lt => there < value,
        Operator::Le => there <= value,
        Operator::Eq => there == value,
        Operator::Ge => there >= value,
        Operator::Gt => there > value,
        Operator::MaskedEq => there & value == condition.value_two,
    }
}

/// Whether a rule speaks of a call; several conditions on one argument are alternatives.
fn is_met(rule: &Rule, probe: &Probe) -> bool {
    let named = rule.names.iter();
    let mut named = named.filter_map(|name| probe.number_of(name));
    let indices = |index: u8| {
        rule.args
            .iter()
            .filter(move |arg| arg.index == index)
            .count()
    };
    let repeats = rule.args.iter().any(|arg| indices(arg.index) > 1);
    let mut conditions = rule.args.iter();
    named.any(|number| number == probe.number())
        && if repeats {
            conditions.any(|condition| holds(condition, probe))
        } else {
            conditions.all(|condition| holds(condition, probe))
        }
}

/// What may become of a call by the rules alone: the strictest that match, else the default. `None`
/// for what 32-bit x86 reaches through another call.
fn expected(filter: &Filter, probe: &Probe) -> Option<Vec<i32>> {
    let multiplexed = &NAMES[3..10];
    // Since Linux 4.3 they have numbers of their own, too, which libseccomp keeps to itself.
    let is_of_x86 = probe.call().arch == 0x4000_0003;
    if is_of_x86 && matches!(probe.number(), 359..=373 | 393..=402) {
        return None;
    }
    if multiplexed
        .iter()
        .any(|name| probe.number_of(name) == Some(probe.number()))
    {
        return None;
    }
    let outcome = |action: Action, errno: Option<u16>| {
        outcome_of(match action {
            Action::Errno => 0x0005_0000 | u32::from(errno.unwrap_or(1)),
            Action::Allow => 0x7fff_0000,
            _ => 0,
        })
    };
    let met = || {
        let rules = filter.syscalls.iter();
        rules.filter(|rule| is_met(rule, probe))
    };
    let Some(strictest) = met().map(|rule| rule.action).min() else {
        return Some(vec![outcome(
            filter.default_action,
            filter.default_errno_ret,
        )]);
    };
    let these = met().filter(|rule| rule.action == strictest);
    Some(
        these
            .map(|rule| outcome(rule.action, rule.errno_ret))
            .collect(),
    )
}

/// The kernel, the interpreter and the walk say the same of every call; and where the check finds
/// nothing wrong, that is what the rules say.
#[test]
fn the_kernel_does_what_interpreter_walk_and_check_say() {
    let mut runner = TestRunner::new(Config {
        cases: FILTERS,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    });
    let (right, wrong, judged) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let result = runner.run(&some_filter(), |filter| {
        let Ok(text) = compile(&filter) else {
            return Err(TestCaseError::reject("libseccomp refuses it"));
        };
        let program = Program::parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let walked = Partition::of(&program).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let is_right = check(&filter, &program, Runtime::Crun).is_ok();
        let count = if is_right { &right } else { &wrong };
        count.set(count.get() + 1);
        let probes = probes(&filter);
        for (probe, outcome) in probes.iter().zip(outcomes(&filter, &probes)) {
            let call = probe.call();
            let answer = program.run(&call);
            prop_assert_eq!(outcome, outcome_of(answer), "{:?}\n{:?}", probe, filter);
            let walked: Vec<u32> = walked.answers(&call).collect();
            prop_assert_eq!(walked, [answer], "{:?}\n{:?}", probe, filter);
            if is_right && let Some(expected) = expected(&filter, probe) {
                judged.set(judged.get() + 1);
                prop_assert!(
                    expected.contains(&outcome),
                    "{:?} gets {}, not {:?}\n{:?}",
                    probe,
                    outcome,
                    expected,
                    filter
                );
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (right, wrong, judged) = (right.get(), wrong.get(), judged.get());
    eprintln!(
        "of {FILTERS} made-up filters {right} do what they say and {wrong} do not; {judged} calls"
    );
    assert!(right > 20 && wrong > 0, "{right} {wrong}");
}
