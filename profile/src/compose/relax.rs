//! Turns the denials of a filter into logging, so that the calls are executed and can be recorded.
//! Used for containers that are recorded, if the node's owner wants that.

use crate::{Action, Arch, Filter, Rule, filter::Treatment};
use std::collections::BTreeSet;

/// The filter that executes and logs what `filter` denies; `None` if `filter` denies nothing.
///
/// Whatever it allows without logging, `filter` allows too. A supervisor keeps deciding on the
/// calls that it is asked about ([`Action::Notify`]). Calls of unlisted architectures stay denied,
/// because no rule covers them.
pub fn relax(filter: &Filter) -> Option<Filter> {
    let mut actions = filter.syscalls.iter().map(|rule| rule.action);
    if !denies(filter.default_action) && !actions.any(denies) {
        return None;
    }
    let default = relaxed(filter.default_action);
    let vanishing = vanishing(filter, default);
    let syscalls = filter.syscalls.iter().filter_map(|rule| {
        let action = relaxed(rule.action);
        // Runtimes leave out a rule that repeats the default.
        if action == default {
            return None;
        }
        let stays = |name: &&String| action == Action::Notify || !vanishing.contains(name.as_str());
        let names: Vec<String> = rule.names.iter().filter(stays).cloned().collect();
        (!names.is_empty()).then(|| Rule {
            names,
            action,
            errno_ret: None,
            args: rule.args.clone(),
        })
    });
    Some(Filter {
        syscalls: syscalls.collect(),
        default_action: default,
        default_errno_ret: None,
        ..filter.clone()
    })
}

/// A filter that allows everything on every architecture of this host. A recorded container that
/// has no filter gets it, so that the recorder sees when it is loaded.
pub fn allowing_all() -> Filter {
    let architectures = match Arch::HOST {
        Arch::X86_64 => vec![Arch::X86_64, Arch::X86, Arch::X32],
        Arch::Aarch64 => vec![Arch::Aarch64, Arch::Arm],
        other => vec![other],
    };
    Filter {
        architectures,
        ..Filter::new(Action::Allow)
    }
}

/// Whether the kernel neither executes such a call nor asks a supervisor or tracer.
fn denies(action: Action) -> bool {
    !action.lets_through() && action != Action::Notify
}

fn relaxed(action: Action) -> Action {
    if denies(action) { Action::Log } else { action }
}

/// The calls that lose a rule because it now repeats the default. Another rule for the same call
/// must not take over what it decided: libseccomp applies an unconditional rule before all others,
/// and of two conditional rules that match the first. A supervisor may take over: it can still say
/// no.
fn vanishing(filter: &Filter, default: Action) -> BTreeSet<&str> {
    let before = Treatment::default_of(filter);
    filter
        .syscalls
        .iter()
        .filter(|rule| relaxed(rule.action) == default)
        .filter(|rule| Treatment::of(rule.action, rule.errno_ret) != before)
        .flat_map(|rule| rule.names.iter().map(String::as_str))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ArgCondition,
        fixtures::{filter, is, rule},
        program::compile::compile,
    };
    use proptest::prelude::*;

    const DENIALS: [Action; 6] = [
        Action::Errno,
        Action::Kill,
        Action::KillThread,
        Action::KillProcess,
        Action::Trap,
        Action::Trace,
    ];

    #[test]
    fn every_denial_is_logged_and_what_was_allowed_stays_so() {
        for denial in DENIALS {
            let mut denied = rule(&["mkdir"], denial, &[]);
            denied.errno_ret = denial.takes_errno().then_some(61);
            let listing = Filter {
                syscalls: vec![denied.clone(), rule(&["read"], Action::Log, &[])],
                ..Filter::new(Action::Allow)
            };
            let logged = relax(&listing).unwrap();
            assert_eq!(logged.default_action, Action::Allow);
            assert_eq!(logged.syscalls[0], rule(&["mkdir"], Action::Log, &[]));
            let allowing = Filter {
                syscalls: vec![denied, rule(&["read"], Action::Allow, &[])],
                default_errno_ret: denial.takes_errno().then_some(38),
                ..Filter::new(denial)
            };
            let expected = filter(Action::Log, &[("read", Action::Allow, &[])]);
            assert_eq!(relax(&allowing), Some(expected));
        }
    }

    #[test]
    fn a_filter_that_denies_nothing_stays_as_it_is() {
        for action in [Action::Allow, Action::Log, Action::Notify] {
            let with = |other| filter(action, &[("mkdir", other, &[])]);
            assert_eq!(relax(&with(Action::Allow)), None);
            assert_eq!(relax(&with(Action::Notify)), None);
            let logged = relax(&with(Action::Errno)).unwrap();
            assert_eq!(relax(&logged), None);
        }
    }

    #[test]
    fn a_supervisor_and_the_header_stay() {
        let mut asking = filter(
            Action::Errno,
            &[
                ("mount", Action::Notify, &[]),
                ("read", Action::Allow, &[is(0, 1)]),
            ],
        );
        asking.listener_path = Some("/run/a.sock".into());
        asking.architectures = vec![Arch::X86];
        asking.flags = Some(vec![]);
        let logged = relax(&asking).unwrap();
        assert_eq!(logged.syscalls, asking.syscalls);
        let back = Filter {
            default_action: Action::Errno,
            ..logged
        };
        assert_eq!(back, asking);
    }

    /// What a classic BPF program returns (linux/filter.h) for a call of the native architecture.
    fn returned(program: &[u8], number: u32, args: [u64; 2]) -> u32 {
        const AUDIT_ARCH: u32 = if cfg!(target_arch = "aarch64") {
            0xc000_00b7
        } else {
            0xc000_003e
        };
        let mut data = [0_u32; 16];
        (data[0], data[1]) = (number, AUDIT_ARCH);
        for (at, value) in [(4, args[0]), (6, args[1])] {
            data[at] = u32::try_from(value & 0xffff_ffff).unwrap();
            data[at + 1] = u32::try_from(value >> 32).unwrap();
        }
        let (mut at, mut a) = (0, 0_u32);
        loop {
            let one = &program[at * 8..at * 8 + 8];
            let code = u16::from_ne_bytes([one[0], one[1]]);
            let k = u32::from_ne_bytes(one[4..8].try_into().unwrap());
            let jump = |holds: bool| usize::from(if holds { one[2] } else { one[3] });
            at += 1;
            match code {
                0x20 => a = data[k as usize / 4],
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(a == k),
                0x25 => at += jump(a > k),
                0x35 => at += jump(a >= k),
                0x45 => at += jump(a & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn what_allows_all_does_so_for_each_entry() {
        let filter = allowing_all();
        assert_eq!(relax(&filter), None);
        let program = compile(&filter).unwrap();
        for number in [0, 59, 435, 100_000, 0x4000_0000] {
            assert_eq!(returned(&program, number, [0, 0]), RET_ALLOW, "{number}");
        }
        // Leaving out the answer for foreign architectures, which is to kill.
        #[cfg(target_arch = "x86_64")]
        assert!(filter.architectures.contains(&Arch::X86));
    }

    const RET_ALLOW: u32 = 0x7fff_0000;
    const RET_LOG: u32 = 0x7ffc_0000;
    const RET_NOTIFY: u32 = 0x7fc0_0000;

    fn action() -> impl Strategy<Value = Action> {
        proptest::sample::select(Action::ALL)
    }

    fn some_rule() -> impl Strategy<Value = Rule> {
        let name = proptest::sample::select(&["read", "write", "mkdir"][..]);
        let args = proptest::collection::vec((0..2_u8, 0..2_u64), 0..3);
        (name, action(), proptest::option::of(1..3_u16), args).prop_map(
            |(name, action, errno, args)| Rule {
                errno_ret: errno.filter(|_| action.takes_errno()),
                ..rule(
                    &[name],
                    action,
                    &args
                        .into_iter()
                        .map(|(index, value)| is(index, value))
                        .collect::<Vec<ArgCondition>>(),
                )
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        /// In libseccomp's program, for every call and argument: nothing is denied, nothing becomes
        /// allowed without logging, and a supervisor keeps deciding what it decided before.
        #[test]
        fn to_the_kernel_nothing_is_denied_and_nothing_more_is_allowed_silently(
            default in action(),
            syscalls in proptest::collection::vec(some_rule(), 0..6),
        ) {
            let before = Filter { syscalls, ..Filter::new(default) };
            let Some(after) = relax(&before) else {
                prop_assert!(!DENIALS.contains(&default));
                return Ok(());
            };
            // libseccomp refuses some sets of rules, which no runtime can load.
            let Ok(program) = compile(&before) else { return Ok(()) };
            let relaxed = compile(&after).unwrap();
            for name in ["read", "write", "mkdir", "rmdir"] {
                let number = crate::filter::syscalls::number(name, Arch::HOST).unwrap();
                for args in [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]] {
                    let was = returned(&program, number, args);
                    let is = returned(&relaxed, number, args);
                    prop_assert!([RET_ALLOW, RET_LOG, RET_NOTIFY].contains(&is), "{:#x}", is);
                    if is == RET_ALLOW || was == RET_NOTIFY {
                        prop_assert_eq!(was, is, "{} {:?}: {:?}", name, args, after);
                    }
                }
            }
        }
    }
}
