//! Filters that `equal` considers equal are equal to the kernel: system calls are probed under both
//! filters, for hand-picked pairs of every kind of rewrite and for random ones.

#![allow(unsafe_code, clippy::unwrap_used)] // children are forked and load raw filters

mod probe;
mod search;

use portcullis_profile::{
    Action, ArgCondition, Filter, Operator, Rule, equal, program::compile::in_child,
};
use probe::{outcomes, probes};

/// Lets this program compile filters, before its `main` looks for tests.
#[ctor::ctor(unsafe)]
fn compiles() {
    if in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}

fn rule(names: &[&str], action: Action, errno: Option<u16>, args: &[ArgCondition]) -> Rule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Rule {
        names,
        action,
        errno_ret: errno,
        args: args.to_vec(),
    }
}

fn condition(index: u8, op: Operator, value: u64, value_two: u64) -> ArgCondition {
    ArgCondition {
        index,
        value,
        value_two,
        op,
    }
}

/// Pairs that are written differently, of every kind of rewrite that `equal` sees through.
fn pairs() -> Vec<(Filter, Filter)> {
    use Operator::{Eq, Gt, MaskedEq, Ne};
    let with = |default, rules: &[Rule]| Filter {
        syscalls: rules.to_vec(),
        ..Filter::new(default)
    };
    let mut pairs = Vec::new();
    for (default, action, errno) in [
        (Action::Allow, Action::Errno, Some(61)),
        (Action::Errno, Action::Allow, None),
        (Action::Allow, Action::KillProcess, None),
        (Action::Errno, Action::Trap, None),
        (Action::Log, Action::Errno, Some(5)),
    ] {
        let one = |names: &[&str], args: &[ArgCondition]| rule(names, action, errno, args);
        let a0 = condition(0, Eq, 1, 0);
        let a1 = condition(1, Eq, 3, 0);
        pairs.push((
            with(default, &[one(&["mkdir", "ioctl", "mount"], &[])]),
            with(
                default,
                &[one(&["mount"], &[]), one(&["ioctl", "mkdir", "mkdir"], &[])],
            ),
        ));
        pairs.push((
            with(default, &[one(&["mkdir"], &[])]),
            with(
                default,
                &[
                    one(&["mkdir"], &[a0]),
                    one(&["mkdir"], &[]),
                    one(&["mkdir"], &[a1]),
                ],
            ),
        ));
        pairs.push((
            with(default, &[one(&["clone"], &[a1, condition(0, Eq, 2, 7)])]),
            with(default, &[one(&["clone"], &[condition(0, Eq, 2, 0), a1])]),
        ));
        pairs.push((
            with(default, &[one(&["clone"], &[a0, condition(0, Eq, 2, 0)])]),
            with(
                default,
                &[
                    one(&["clone"], &[condition(0, Eq, 2, 0)]),
                    one(&["clone"], &[a0]),
                ],
            ),
        ));
        pairs.push((
            with(
                default,
                &[
                    one(&["clone"], &[condition(0, MaskedEq, 3, 1)]),
                    one(&["read"], &[]),
                ],
            ),
            with(
                default,
                &[
                    one(&["read"], &[]),
                    one(&["clone"], &[condition(0, MaskedEq, 3, 1)]),
                ],
            ),
        ));
        pairs.push((
            with(
                default,
                &[
                    one(&["socket"], &[condition(2, Ne, 9, 0)]),
                    one(&["socket"], &[condition(0, Gt, 2, 0)]),
                ],
            ),
            with(
                default,
                &[
                    one(&["socket"], &[condition(0, Gt, 2, 0)]),
                    one(&["socket"], &[condition(2, Ne, 9, 1)]),
                ],
            ),
        ));
    }
    let killing = |action| with(Action::Allow, &[rule(&["mkdir"], action, None, &[])]);
    pairs.push((killing(Action::Kill), killing(Action::KillThread)));
    pairs
}

#[test]
fn what_is_called_equal_is_equal_to_the_kernel() {
    for (a, b) in pairs() {
        assert!(equal(&a, &b).unwrap(), "{a:?}\n{b:?}");
        let probes = probes(&a);
        let (of_a, of_b) = (outcomes(&a, &probes), outcomes(&b, &probes));
        assert_eq!(of_a, of_b, "{a:?}\n{b:?}");
        // The probe saw more than one kind of answer, or it would show nothing.
        assert_ne!(of_a.iter().min(), of_a.iter().max(), "{a:?}");
    }
}

#[test]
fn the_probe_sees_a_changed_condition() {
    let with = |value| Filter {
        syscalls: vec![rule(
            &["clone"],
            Action::Errno,
            Some(61),
            &[condition(0, Operator::Eq, value, 0)],
        )],
        ..Filter::new(Action::Allow)
    };
    assert!(!equal(&with(1), &with(2)).unwrap());
    let probes = probes(&with(1));
    assert_ne!(outcomes(&with(1), &probes), outcomes(&with(2), &probes));
}
