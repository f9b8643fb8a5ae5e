//! Whether one filter allows no more than another.

use crate::{
    Action, Filter, Flag,
    compare::difference::first_names,
    compare::normal::{Branch, Normal, is_multiplexed},
    filter::Treatment,
};
use std::fmt;

/// What a filter allows in excess of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Calls that may pass here and not there, or under conditions that are not there.
    pub calls: Vec<String>,
    /// Whether calls that no rule names pass here and not there.
    pub default: bool,
    /// Architectures that are only here.
    pub architectures: Vec<String>,
    /// Whether the speculative store bypass mitigation is switched off here only.
    pub speculation: bool,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.default {
            parts.push("allows calls that no rule names".to_owned());
        }
        if !self.calls.is_empty() {
            parts.push(format!(
                "allows {} where the default does not",
                first_names(&self.calls)
            ));
        }
        if !self.architectures.is_empty() {
            parts.push(format!("adds {}", first_names(&self.architectures)));
        }
        if self.speculation {
            parts.push(format!("sets {}", Flag::SpecAllow));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Shows that everything that passes under `a` passes under `b`.
///
/// Sound, not complete: conditions are compared as written, and a call with rules of several
/// treatments must have the same ones in both.
///
/// # Errors
/// What could not be shown.
pub fn allows_no_more_than(a: &Filter, b: &Filter) -> Result<(), Excess> {
    let (left, right) = (Normal::of(a), Normal::of(b));
    let mut excess = Excess {
        default: exceeds_default(left.default, right.default),
        ..Excess::default()
    };
    for name in left.names.union(&right.names) {
        let of_left = branches(&left, name);
        let of_right = branches(&right, name);
        // The same rule with another supervisor is another rule.
        let asks = |branch: &Branch| branch.treatment.action == Action::Notify;
        let same =
            of_left == of_right && (left.listener == right.listener || !of_left.iter().any(asks));
        if !same && !covered(&of_left, left.default, &of_right, right.default) {
            excess.calls.push((*name).to_owned());
        }
    }
    excess.calls.extend(multiplexed_excess(&left, &right));
    let native = crate::Arch::HOST;
    excess.architectures = left
        .architectures
        .iter()
        .filter(|arch| **arch != native && !right.architectures.contains(arch))
        .map(ToString::to_string)
        .collect();
    let speculates = |normal: &Normal<'_>| match &normal.flags {
        None => true,
        Some(flags) => flags.contains(&Flag::SpecAllow),
    };
    excess.speculation = speculates(&left) && !speculates(&right);
    if excess == Excess::default() {
        Ok(())
    } else {
        Err(excess)
    }
}

/// Calls that meet in `socketcall` and `ipc` can't be compared one by one: a rule of `b` against one
/// of them may stop a call that `a` lets through under the multiplexer's name. Where an architecture
/// has the multiplexers and `b` passes what it does not name, their rules must be the same in both.
fn multiplexed_excess(a: &Normal<'_>, b: &Normal<'_>) -> Vec<String> {
    let named = |normal: &Normal<'_>| -> Vec<(String, Vec<Branch>)> {
        let family = normal.rules.iter().filter(|(name, _)| is_multiplexed(name));
        family
            .map(|(name, branches)| ((*name).to_owned(), branches.clone()))
            .collect()
    };
    let (of_a, of_b) = (named(a), named(b));
    if !a.multiplexes() || !b.default.action.lets_through() || of_b.is_empty() || of_a == of_b {
        return Vec::new();
    }
    of_b.into_iter().map(|(name, _)| name).collect()
}

fn exceeds_default(a: Treatment, b: Treatment) -> bool {
    a != b && a.might_pass() && !b.action.lets_through()
}

/// A name's rules; without any, the default.
fn branches(normal: &Normal<'_>, name: &str) -> Vec<Branch> {
    normal.rules.get(name).cloned().unwrap_or_else(|| {
        vec![Branch {
            treatment: normal.default,
            conditions: Vec::new(),
        }]
    })
}

/// Whether what passes by `a` surely passes by `b`.
fn covered(a: &[Branch], a_default: Treatment, b: &[Branch], b_default: Treatment) -> bool {
    let open = |branches: &[Branch], default: Treatment| {
        // Calls that no condition meets fall to the default.
        let always = branches.iter().any(|branch| branch.conditions.is_empty());
        (!always).then_some(Branch {
            treatment: default,
            conditions: Vec::new(),
        })
    };
    let passing: Vec<Branch> = a
        .iter()
        .cloned()
        .chain(open(a, a_default))
        .filter(|branch| branch.treatment.might_pass())
        .collect();
    if passing.is_empty() {
        return true;
    }
    let of_b: Vec<Branch> = b.iter().cloned().chain(open(b, b_default)).collect();
    if of_b
        .iter()
        .all(|branch| branch.treatment.action.lets_through())
    {
        return true;
    }
    let one_treatment = b.iter().all(|branch| branch.treatment == b[0].treatment);
    one_treatment
        && b[0].treatment.action.lets_through()
        && passing.iter().all(|branch| {
            b.iter().any(|other| {
                other
                    .conditions
                    .iter()
                    .all(|c| branch.conditions.contains(c))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Arch,
        fixtures::{filter, is},
    };

    const DENY: Action = Action::Errno;
    const ALLOW: Action = Action::Allow;

    #[test]
    fn a_subset_is_shown() {
        let big = filter(
            DENY,
            &[
                ("read", ALLOW, &[]),
                ("mkdir", ALLOW, &[]),
                ("clone", ALLOW, &[is(0, 1)]),
            ],
        );
        for small in [
            filter(DENY, &[("read", ALLOW, &[])]),
            filter(Action::KillProcess, &[("read", Action::Log, &[])]),
            filter(DENY, &[("mkdir", ALLOW, &[is(1, 7)])]),
            filter(DENY, &[("clone", ALLOW, &[is(0, 1), is(1, 2)])]),
            big.clone(),
        ] {
            assert_eq!(allows_no_more_than(&small, &big), Ok(()), "{small:?}");
        }
        let permissive = filter(ALLOW, &[("mkdir", DENY, &[])]);
        let stricter = filter(ALLOW, &[("mkdir", DENY, &[]), ("rmdir", DENY, &[is(0, 1)])]);
        assert_eq!(allows_no_more_than(&stricter, &permissive), Ok(()));
        assert!(allows_no_more_than(&permissive, &stricter).is_err());
    }

    #[test]
    fn calls_behind_a_multiplexer_are_compared_together() {
        let on_x86 = |filter: Filter| Filter {
            architectures: vec![Arch::X86],
            ..filter
        };
        let a = on_x86(filter(DENY, &[("socketcall", ALLOW, &[])]));
        let b = on_x86(filter(ALLOW, &[("socket", DENY, &[])]));
        assert_eq!(allows_no_more_than(&a, &b).unwrap_err().calls, ["socket"]);
        assert_eq!(allows_no_more_than(&b, &b), Ok(()));
    }

    #[test]
    fn another_supervisor_is_an_excess() {
        let ask = |path: &str| Filter {
            listener_path: Some(path.to_owned()),
            ..filter(DENY, &[("mount", Action::Notify, &[])])
        };
        assert_eq!(allows_no_more_than(&ask("/a"), &ask("/a")), Ok(()));
        assert_eq!(
            allows_no_more_than(&ask("/a"), &ask("/b"))
                .unwrap_err()
                .calls,
            ["mount"]
        );
    }

    #[test]
    fn an_excess_is_named() {
        let small = filter(
            DENY,
            &[
                ("read", ALLOW, &[]),
                ("clone", ALLOW, &[is(0, 1)]),
                ("mkdir", DENY, &[]),
            ],
        );
        let names = |filter: &Filter| allows_no_more_than(filter, &small).unwrap_err().calls;
        assert_eq!(names(&filter(DENY, &[("rmdir", ALLOW, &[])])), ["rmdir"]);
        assert_eq!(names(&filter(DENY, &[("clone", ALLOW, &[])])), ["clone"]);
        assert_eq!(
            names(&filter(DENY, &[("clone", ALLOW, &[is(0, 2)])])),
            ["clone"]
        );
        assert_eq!(
            names(&filter(DENY, &[("mkdir", Action::Trace, &[])])),
            ["mkdir"]
        );
        assert!(
            allows_no_more_than(&Filter::new(ALLOW), &small)
                .unwrap_err()
                .default
        );
        let mut more = small.clone();
        more.architectures = vec![Arch::S390X];
        assert_eq!(
            allows_no_more_than(&more, &small)
                .unwrap_err()
                .architectures
                .len(),
            1
        );
        let mut flagged = small.clone();
        flagged.flags = Some(vec![]);
        assert!(
            allows_no_more_than(&small, &flagged)
                .unwrap_err()
                .speculation
        );
    }
}
