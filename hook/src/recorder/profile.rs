//! The profile of a recording, stacked on its base or merged with an existing profile.

use super::{
    RecordError,
    active::Active,
    names::{COMPAT, Names},
};
use portcullis_profile::{
    Action, Arch, ArgCondition, Filter, Operator, Rule,
    compose::combine::{AlgebraError, union},
    compose::stack::stack,
    parse_filter,
};
use std::{collections::BTreeSet, path::Path};

/// The profile that allows the names. Denials of the base profile stay denials.
///
/// # Errors
/// The stored base profile is not valid.
pub fn profile(active: &Active, names: &Names, default: Action) -> Result<Filter, RecordError> {
    let mut architectures = vec![Arch::HOST];
    if names.compat {
        architectures.push(COMPAT);
    }
    let observed = Filter {
        architectures,
        syscalls: rules(names),
        ..Filter::new(default)
    };
    match &active.base {
        None => Ok(observed),
        Some(base) => {
            let base = parse_filter(base.as_bytes()).map_err(|source| RecordError::Document {
                path: active.output().path(),
                source,
            })?;
            Ok(extended(&base, &observed))
        }
    }
}

/// One rule for the calls that are allowed unconditionally, then one for each value of the others.
fn rules(names: &Names) -> Vec<Rule> {
    let plain = names.names.iter().copied();
    let plain = plain
        .filter(|name| !names.values.contains_key(name))
        .collect();
    let mut rules = vec![allowing::<&str>(&plain)];
    for (name, (index, values)) in &names.values {
        rules.extend(values.iter().map(|value| Rule {
            args: vec![ArgCondition {
                index: *index,
                value: *value,
                value_two: 0,
                op: Operator::Eq,
            }],
            ..allowing(&BTreeSet::from([name]))
        }));
    }
    rules
}

/// Allows what a profile allows and what was recorded. Both must have the same default action.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn merged(there: &Filter, recorded: &Filter) -> Result<Filter, AlgebraError> {
    let (mut there, mut recorded) = (there.clone(), recorded.clone());
    for arch in &recorded.architectures {
        if !there.architectures.contains(arch) {
            there.architectures.push(*arch);
        }
    }
    recorded.architectures.clone_from(&there.architectures);
    Ok(gathered(union(&there, &recorded)?))
}

/// Adds a recording to a profile, whose own rules take precedence.
pub fn extended(base: &Filter, recorded: &Filter) -> Filter {
    let mut filter = stack(base, &[recorded]);
    for arch in &recorded.architectures {
        if !filter.architectures.is_empty() && !filter.architectures.contains(arch) {
            filter.architectures.push(*arch);
        }
    }
    gathered(filter)
}

/// Merges all unconditionally allowed names into one sorted rule, so that another recording adds no
/// rule.
fn gathered(mut filter: Filter) -> Filter {
    let allowed: BTreeSet<String> = filter
        .syscalls
        .iter()
        .filter(|rule| is_plain_allow(rule))
        .flat_map(|rule| rule.names.iter().cloned())
        .collect();
    filter.syscalls.retain(|rule| !is_plain_allow(rule));
    filter.syscalls.push(allowing(&allowed));
    filter
}

fn is_plain_allow(rule: &Rule) -> bool {
    rule.action == Action::Allow && rule.args.is_empty()
}

fn allowing<S: AsRef<str>>(names: &BTreeSet<S>) -> Rule {
    Rule {
        names: names.iter().map(|name| name.as_ref().to_owned()).collect(),
        action: Action::Allow,
        errno_ret: None,
        args: Vec::new(),
    }
}

/// A profile as text with one member per line, so that two can be compared. The path is for errors.
///
/// # Errors
/// It can't be written as JSON.
pub fn text(filter: &Filter, path: &Path) -> Result<String, RecordError> {
    serde_json::to_string_pretty(filter)
        .map(|text| text + "\n")
        .map_err(|error| RecordError::Broken {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{
        active::Active,
        layout::Observed,
        names::{example, names},
    };
    use portcullis_profile::filter::syscalls;
    use std::collections::BTreeMap;

    #[test]
    fn what_a_base_denies_stays_denied_and_a_second_recording_adds_nothing() {
        let base = Filter {
            syscalls: vec![
                Rule {
                    names: vec!["mkdir".into()],
                    action: Action::Errno,
                    errno_ret: Some(61),
                    args: Vec::new(),
                },
                allowing(&BTreeSet::from(["read"])),
            ],
            ..Filter::new(Action::Errno)
        };
        let recorded = Filter {
            architectures: vec![Arch::HOST],
            syscalls: vec![allowing(&BTreeSet::from(["mkdir", "read", "write"]))],
            ..Filter::new(Action::Errno)
        };
        let once = extended(&base, &recorded);
        assert_eq!(once.syscalls.len(), 2);
        assert_eq!(once.syscalls[0].errno_ret, Some(61));
        assert_eq!(once.syscalls[1].names, ["read", "write"]);
        assert_eq!(extended(&once, &recorded), once);
    }

    #[test]
    fn a_call_with_few_values_is_allowed_with_these_alone_and_merging_adds_more() {
        let recorded = |values: &[u64]| {
            let names = Names {
                names: BTreeSet::from(["read", "socket"]),
                values: BTreeMap::from([("socket", (0, values.iter().copied().collect()))]),
                ..Names::default()
            };
            Filter {
                architectures: vec![Arch::HOST],
                syscalls: rules(&names),
                ..Filter::new(Action::Errno)
            }
        };
        let first = recorded(&[1]);
        assert_eq!(first.syscalls[0].names, ["read"]);
        assert_eq!(first.syscalls[1].args[0].value, 1);
        let both = merged(&first, &recorded(&[2])).unwrap();
        let expected = recorded(&[1, 2]);
        assert!(
            portcullis_profile::equal(&both, &expected).unwrap(),
            "{both:?}"
        );
        assert_eq!(merged(&both, &first).unwrap(), both);
        assert!(merged(&Filter::new(Action::Allow), &first).is_err());
    }

    #[test]
    fn values_are_written_only_where_the_bound_held_and_no_32_bit_call_was_made() {
        let rules = |active: &Active, observed: &Observed| {
            profile(active, &names(active, observed), Action::Errno)
                .unwrap()
                .syscalls
        };
        let (active, held) = example(BTreeSet::from([1, 2]), false);
        let written = rules(&active, &held);
        assert_eq!(written[0].names, ["read", "restart_syscall"]);
        assert_eq!(written.len(), 3);
        let (active, overflowed) = example((0..16).collect(), true);
        assert_eq!(
            rules(&active, &overflowed)[0].names,
            ["read", "restart_syscall", "socket"]
        );
        let (active, mut compat) = example(BTreeSet::from([1]), false);
        compat.compat = BTreeSet::from([syscalls::number("getpgid", COMPAT).unwrap()]);
        assert_eq!(
            rules(&active, &compat)[0].names,
            ["getpgid", "read", "restart_syscall", "socket"]
        );
        assert_eq!(
            profile(&active, &names(&active, &compat), Action::Errno)
                .unwrap()
                .architectures,
            [Arch::HOST, COMPAT]
        );
    }
}
