//! The key under which crun caches a compiled filter: filters that share a key no longer do so once
//! they contain our inert rule.

#![allow(clippy::unwrap_used)]

use portcullis_profile::{
    Action, Arch, ArgCondition, Filter, Flag, Operator, Rule, compose::inert::with_inert_rule,
};
use std::collections::BTreeSet;

/// crun's key (`calculate_seccomp_checksum` of 1.14 to 1.29): the parts of a filter strung
/// together, without each rule's errno and without borders. What is the same for all filters of a
/// node is one text here.
fn key(filter: &Filter) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
    };
    add("crun, libseccomp and kernel");
    if let Some(errno) = filter.default_errno_ret {
        add(&errno.to_string());
    }
    add(filter.default_action.as_str());
    for flag in filter.flags.iter().flatten() {
        add(flag.as_str());
    }
    for arch in &filter.architectures {
        add(arch.as_str());
    }
    for rule in &filter.syscalls {
        add(rule.action.as_str());
        for name in &rule.names {
            add(name);
        }
        for arg in &rule.args {
            add(&arg.index.to_string());
            add(&arg.value.to_string());
            if arg.value_two != 0 {
                add(&arg.value_two.to_string());
            }
            add(arg.op.as_str());
        }
    }
    hash.finalize()
}

fn denying(names: &[&str], errno: Option<u16>) -> Filter {
    let rule = Rule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: Action::Errno,
        errno_ret: errno,
        args: vec![],
    };
    Filter {
        syscalls: vec![rule],
        ..Filter::new(Action::Allow)
    }
}

/// All filters whose names are the same letters with borders in other places.
fn split_otherwise(letters: &str, errno: Option<u16>) -> Vec<Filter> {
    let places = letters.len() - 1;
    (0_u32..1 << places)
        .map(|borders| {
            let mut names = vec![];
            let mut begin = 0;
            for at in (0..places).filter(|at| borders & (1 << at) != 0) {
                names.push(&letters[begin..=at]);
                begin = at + 1;
            }
            names.push(&letters[begin..]);
            denying(&names, errno)
        })
        .collect()
}

/// Of different filters that crun takes for the same, no two are it with our rule.
fn are_told_apart(filters: &[Filter]) {
    let keys = |all: &mut dyn Iterator<Item = Filter>| -> BTreeSet<[u8; 32]> {
        all.map(|filter| *key(&filter).as_bytes()).collect()
    };
    let without = keys(&mut filters.iter().cloned());
    assert!(without.len() < filters.len(), "nothing collides");
    let with = keys(&mut filters.iter().map(with_inert_rule));
    assert_eq!(with.len(), filters.len());
}

#[test]
fn errnos_are_told_apart() {
    let of_rules: Vec<Filter> = (1..=200)
        .map(|errno| denying(&["mkdir"], Some(errno)))
        .collect();
    are_told_apart(&of_rules);
    assert_eq!(key(&of_rules[60]), key(&of_rules[61]));
}

#[test]
fn names_with_borders_in_other_places_are_told_apart() {
    are_told_apart(&split_otherwise("mkdirmkdirat", None));
    let pairs: [[&[&str]; 2]; 3] = [
        [&["mkdir", "mkdirat"], &["mkd", "irmkd", "irat"]],
        [&["stat", "mount"], &["statmount"]],
        [&["read", "link"], &["readlink"]],
    ];
    for [a, b] in pairs {
        let (a, b) = (denying(a, None), denying(b, None));
        assert_eq!(key(&a), key(&b));
        are_told_apart(&[a, b]);
    }
}

#[test]
fn rules_and_conditions_that_run_together_are_told_apart() {
    let with = |args: &[(u8, u64, u64)]| {
        let mut filter = denying(&["socket"], Some(1));
        filter.syscalls[0].args = args
            .iter()
            .map(|(index, value, value_two)| ArgCondition {
                index: *index,
                value: *value,
                value_two: *value_two,
                op: Operator::MaskedEq,
            })
            .collect();
        filter
    };
    are_told_apart(&[
        with(&[(1, 12, 3)]),
        with(&[(1, 1, 23)]),
        with(&[(1, 123, 0)]),
    ]);
    // A name that goes on as the next rule's action does.
    let mut two = denying(&["mkdir"], None);
    two.syscalls
        .push(denying(&["rmdir"], None).syscalls[0].clone());
    let one = denying(&["mkdirSCMP_ACT_ERRNOrmdir"], None);
    are_told_apart(&[two, one]);
    // A tracer's number; one that is given as its default is the same filter.
    let traced = [None, Some(2), Some(7)].map(|number| {
        let mut filter = denying(&["mkdir"], number);
        filter.syscalls[0].action = Action::Trace;
        filter
    });
    are_told_apart(&traced);
}

#[test]
fn filters_of_every_header_are_told_apart() {
    let mut all = vec![];
    for default in [
        Action::Allow,
        Action::Log,
        Action::Errno,
        Action::KillProcess,
    ] {
        for architectures in [vec![], vec![Arch::X86_64], vec![Arch::X86_64, Arch::X86]] {
            for flags in [None, Some(vec![]), Some(vec![Flag::Log])] {
                for errno in [None, Some(61), Some(62)] {
                    for filter in split_otherwise("mkdirat", errno) {
                        all.push(Filter {
                            default_action: default,
                            architectures: architectures.clone(),
                            flags: flags.clone(),
                            ..filter
                        });
                    }
                }
            }
        }
    }
    are_told_apart(&all);
}
