//! Whether the kernel would treat every call alike under two filters.
//!
//! The promise is soundness: what can't be shown equal is unequal. Normal forms decide; the calls
//! in which these differ are compiled by libseccomp, and the programs compared.

use crate::{
    Filter, Rule,
    compare::normal::Normal,
    program::compile::{CompileError, compile, enosys_limits, number},
};
use std::collections::BTreeSet;

/// Whether two filters are the same to the kernel, under crun and under runc.
///
/// # Errors
/// The normal forms differ and libseccomp can't build one of the filters.
pub fn equal(a: &Filter, b: &Filter) -> Result<bool, CompileError> {
    // Mostly the one was made from the other.
    if a == b {
        return Ok(true);
    }
    let (left, right) = (Normal::of(a), Normal::of(b));
    if left == right {
        return Ok(true);
    }
    if left.header_difference(&right).is_some() {
        return Ok(false);
    }
    if left.names != right.names && enosys_limits(a)? != enosys_limits(b)? {
        return Ok(false);
    }
    let mut differing = left.differing_names(&right);
    // libseccomp has names of one number; their rules are one call's.
    let numbers: BTreeSet<i32> = differing.iter().filter_map(|name| number(name)).collect();
    let mentioned = left.names.iter().chain(&right.names);
    differing.extend(mentioned.filter(|name| number(name).is_some_and(|n| numbers.contains(&n))));
    Ok(compile(&only(a, &differing))? == compile(&only(b, &differing))?)
}

/// A filter with its rules for some calls alone.
fn only(filter: &Filter, names: &BTreeSet<&str>) -> Filter {
    let syscalls = filter.syscalls.iter().filter_map(|rule| {
        let kept: Vec<String> = rule
            .names
            .iter()
            .filter(|name| names.contains(name.as_str()))
            .cloned()
            .collect();
        (!kept.is_empty()).then(|| Rule {
            names: kept,
            action: rule.action,
            errno_ret: rule.errno_ret,
            args: rule.args.clone(),
        })
    });
    Filter {
        syscalls: syscalls.collect(),
        default_action: filter.default_action,
        default_errno_ret: filter.default_errno_ret,
        architectures: filter.architectures.clone(),
        flags: filter.flags.clone(),
        listener_path: filter.listener_path.clone(),
        listener_metadata: filter.listener_metadata.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Arch, Flag, Operator,
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

    /// Only so may calls be compared without the rules of those that have another number here.
    #[test]
    fn names_of_one_number_have_one_number_everywhere() {
        let native = libseccomp::ScmpArch::native();
        let number = |name: &str, arch| {
            libseccomp::ScmpSyscall::from_name_by_arch(name, arch).map(i32::from)
        };
        for arch in [
            "X86_64", "X86", "X32", "AARCH64", "ARM", "PPC64LE", "RISCV64", "S390X", "S390",
            "MIPS64", "MIPS",
        ] {
            let token: libseccomp::ScmpArch = format!("SCMP_ARCH_{arch}").parse().unwrap();
            let mut names = std::collections::BTreeMap::new();
            for name in crate::filter::syscalls::names() {
                if let Ok(here) = number(name, token)
                    && let Some(other) = names.insert(here, name)
                {
                    assert!(
                        number(name, native).unwrap() == number(other, native).unwrap(),
                        "{arch}: {name} and {other}"
                    );
                }
            }
            assert!(names.len() > 300, "{arch}");
        }
    }

    #[test]
    fn conditional_rules_of_one_call_are_compared_beside_any_others() {
        let conditions = |first, second| {
            denying(&[
                rule(&["read", "write"], ALLOW, &[]),
                rule(&["mkdir"], ALLOW, &[is(first, 1)]),
                rule(&["mkdir"], ALLOW, &[is(second, 1)]),
            ])
        };
        accepts(&conditions(0, 0), &conditions(0, 0));
        rejects(&conditions(0, 1), &conditions(0, 2));
        // Through socketcall, rules for one call reach another.
        let sockets = |values: [u64; 2]| {
            let [a, b] = values.map(|value| is(0, value));
            denying(&[
                rule(&["socket"], ALLOW, &[a]),
                rule(&["bind", "socketcall"], ALLOW, &[b]),
            ])
        };
        accepts(&sockets([1, 2]), &sockets([1, 2]));
        rejects(&sockets([1, 2]), &sockets([2, 1]));
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
