//! The difference of two filters, in words.

use crate::{
    Filter,
    compare::normal::{Branch, Normal},
};
use std::{fmt, rc::Rc};

/// How many names a message gives before it counts the rest.
const NAMES: usize = 8;

/// How a container's filter ("here") differs from the expected one ("there").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Calls that pass here (always or under conditions) but not there.
    pub allowed_here_only: Vec<String>,
    /// Calls that pass there but not here.
    pub allowed_there_only: Vec<String>,
    /// Calls with another errno, action or condition.
    pub treated_otherwise: Vec<String>,
    /// Header fields that differ, each written as `field: here instead of there`.
    pub header: Vec<String>,
}

/// Whether a call may pass under its branches, or under the default if it has none.
fn passes(branches: Option<&Rc<[Branch]>>, normal: &Normal<'_>) -> bool {
    match branches {
        None => normal.default.action.lets_through(),
        Some(branches) => branches
            .iter()
            .any(|branch| branch.treatment.action.lets_through()),
    }
}

impl Difference {
    /// Compares the container's filter with the expected one.
    pub fn between(here: &Filter, there: &Filter) -> Difference {
        let (a, b) = (Normal::of(here), Normal::of(there));
        let mut difference = Difference::default();
        for name in a.names.union(&b.names) {
            let (of_a, of_b) = (a.rules.get(name), b.rules.get(name));
            let list = match (passes(of_a, &a), passes(of_b, &b)) {
                (true, false) => &mut difference.allowed_here_only,
                (false, true) => &mut difference.allowed_there_only,
                _ if of_a != of_b => &mut difference.treated_otherwise,
                _ => continue,
            };
            list.push((*name).to_owned());
        }
        let mut header = |field: &str, here: String, there: String| {
            if here != there {
                difference
                    .header
                    .push(format!("{field} {here} instead of {there}"));
            }
        };
        let action = |n: &Normal<'_>| {
            if n.default.action.takes_errno() {
                format!("{} ({})", n.default.action, n.default.errno)
            } else {
                n.default.action.to_string()
            }
        };
        header("default action", action(&a), action(&b));
        let architectures = |n: &Normal<'_>| listed(n.architectures.iter().map(|a| a.as_str()));
        header("architectures", architectures(&a), architectures(&b));
        let flags = |n: &Normal<'_>| match &n.flags {
            None => "unset".to_owned(),
            Some(flags) => listed(flags.iter().map(|f| f.as_str())),
        };
        header("flags", flags(&a), flags(&b));
        if a.listener != b.listener {
            difference.header.push("another listener".to_owned());
        }
        difference
    }

    /// Whether there is no difference that can be put into words.
    pub fn is_empty(&self) -> bool {
        *self == Difference::default()
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join("+")
    }
}

/// The first names and how many more there are: a list of bounded length for messages.
pub fn first_names(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMES)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |what: &str, names: &[String]| {
            if !names.is_empty() {
                parts.push(format!("{what} {}", first_names(names)));
            }
        };
        part("additionally allows", &self.allowed_here_only);
        part("additionally denies", &self.allowed_there_only);
        part("treats otherwise", &self.treated_otherwise);
        if !self.header.is_empty() {
            parts.push(format!("has {}", self.header.join(", ")));
        }
        if parts.is_empty() {
            parts.push(
                "differs only in the order of conflicting rules or in runc's ENOSYS limit"
                    .to_owned(),
            );
        }
        f.write_str(&parts.join("; "))
    }
}
