//! Whether the kernel would treat every call alike under two filters.
//!
//! The comparison is sound: filters that can't be shown equal are unequal. Identical normal forms
//! are equal; if they differ, the whole programs are walked side by side.

use crate::{
    Filter,
    compare::{normal::Normal, side_by_side::side_by_side},
    filter::reader::Runtime,
    program::{
        calls::library_knows,
        compile::{CompileError, compiled_for, enosys_limits},
        layout::Programs,
        walk::{Leaf, WalkError},
    },
};

/// Whether two filters are the same to the kernel, under crun and under runc.
///
/// # Errors
/// A name is not a C string; or the normal forms differ and libseccomp can't compile a filter.
pub fn equal(a: &Filter, b: &Filter) -> Result<bool, CompileError> {
    let mut compare = |a: &Filter, b: &Filter| {
        let compile = |filter| compiled_for(filter, Runtime::Runc);
        Ok(same_effect(&compile(a)?, &compile(b)?))
    };
    let long = |filter: &Filter| filter.rules_beyond_crun().next().is_some();
    if (long(a) || long(b))
        && !equal_by(
            &a.as_read_by(Runtime::Crun),
            &b.as_read_by(Runtime::Crun),
            &mut compare,
        )?
    {
        return Ok(false);
    }
    equal_by(a, b, &mut compare)
}

/// The same for two filters as their runtime reads them. `compare` says whether their programs do the
/// same, and is asked only if that is not clear without them.
pub(crate) fn equal_by(
    a: &Filter,
    b: &Filter,
    compare: &mut dyn FnMut(&Filter, &Filter) -> Result<bool, CompileError>,
) -> Result<bool, CompileError> {
    if let Some(name) = a.names().chain(b.names()).find(|name| name.contains('\0')) {
        return Err(CompileError::Name(format!("{name:?}")));
    }
    // Usually one was made from the other.
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
    // The runtime's libseccomp may know a name that this one does not.
    let mut names = left.names.union(&right.names);
    if names.any(|name| !library_knows(name) && left.rules.get(name) != right.rules.get(name)) {
        return Ok(false);
    }
    compare(a, b)
}

/// Whether the programs of two filters treat every call alike; `false` where that can't be shown.
pub(crate) fn same_effect(a: &Programs, b: &Programs) -> bool {
    let compare = |_: &Leaf<'_>, here, there| if here == there { Ok(()) } else { Err(Unequal) };
    a.beside(b)
        .all(|(a, b)| a == b || side_by_side(a, b, compare).is_ok())
}

/// A call is treated differently, or that can't be determined.
struct Unequal;

impl From<WalkError> for Unequal {
    fn from(_: WalkError) -> Unequal {
        Unequal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Arch, ArgCondition, Flag, Operator, Rule,
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
        // Both runtimes combine two conditions on one argument with "or".
        accepts(
            &denying(&[rule(&["mkdir"], ALLOW, &[is(0, 1), is(0, 2)])]),
            &denying(&[
                rule(&["mkdir"], ALLOW, &[is(0, 2)]),
                rule(&["mkdir"], ALLOW, &[is(0, 1)]),
            ]),
        );
        // A rule with the default's treatment makes no difference, whatever its names are.
        accepts(
            &a,
            &denying(&[
                a.syscalls[0].clone(),
                rule(&["not_a_call"], Action::Errno, &[]),
            ]),
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
        // runc answers ENOSYS above the highest name, even if that name changes nothing.
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

    /// libseccomp 2.5.4 compiles the second of each pair to a program that applies no native rule.
    #[test]
    fn a_program_that_applies_no_native_rule_is_unequal() {
        let mode = ArgCondition {
            op: Operator::Ne,
            ..is(1, 0)
        };
        let asked = Filter {
            architectures: vec![Arch::X86_64, Arch::X32],
            syscalls: vec![rule(&["mkdir"], Action::Errno, &[mode])],
            ..Filter::new(ALLOW)
        };
        for name in ["umount", "ipc", "vm86", "_llseek"] {
            let mut lost = asked.clone();
            lost.syscalls.push(rule(&[name], Action::Errno, &[]));
            rejects(&asked, &lost);
        }
    }

    #[test]
    fn a_name_that_the_library_does_not_know_must_be_in_both() {
        let with = |name: &str| denying(&[rule(&["read"], ALLOW, &[]), rule(&[name], ALLOW, &[])]);
        rejects(&with("read"), &with("not_a_call"));
        rejects(&with("not_a_call"), &with("nor_is_this"));
        let mut other = with("not_a_call");
        other.syscalls.reverse();
        accepts(&with("not_a_call"), &other);
    }

    #[test]
    fn a_name_that_is_no_c_string_is_an_error() {
        let cut = denying(&[rule(&["mkdir\0"], ALLOW, &[])]);
        assert!(equal(&cut, &cut).is_err());
        assert!(equal(&denying(&[]), &cut).is_err());
    }

    /// crun reads six conditions of a rule, so filters may be equal under runc alone.
    #[test]
    fn what_holds_for_one_runtime_only_is_unequal() {
        let up_to = |count: u64| -> Vec<ArgCondition> { (0..count).map(|v| is(0, v)).collect() };
        let of = |args: &[ArgCondition]| denying(&[rule(&["clone"], ALLOW, args)]);
        rejects(&of(&up_to(6)), &of(&up_to(7)));
        let mut turned = up_to(7);
        turned.reverse();
        rejects(&of(&up_to(7)), &of(&turned));
        accepts(&of(&up_to(7)), &of(&up_to(7)));
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

    /// On PowerPC both names reach one call, and the first rule for it wins.
    #[test]
    fn the_order_of_names_that_share_a_number_is_compared_by_what_it_does() {
        let of = |first: &str, second: &str| Filter {
            architectures: vec![Arch::X86_64, Arch::Ppc64Le],
            syscalls: vec![
                rule(&[first], Action::Errno, &[]),
                rule(&[second], Action::KillProcess, &[]),
            ],
            ..Filter::new(ALLOW)
        };
        let (a, b) = ("switch_endian", "sys_debug_setcontext");
        let turned = |mut filter: Filter| {
            filter.syscalls.reverse();
            filter
        };
        accepts(&of(a, b), &of(a, b));
        let share = libseccomp::ScmpSyscall::from_name(a).ok()
            == libseccomp::ScmpSyscall::from_name(b).ok();
        if share {
            rejects(&of(a, b), &turned(of(a, b)));
        }
        accepts(&of(a, "mkdir"), &turned(of(a, "mkdir")));
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
