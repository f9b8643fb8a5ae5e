//! Stacking: a profile on top of base profiles, which fill in the names it doesn't mention.

use crate::{Filter, Rule};
use std::collections::BTreeSet;

/// Puts `own` on top of `bases`.
///
/// The header (default action, architectures, flags, listener) and the rules for every name that
/// `own` mentions come from `own`, even if they only repeat its default. Each base adds its rules
/// for names that neither `own` nor an earlier base mentions, in its order. The bases' default
/// actions are ignored.
#[must_use]
pub fn stack(own: &Filter, bases: &[&Filter]) -> Filter {
    let mut stacked = own.clone();
    let mut taken: BTreeSet<&str> = own.names().collect();
    for base in bases {
        for rule in &base.syscalls {
            let names: Vec<String> = rule
                .names
                .iter()
                .filter(|name| !taken.contains(name.as_str()))
                .cloned()
                .collect();
            if !names.is_empty() {
                stacked.syscalls.push(Rule {
                    names,
                    ..rule.clone()
                });
            }
        }
        taken.extend(base.names());
    }
    stacked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Arch,
        fixtures::{is, rule},
    };

    fn filter(default: Action, syscalls: Vec<Rule>) -> Filter {
        Filter {
            syscalls,
            ..Filter::new(default)
        }
    }

    #[test]
    fn own_rules_and_header_win_and_earlier_bases_win_over_later_ones() {
        let own = filter(Action::Errno, vec![rule(&["mount"], Action::Errno, &[])]);
        let mut first = filter(
            Action::Allow,
            vec![
                rule(&["mount", "read"], Action::Allow, &[]),
                rule(&["mount"], Action::Log, &[]),
            ],
        );
        first.architectures = vec![Arch::X86];
        let second = filter(
            Action::Kill,
            vec![rule(&["read", "write"], Action::Log, &[])],
        );
        let expected = filter(
            Action::Errno,
            vec![
                rule(&["mount"], Action::Errno, &[]),
                rule(&["read"], Action::Allow, &[]),
                rule(&["write"], Action::Log, &[]),
            ],
        );
        assert_eq!(stack(&own, &[&first, &second]), expected);
        assert_eq!(stack(&own, &[]), own);
    }

    #[test]
    fn several_rules_of_one_base_for_a_name_stay_together() {
        let conditional = |value| rule(&["clone"], Action::Allow, &[is(0, value)]);
        let base = filter(Action::Errno, vec![conditional(1), conditional(2)]);
        let own = Filter::new(Action::Errno);
        assert_eq!(stack(&own, &[&base, &base]).syscalls, base.syscalls);
    }
}
