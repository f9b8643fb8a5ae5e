//! The inert rule in our filters, which keeps a cache of compiled filters from confusing them.
//!
//! crun caches programs under a hash that ignores the errno of rules and where names end. Our rule
//! names a call that does not exist, contains the filter's digest, and has the effect of the
//! default action, so runtimes and comparisons leave it out.

use crate::{
    Filter, Rule,
    filter::{DEFAULT_ERRNO, Treatment, digest::FilterDigest},
};

/// The beginning of its name; the filter's digest follows. The number is that of the digest's
/// encoding.
const PREFIX: &str = "portcullis-1-";

/// Whether this is the name of such a rule.
pub fn is_inert_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|digest| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digest.len() == 64 && digest.bytes().all(is_digit)
    })
}

/// Whether a rule is inert in a filter with this default action: it has such a name and no effect.
pub(crate) fn is_inert(rule: &Rule, default: Treatment) -> bool {
    matches!(&rule.names[..], [name] if is_inert_name(name))
        && rule.args.is_empty()
        && Treatment::of(rule.action, rule.errno_ret) == default
}

/// The filter without any such rule.
#[must_use]
pub fn without_inert_rule(mut filter: Filter) -> Filter {
    let default = Treatment::default_of(&filter);
    filter.syscalls.retain(|rule| !is_inert(rule, default));
    filter
}

/// The filter with its own inert rule at the end, and no other.
#[must_use]
pub fn with_inert_rule(filter: &Filter) -> Filter {
    let action = filter.default_action;
    let mut marked = without_inert_rule(filter.clone());
    marked.syscalls.push(Rule {
        names: vec![format!("{PREFIX}{}", FilterDigest::of(filter))],
        action,
        errno_ret: action
            .takes_errno()
            .then(|| filter.default_errno_ret.unwrap_or(DEFAULT_ERRNO)),
        args: Vec::new(),
    });
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Difference, equal, fixtures::rule, parse_filter};

    fn denying(default: Action, errno: Option<u16>) -> Filter {
        Filter {
            default_errno_ret: errno,
            syscalls: vec![rule(&["mkdir"], Action::Errno, &[])],
            ..Filter::new(default)
        }
    }

    #[test]
    fn every_default_has_one_rule_that_does_the_same_and_changes_nothing() {
        for default in Action::ALL {
            for errno in [None, Some(38)] {
                let filter = denying(*default, errno);
                let marked = with_inert_rule(&filter);
                let added = marked.syscalls.last().unwrap();
                assert_eq!(added.action, *default);
                let expected = default.takes_errno().then(|| errno.unwrap_or(1));
                assert_eq!(added.errno_ret, expected, "{default}");
                assert_eq!(marked.syscalls.len(), 2);
                assert_eq!(with_inert_rule(&marked), marked);
                assert_eq!(without_inert_rule(marked.clone()), filter);
                assert!(equal(&marked, &filter).unwrap());
                assert_eq!(
                    Difference::between(&marked, &filter).to_string(),
                    Difference::between(&filter, &filter).to_string()
                );
            }
        }
    }

    #[test]
    fn a_rule_that_has_an_effect_or_another_name_is_not_ours() {
        let filter = denying(Action::Allow, None);
        let name = with_inert_rule(&filter).syscalls[1].names[0].clone();
        let short = &name[..name.len() - 1];
        let upper = name.to_uppercase();
        for names in [&[short][..], &[&upper], &[&name, "mkdir"], &[]] {
            let mut other = filter.clone();
            other.syscalls.push(rule(names, Action::Allow, &[]));
            assert_eq!(without_inert_rule(other.clone()), other);
        }
        let mut stricter = filter;
        stricter.syscalls.push(rule(&[&name], Action::Errno, &[]));
        assert_eq!(without_inert_rule(stricter.clone()), stricter);
    }

    #[test]
    fn what_is_written_is_read_back_without_it() {
        let filter = denying(Action::Errno, Some(5));
        let text = serde_json::to_vec(&with_inert_rule(&filter)).unwrap();
        assert_eq!(parse_filter(&text).unwrap(), filter);
    }
}
