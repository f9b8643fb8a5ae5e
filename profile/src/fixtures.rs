//! Filters and conditions that several modules' tests build.

use crate::{Action, ArgCondition, Filter, Operator, Rule, program::compile::in_child};

/// Lets the test program compile filters when it runs itself as a child.
#[ctor::ctor(unsafe)]
fn compiles() {
    if in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}

/// `argument == value`.
pub(crate) fn is(index: u8, value: u64) -> ArgCondition {
    ArgCondition {
        index,
        value,
        value_two: 0,
        op: Operator::Eq,
    }
}

/// A rule without an errno of its own.
pub(crate) fn rule(names: &[&str], action: Action, args: &[ArgCondition]) -> Rule {
    Rule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        errno_ret: None,
        args: args.to_vec(),
    }
}

/// A filter of rules of one name each.
pub(crate) fn filter(default: Action, rules: &[(&str, Action, &[ArgCondition])]) -> Filter {
    let syscalls = rules
        .iter()
        .map(|(name, action, args)| rule(&[name], *action, args))
        .collect();
    Filter {
        syscalls,
        ..Filter::new(default)
    }
}
