//! Rules for names that a reader does not know and therefore silently drops.
//!
//! If such a rule is stricter than the default action, the container would be less protected than
//! its filter says: that is an error. Otherwise the default, which is at least as strict, applies:
//! that is a warning.

use crate::{Filter, filter::Treatment};

/// Names that a reader does not know, in the filter's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// From rules that are stricter than the default action: the container would be unprotected.
    pub stricter: Vec<String>,
    /// From other rules that differ from the default: the default would apply to the call.
    pub looser: Vec<String>,
}

/// Finds the names for which `knows` returns false.
pub fn unknown(filter: &Filter, knows: impl Fn(&str) -> bool) -> Unknown {
    Unknown {
        stricter: unknown_of_rules(filter, true, &knows),
        looser: unknown_of_rules(filter, false, &knows),
    }
}

/// Only [`Unknown::stricter`]. A filter that only allows calls has no such rule; `knows` is then
/// not called.
pub fn unprotected(filter: &Filter, knows: impl Fn(&str) -> bool) -> Vec<String> {
    unknown_of_rules(filter, true, &knows)
}

/// The unknown names in rules that are stricter than the default action, or in the other rules that
/// differ from it.
fn unknown_of_rules(filter: &Filter, stricter: bool, knows: &impl Fn(&str) -> bool) -> Vec<String> {
    let default = Treatment::default_of(filter);
    filter
        .syscalls
        .iter()
        .filter(|rule| {
            rule.action.is_stricter_than(filter.default_action) == stricter
                && Treatment::of(rule.action, rule.errno_ret) != default
        })
        .flat_map(|rule| rule.names.iter().filter(|name| !knows(name)).cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Unknown, unknown, unprotected};
    use crate::{Action, Filter, fixtures::rule};

    fn found(default: Action, action: Action, errno_ret: Option<u16>) -> Unknown {
        let mut of_one = rule(&["new", "old"], action, &[]);
        of_one.errno_ret = errno_ret;
        let filter = Filter {
            syscalls: vec![of_one],
            ..Filter::new(default)
        };
        let knows = |name: &str| name == "old";
        let found = unknown(&filter, knows);
        assert_eq!(unprotected(&filter, knows), found.stricter);
        found
    }

    #[test]
    fn an_unknown_name_counts_by_what_its_rule_is_to_the_default() {
        for default in Action::ALL {
            for action in Action::ALL {
                let Unknown { stricter, looser } = found(*default, *action, None);
                let expected = match action.folded().cmp(&default.folded()) {
                    std::cmp::Ordering::Less => (1, 0),
                    std::cmp::Ordering::Equal => (0, 0),
                    std::cmp::Ordering::Greater => (0, 1),
                };
                let counts = (stricter.len(), looser.len());
                assert_eq!(counts, expected, "{action} by default {default}");
            }
        }
    }

    #[test]
    fn another_errno_is_not_stricter() {
        let unknown = found(Action::Errno, Action::Errno, Some(38));
        assert_eq!((unknown.stricter.len(), unknown.looser.len()), (0, 1));
    }

    #[test]
    fn no_name_is_asked_about_where_every_rule_allows() {
        let filter = Filter {
            syscalls: vec![rule(&["new"], Action::Allow, &[])],
            ..Filter::new(Action::Errno)
        };
        let none = unprotected(&filter, |name| panic!("{name} is asked about"));
        assert!(none.is_empty());
    }
}
