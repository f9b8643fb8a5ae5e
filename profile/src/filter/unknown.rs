//! Rules for names that a reader does not know: they are silently not there.
//!
//! One rule for all: where such a rule is stricter than the default action, the container would
//! be less protected than its filter says, an error; where it is not, the call falls under a
//! default that is at least as strict, a warning.

use crate::{Filter, compare::normal::Treatment};

/// Names that a reader does not know, in the filter's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Of rules that are stricter than the default action: the container would be unprotected.
    pub stricter: Vec<String>,
    /// Of the other rules that say something else than the default: the call would be treated as
    /// any other.
    pub looser: Vec<String>,
}

/// Finds the names that `knows` denies.
pub fn unknown(filter: &Filter, knows: impl Fn(&str) -> bool) -> Unknown {
    let default = Treatment::default_of(filter);
    let mut unknown = Unknown::default();
    for rule in &filter.syscalls {
        if Treatment::of(rule.action, rule.errno_ret) == default {
            continue;
        }
        let list = if rule.action.is_stricter_than(filter.default_action) {
            &mut unknown.stricter
        } else {
            &mut unknown.looser
        };
        list.extend(rule.names.iter().filter(|name| !knows(name)).cloned());
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::{Unknown, unknown};
    use crate::{Action, Filter, fixtures::rule};

    fn found(default: Action, action: Action, errno_ret: Option<u16>) -> Unknown {
        let mut of_one = rule(&["new", "old"], action, &[]);
        of_one.errno_ret = errno_ret;
        let filter = Filter {
            syscalls: vec![of_one],
            ..Filter::new(default)
        };
        unknown(&filter, |name| name == "old")
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
}
