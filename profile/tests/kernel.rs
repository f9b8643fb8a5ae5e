//! What `equal` calls equal is equal to the kernel: every system call number is probed under both
//! filters, in child processes.
//!
//! A first filter answers every call with an errno of its own, so nothing is executed; the filter
//! under test is loaded over it. The kernel takes the strictest answer and, among equally strict
//! ones, the newest filter's (`kernel/seccomp.c`, `seccomp_run_filters`), so an errno of the tested
//! filter shows, and where it lets a call pass, the first filter's does.

#![allow(unsafe_code, clippy::unwrap_used)] // children are forked and load raw filters

use libc::{c_int, c_long};
use portcullis_profile::{Action, ArgCondition, Filter, Operator, Rule, compile::compile, equal};
use std::ptr;

/// The first filter's errno; no profile uses it.
const PASSED: u16 = 4000;
/// Where a call killed the child.
const KILLED: i32 = -1;
const NUMBERS: usize = 600;
/// First arguments to try with each number.
const ARGUMENTS: [[c_long; 3]; 7] = [
    [0, 0, 0],
    [2, 3, 0],
    [1, 0, 0],
    [2, 1, 0],
    [3, 2, 1],
    [0, 3, 9],
    [16, 3, 9],
];
const PROBES: usize = NUMBERS * ARGUMENTS.len();

/// What the children and the test share.
#[repr(C)]
struct Board {
    next: usize,
    outcomes: [i32; PROBES],
}

fn load(program: &[u8]) -> c_long {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len() / 8).unwrap_or(0),
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program outlives the call, and the kernel copies it.
    unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) }
}

/// The child: loads both filters, then probes until it is done or killed.
fn probe(board: *mut Board, first: &[u8], tested: &[u8]) -> ! {
    // SAFETY: only calls that are safe between fork and exit; the board is shared memory of the
    // size of a Board that only this child writes while it lives.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        if load(first) != 0 || load(tested) != 0 {
            libc::_exit(1);
        }
        while (*board).next < PROBES {
            let index = (*board).next;
            (*board).next = index + 1;
            let number = c_long::try_from(index / ARGUMENTS.len()).unwrap_or(0);
            // These pass the first filter, which was loaded by one and ends by the other.
            if number == libc::SYS_seccomp || number == libc::SYS_exit_group {
                continue;
            }
            let [a, b, c] = ARGUMENTS[index % ARGUMENTS.len()];
            (*board).outcomes[index] = KILLED;
            let answer = libc::syscall(number, a, b, c, 0, 0, 0);
            (*board).outcomes[index] = if answer == -1 {
                *libc::__errno_location()
            } else {
                0
            };
        }
        libc::_exit(0);
    }
}

fn outcomes(filter: &Filter) -> Vec<i32> {
    let first = Filter {
        syscalls: vec![rule(&["seccomp", "exit_group"], Action::Allow, None, &[])],
        default_errno_ret: Some(PASSED),
        ..Filter::new(Action::Errno)
    };
    let (first, tested) = (compile(&first).unwrap(), compile(filter).unwrap());
    // SAFETY: a fresh anonymous shared mapping, zeroed and large enough for a Board, which is valid
    // when zeroed; it is unmapped after the last use.
    unsafe {
        let size = size_of::<Board>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let board: *mut Board = libc::mmap(ptr::null_mut(), size, access, flags, -1, 0).cast();
        assert_ne!(board.cast(), libc::MAP_FAILED);
        let next = || (&raw const (*board).next).read_volatile();
        while next() < PROBES {
            let before = next();
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                probe(board, &first, &tested);
            }
            let mut status: c_int = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(
                next() > before,
                "the filters could not be loaded: {status:#x}"
            );
        }
        let found = (*board).outcomes.to_vec();
        libc::munmap(board.cast(), size);
        found
    }
}

fn rule(names: &[&str], action: Action, errno: Option<u16>, args: &[ArgCondition]) -> Rule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Rule {
        names,
        action,
        errno_ret: errno,
        args: args.to_vec(),
    }
}

fn condition(index: u8, op: Operator, value: u64, value_two: u64) -> ArgCondition {
    ArgCondition {
        index,
        value,
        value_two,
        op,
    }
}

/// Pairs that are written differently, of every kind of rewrite that `equal` sees through.
fn pairs() -> Vec<(Filter, Filter)> {
    use Operator::{Eq, Gt, MaskedEq, Ne};
    let with = |default, rules: &[Rule]| Filter {
        syscalls: rules.to_vec(),
        ..Filter::new(default)
    };
    let mut pairs = Vec::new();
    for (default, action, errno) in [
        (Action::Allow, Action::Errno, Some(61)),
        (Action::Errno, Action::Allow, None),
        (Action::Allow, Action::KillProcess, None),
        (Action::Errno, Action::Trap, None),
        (Action::Log, Action::Errno, Some(5)),
    ] {
        let one = |names: &[&str], args: &[ArgCondition]| rule(names, action, errno, args);
        let a0 = condition(0, Eq, 1, 0);
        let a1 = condition(1, Eq, 3, 0);
        pairs.push((
            with(default, &[one(&["mkdir", "ioctl", "mount"], &[])]),
            with(
                default,
                &[one(&["mount"], &[]), one(&["ioctl", "mkdir", "mkdir"], &[])],
            ),
        ));
        pairs.push((
            with(default, &[one(&["mkdir"], &[])]),
            with(
                default,
                &[
                    one(&["mkdir"], &[a0]),
                    one(&["mkdir"], &[]),
                    one(&["mkdir"], &[a1]),
                ],
            ),
        ));
        pairs.push((
            with(default, &[one(&["clone"], &[a1, condition(0, Eq, 2, 7)])]),
            with(default, &[one(&["clone"], &[condition(0, Eq, 2, 0), a1])]),
        ));
        pairs.push((
            with(default, &[one(&["clone"], &[a0, condition(0, Eq, 2, 0)])]),
            with(
                default,
                &[
                    one(&["clone"], &[condition(0, Eq, 2, 0)]),
                    one(&["clone"], &[a0]),
                ],
            ),
        ));
        pairs.push((
            with(
                default,
                &[
                    one(&["clone"], &[condition(0, MaskedEq, 3, 1)]),
                    one(&["read"], &[]),
                ],
            ),
            with(
                default,
                &[
                    one(&["read"], &[]),
                    one(&["clone"], &[condition(0, MaskedEq, 3, 1)]),
                ],
            ),
        ));
        pairs.push((
            with(
                default,
                &[
                    one(&["socket"], &[condition(2, Ne, 9, 0)]),
                    one(&["socket"], &[condition(0, Gt, 2, 0)]),
                ],
            ),
            with(
                default,
                &[
                    one(&["socket"], &[condition(0, Gt, 2, 0)]),
                    one(&["socket"], &[condition(2, Ne, 9, 1)]),
                ],
            ),
        ));
    }
    let killing = |action| with(Action::Allow, &[rule(&["mkdir"], action, None, &[])]);
    pairs.push((killing(Action::Kill), killing(Action::KillThread)));
    pairs
}

#[test]
fn what_is_called_equal_is_equal_to_the_kernel() {
    for (a, b) in pairs() {
        assert!(equal(&a, &b).unwrap(), "{a:?}\n{b:?}");
        let (of_a, of_b) = (outcomes(&a), outcomes(&b));
        assert_eq!(of_a, of_b, "{a:?}\n{b:?}");
        // The probe saw more than one kind of answer, or it would show nothing.
        assert_ne!(of_a.iter().min(), of_a.iter().max(), "{a:?}");
    }
}

#[test]
fn the_probe_sees_a_changed_condition() {
    let with = |value| Filter {
        syscalls: vec![rule(
            &["clone"],
            Action::Errno,
            Some(61),
            &[condition(0, Operator::Eq, value, 0)],
        )],
        ..Filter::new(Action::Allow)
    };
    assert!(!equal(&with(1), &with(2)).unwrap());
    assert_ne!(outcomes(&with(1)), outcomes(&with(2)));
}
