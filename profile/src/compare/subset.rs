//! Whether one filter allows no more than another.
//!
//! The comparison is sound: what can't be shown counts as an excess. If the normal forms differ,
//! the whole programs are walked side by side, which also covers the calls behind multiplexers, and
//! what libseccomp makes of the rules.

use crate::{
    Action, Arch, Filter, Flag,
    compare::{
        difference::first_names,
        normal::{Branch, Normal},
        side_by_side::side_by_side,
    },
    filter::{Treatment, reader::Runtime},
    program::{
        calls::{library_knows, named},
        compile::{CompileError, compiled_for, enosys_limits},
        interpret::{ARCH, NUMBER},
        layout::Programs,
        walk::{Leaf, WalkError},
    },
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Where programs come from.
pub(crate) type Compile<'a> = &'a mut dyn FnMut(&Filter) -> Result<Arc<Programs>, CompileError>;

/// What a filter allows that another one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Calls that may pass here but not there, at least with some arguments. Each includes its
    /// architecture, unless that is the host's own.
    pub calls: Vec<String>,
    /// Whether calls that no rule names pass here but not there.
    pub default: bool,
    /// Architectures that are listed only here.
    pub architectures: Vec<String>,
    /// Whether the speculative store bypass mitigation is switched off only here.
    pub speculation: bool,
    /// Why they could not be compared.
    pub unchecked: Option<String>,
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
        if let Some(why) = &self.unchecked {
            parts.push(format!("can't be compared with it: {why}"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Shows that everything that passes under `a` passes under `b`. Both must be as one runtime reads
/// them ([`Filter::as_read_by`]).
///
/// # Errors
/// What passes only under `a`, or may do so.
pub fn allows_no_more_than(a: &Filter, b: &Filter) -> Result<(), Excess> {
    excess_by(a, b, &mut |filter| {
        compiled_for(filter, Runtime::Runc).map(Arc::new)
    })
}

/// The same with programs from `compile`.
pub(crate) fn excess_by(a: &Filter, b: &Filter, compile: Compile<'_>) -> Result<(), Excess> {
    let (left, right) = (Normal::of(a), Normal::of(b));
    if left == right {
        return Ok(());
    }
    let mut excess = Excess {
        architectures: left
            .architectures
            .iter()
            .filter(|arch| **arch != Arch::HOST && !right.architectures.contains(arch))
            .map(ToString::to_string)
            .collect(),
        speculation: speculates(&left) && !speculates(&right),
        ..Excess::default()
    };
    if let Err(why) = compare_programs((a, &left), (b, &right), compile, &mut excess) {
        excess.unchecked = Some(why.to_string());
    }
    // A runtime's own libseccomp may know a name that this one does not.
    for name in left.names.union(&right.names) {
        if !library_knows(name) && !covered(&left, &right, name) {
            excess.calls.push((*name).to_owned());
        }
    }
    if excess == Excess::default() {
        Ok(())
    } else {
        Err(excess)
    }
}

/// Whether the runtimes would switch the mitigation off.
fn speculates(filter: &Normal<'_>) -> bool {
    match &filter.flags {
        None => true,
        Some(flags) => flags.contains(&Flag::SpecAllow),
    }
}

/// Whether what passes by `a` also passes by `b`: a supervisor or a tracer is asked the same there.
fn passes_as_well(a: Treatment, b: Treatment, same_listener: bool) -> bool {
    let asks_alike = a == b && (a.action != Action::Notify || same_listener);
    !a.might_pass() || b.action.lets_through() || asks_alike
}

/// Why programs can't be compared.
#[derive(Debug, thiserror::Error)]
enum NotCompared {
    #[error("{0}")]
    NotBuilt(#[from] CompileError),
    #[error("{0}")]
    NotWalked(#[from] WalkError),
}

/// Adds the calls that pass in the program of `a` but not in that of `b`.
fn compare_programs(
    (a, left): (&Filter, &Normal<'_>),
    (b, right): (&Filter, &Normal<'_>),
    compile: Compile<'_>,
    excess: &mut Excess,
) -> Result<(), NotCompared> {
    let same_listener = left.listener == right.listener;
    // runc answers ENOSYS where the default of `b` would ask a supervisor.
    if left.default.action == Action::Notify && enosys_limits(a)? != enosys_limits(b)? {
        excess.default = true;
    }
    // Where each call passes.
    let mut calls: BTreeMap<String, Vec<Arch>> = BTreeMap::new();
    let mut look = |leaf: &Leaf<'_>, of_a, of_b| {
        if passes_as_well(of_a, of_b, same_listener) {
            return Ok(());
        }
        match call(leaf) {
            None => excess.default = true,
            // Said of the architecture as a whole.
            Some((arch, _)) if excess.architectures.iter().any(|a| a == arch.as_str()) => {}
            Some((arch, name)) => {
                let arches = calls.entry(name).or_default();
                if !arches.contains(&arch) {
                    arches.push(arch);
                }
            }
        }
        Ok::<(), WalkError>(())
    };
    for (a, b) in compile(a)?.beside(&*compile(b)?) {
        side_by_side(a, b, &mut look)?;
    }
    excess.calls = calls
        .into_iter()
        .map(|(name, arches)| match arches.first() {
            Some(arch) if !arches.contains(&Arch::HOST) => format!("{name} on {arch}"),
            _ => name,
        })
        .collect();
    Ok(())
}

/// The call in a set, if there is only one.
fn call(leaf: &Leaf<'_>) -> Option<(Arch, String)> {
    named(
        leaf.region.word(ARCH).value()?,
        leaf.region.word(NUMBER).value()?,
    )
}

/// Whether everything that passes by one filter's rules for a name certainly passes by the other's,
/// judging by the rules alone.
fn covered(a: &Normal<'_>, b: &Normal<'_>, name: &str) -> bool {
    let same_listener = a.listener == b.listener;
    let default = |normal: &Normal<'_>| Branch {
        treatment: normal.default,
        conditions: Vec::new(),
    };
    // Calls that no condition meets fall to the default.
    let all = |normal: &Normal<'_>| -> Vec<Branch> {
        let mut all = normal
            .rules
            .get(name)
            .map_or_else(Vec::new, |rules| rules.to_vec());
        if !all.iter().any(|branch| branch.conditions.is_empty()) {
            all.push(default(normal));
        }
        all
    };
    let (of_a, of_b) = (all(a), all(b));
    of_a.iter().all(|here| {
        of_b.iter()
            .all(|there| passes_as_well(here.treatment, there.treatment, same_listener))
    }) || (of_a == of_b && a.default == b.default && same_listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ArgCondition, Operator, Rule,
        fixtures::{filter, is, rule},
        program::{
            Program,
            calls::{audit_arch, entry},
            compile::compiled,
            interpret::Call,
        },
    };
    use proptest::{
        prelude::*,
        test_runner::{Config, TestCaseError, TestRunner},
    };
    use std::cell::Cell;

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
        let said = |a, b| allows_no_more_than(a, b).unwrap_err().to_string();
        let expected = "allows socketcall on SCMP_ARCH_X86 where the default does not";
        assert_eq!(said(&a, &b), expected);
        assert_eq!(allows_no_more_than(&b, &b), Ok(()));
        // A7: a rule for `socket` also opens `socketcall`, which the other one closes.
        let opens = on_x86(filter(DENY, &[("socket", ALLOW, &[])]));
        let closes = on_x86(filter(ALLOW, &[("socketcall", DENY, &[])]));
        assert_eq!(said(&opens, &closes), expected);
        let ipc = [
            on_x86(filter(DENY, &[("semget", ALLOW, &[])])),
            on_x86(filter(ALLOW, &[("ipc", DENY, &[])])),
        ];
        assert!(said(&ipc[0], &ipc[1]).starts_with("allows ipc on SCMP_ARCH_X86 "));
        let native = filter(DENY, &[("socket", ALLOW, &[])]);
        assert_eq!(allows_no_more_than(&native, &closes), Ok(()));
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

    #[test]
    fn what_can_not_be_compared_is_an_excess() {
        let small = filter(DENY, &[("read", ALLOW, &[])]);
        let cut = filter(DENY, &[("mkdir\0", DENY, &[]), ("rmdir\0", ALLOW, &[])]);
        for (a, b) in [(&small, &cut), (&cut, &small)] {
            let said = allows_no_more_than(a, b).unwrap_err().to_string();
            assert!(said.contains("can't be compared with it: "), "{said}");
        }
        // A runtime's libseccomp may know what this one does not.
        let new = filter(DENY, &[("read", ALLOW, &[]), ("not_a_call", ALLOW, &[])]);
        let excess = allows_no_more_than(&new, &small).unwrap_err();
        assert_eq!(excess.calls, ["not_a_call"]);
        assert_eq!(allows_no_more_than(&small, &new), Ok(()));
    }

    const NAMES: [&str; 9] = [
        "read",
        "mkdir",
        "clone",
        "socketcall",
        "socket",
        "accept",
        "ipc",
        "semget",
        "umount",
    ];

    fn some_rule() -> impl Strategy<Value = Rule> {
        let names = prop::sample::subsequence(NAMES.to_vec(), 1..4);
        let action = prop_oneof![
            5 => Just(ALLOW),
            3 => Just(DENY),
            1 => Just(Action::KillProcess),
            1 => Just(Action::Log),
            1 => Just(Action::Trace),
        ];
        let operator = prop::sample::select(vec![Operator::Eq, Operator::Ne, Operator::Gt]);
        let condition = (0_u8..2, 0_u64..3, operator).prop_map(|(index, value, op)| ArgCondition {
            op,
            ..is(index, value)
        });
        (names, action, prop::collection::vec(condition, 0..2))
            .prop_map(|(names, action, args)| rule(&names, action, &args))
    }

    fn some_filter() -> impl Strategy<Value = Filter> {
        let architectures = prop::sample::select(vec![
            vec![],
            vec![Arch::X86_64, Arch::X86, Arch::X32],
            vec![Arch::X86_64, Arch::X86],
            vec![Arch::X86_64, Arch::S390X],
        ]);
        let default = prop::sample::select(vec![ALLOW, DENY, DENY, Action::Log]);
        let rules = prop::collection::vec(some_rule(), 0..4);
        (default, architectures, rules).prop_map(|(default, architectures, syscalls)| Filter {
            architectures,
            syscalls,
            ..Filter::new(default)
        })
    }

    /// The filter without some rules, and with others.
    fn varied(filter: &Filter, kept: u8, added: Vec<Rule>) -> Filter {
        let mut other = filter.clone();
        let mut at = 0;
        other.syscalls.retain(|_| {
            at += 1;
            kept & (1 << (at - 1)) != 0
        });
        other.syscalls.extend(added);
        other
    }

    fn some_call() -> impl Strategy<Value = Call> {
        let arch = prop::sample::select(vec![Arch::X86_64, Arch::X32, Arch::X86, Arch::S390X]);
        let number =
            prop_oneof![9 => (0..NAMES.len()).prop_map(Err), 1 => (0_u32..500).prop_map(Ok)];
        (arch, number, [0_u64..4, 0_u64..4]).prop_map(|(arch, number, [first, second])| Call {
            number: number.unwrap_or_else(|name| entry(NAMES[name], arch).number().unwrap_or(1)),
            arch: audit_arch(arch).unwrap(),
            pointer: 0,
            arguments: [first, second, 0, 0, 0, 0],
        })
    }

    /// A filter found to be no looser lets no call pass that the other one stops.
    #[test]
    fn no_call_passes_under_what_is_shown_to_allow_no_more_alone() {
        let mut runner = TestRunner::new(Config {
            cases: 400,
            failure_persistence: None,
            ..Config::default()
        });
        let (shown, passed) = (Cell::new(0), Cell::new(0));
        let all = (
            some_filter(),
            any::<u8>(),
            prop::collection::vec(some_rule(), 0..2),
            prop::collection::vec(some_call(), 64),
        );
        let result = runner.run(&all, |(b, kept, added, calls)| {
            let a = varied(&b, kept, added);
            let (Ok(of_a), Ok(of_b)) = (compiled(&a), compiled(&b)) else {
                return Err(TestCaseError::reject("libseccomp refuses it"));
            };
            let looser: Vec<&Call> = calls
                .iter()
                .filter(|call| {
                    let of = |program: &Program| Treatment::of_answer(program.run(call));
                    passed.set(passed.get() + u32::from(of(&of_a).might_pass()));
                    !passes_as_well(of(&of_a), of(&of_b), true)
                })
                .collect();
            if allows_no_more_than(&a, &b).is_ok() {
                shown.set(shown.get() + u32::from(a != b));
                prop_assert!(looser.is_empty(), "{:?}\n{:?}\n{:?}", looser, a, b);
            }
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
        assert!(
            shown.get() > 40 && passed.get() > 400,
            "{shown:?} {passed:?}"
        );
    }
}
