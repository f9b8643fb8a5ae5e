//! Whether the kernel would treat every call alike under two filters.
//!
//! The promise is soundness: what can't be shown equal is unequal. Normal forms decide; only
//! where these differ are both compiled by libseccomp and the programs compared.

use crate::{
    Filter,
    compile::{CompileError, compile, enosys_limits},
    normal::Normal,
};

/// Whether two filters are the same to the kernel, under crun and under runc.
///
/// # Errors
/// The normal forms differ and libseccomp can't build one of the filters.
pub fn equal(a: &Filter, b: &Filter) -> Result<bool, CompileError> {
    let (left, right) = (Normal::of(a), Normal::of(b));
    if left == right {
        return Ok(true);
    }
    if left.header_difference(&right).is_some() {
        return Ok(false);
    }
    Ok(enosys_limits(a)? == enosys_limits(b)? && compile(a)? == compile(b)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Arch, Flag, Operator, Rule,
        fixtures::{is, rule},
    };
    use proptest::prelude::*;

    fn denying(rules: &[Rule]) -> Filter {
        Filter {
            architectures: vec![Arch::X86_64, Arch::X86, Arch::X32],
            syscalls: rules.to_vec(),
            ..Filter::new(Action::Errno)
        }
    }

    fn accepts(a: &Filter, b: &Filter) {
        assert!(equal(a, b).unwrap(), "{a:?}\n{b:?}");
        assert!(equal(b, a).unwrap());
    }

    fn rejects(a: &Filter, b: &Filter) {
        assert!(!equal(a, b).unwrap(), "{a:?}\n{b:?}");
        assert!(!equal(b, a).unwrap());
    }

    const ALLOW: Action = Action::Allow;

    #[test]
    fn what_is_written_differently_is_equal() {
        let a = denying(&[rule(&["read", "write", "mkdir"], ALLOW, &[])]);
        accepts(
            &a,
            &denying(&[rule(&["mkdir", "write", "read", "read"], ALLOW, &[])]),
        );
        accepts(
            &a,
            &denying(&[
                rule(&["mkdir"], ALLOW, &[]),
                rule(&["write", "read"], ALLOW, &[]),
            ]),
        );
        accepts(
            &a,
            &denying(&[a.syscalls[0].clone(), rule(&["read"], ALLOW, &[is(0, 1)])]),
        );
        let mut b = a.clone();
        b.default_errno_ret = Some(1);
        b.architectures = vec![Arch::X32, Arch::X86, Arch::X86_64, Arch::X86];
        accepts(&a, &b);
        let killing = |action| Filter {
            syscalls: vec![rule(&["mkdir"], action, &[])],
            ..Filter::new(ALLOW)
        };
        accepts(&killing(Action::Kill), &killing(Action::KillThread));
        rejects(&killing(Action::Kill), &killing(Action::KillProcess));
        // An argument with two conditions is "or" in both runtimes.
        accepts(
            &denying(&[rule(&["mkdir"], ALLOW, &[is(0, 1), is(0, 2)])]),
            &denying(&[
                rule(&["mkdir"], ALLOW, &[is(0, 2)]),
                rule(&["mkdir"], ALLOW, &[is(0, 1)]),
            ]),
        );
        // A name that the library does not know makes no rule.
        accepts(
            &a,
            &denying(&[a.syscalls[0].clone(), rule(&["not_a_call"], ALLOW, &[])]),
        );
    }

    #[test]
    fn any_semantic_change_is_unequal() {
        let a = denying(&[
            rule(&["read", "openat2"], ALLOW, &[]),
            rule(&["mkdir"], ALLOW, &[is(0, 1)]),
        ]);
        let mut changes: Vec<Filter> = (0..8).map(|_| a.clone()).collect();
        changes[0].default_errno_ret = Some(38);
        changes[1].default_action = Action::KillProcess;
        changes[2].architectures.pop();
        changes[3].flags = Some(vec![Flag::Log]);
        changes[4].syscalls[0].names.remove(0);
        changes[5].syscalls[1].args[0].value = 2;
        changes[6].syscalls[1].args[0].op = Operator::Ge;
        changes[7].syscalls[0].action = Action::Log;
        for changed in &changes {
            rejects(&a, changed);
        }
        // runc answers ENOSYS above the highest name, also above one that changes nothing.
        rejects(
            &a,
            &denying(
                &[
                    &a.syscalls[..],
                    &[rule(&["clone3", "faccessat2"], Action::Errno, &[])],
                ]
                .concat(),
            ),
        );
        // Without listed architectures there is no stub.
        rejects(&denying(&[]), &Filter::new(Action::Errno));
    }

    fn some_filter() -> impl Strategy<Value = Filter> {
        let names =
            prop::sample::subsequence(vec!["read", "mkdir", "mount", "ioctl", "clone"], 1..4);
        let args = prop::collection::vec((0_u8..3, 0_u64..4).prop_map(|(i, v)| is(i, v)), 0..3);
        let some_rule = (names, args).prop_map(|(names, args)| rule(&names, ALLOW, &args));
        prop::collection::vec(some_rule, 1..6).prop_map(|rules| denying(&rules))
    }

    proptest! {
        /// Of conditional rules for one name the order stays: libseccomp's program depends on it.
        #[test]
        fn order_of_names_and_splitting_change_nothing(filter in some_filter()) {
            let mut other = filter.clone();
            other.syscalls = filter.syscalls.iter().flat_map(|rule| {
                rule.names.iter().map(|name| Rule { names: vec![name.clone()], ..rule.clone() })
            }).collect();
            other.syscalls.sort_by(|a, b| b.names.cmp(&a.names));
            prop_assert!(equal(&filter, &other).unwrap());
        }

        #[test]
        fn order_and_repetition_of_rules_without_conditions_change_nothing(
            filter in some_filter(),
            turn in 0_usize..6,
        ) {
            let mut filter = filter;
            for rule in &mut filter.syscalls {
                rule.args.clear();
            }
            let mut other = filter.clone();
            let by = turn % other.syscalls.len();
            other.syscalls.rotate_left(by);
            other.syscalls.push(other.syscalls[0].clone());
            prop_assert!(equal(&filter, &other).unwrap());
        }

        #[test]
        fn allowing_one_more_call_is_unequal(filter in some_filter()) {
            let mut other = filter.clone();
            other.syscalls.push(rule(&["rmdir"], ALLOW, &[]));
            prop_assert!(!equal(&filter, &other).unwrap());
        }
    }
}
