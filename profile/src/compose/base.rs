//! The runtimes' base: the calls that crun and runc themselves make after they loaded a filter,
//! until the container's program runs.

use crate::{Action, Filter, Rule};

/// What every container needs beside its program's own calls.
///
/// Measured with the recorder on crun 1.8.1 and runc 1.1.5 under Podman, as root and as another user,
/// with and without `no_new_privs`, supplementary groups, a TTY and a working directory, ten times
/// each under runc: what a static program's containers called behind the load of their filter
/// beyond what strace shows of that program; and the same of `podman exec`. To it come what Go's
/// scheduler calls in some runs of runc only, what C libraries call when a program starts, and the
/// calls without which no process ends or returns from a signal.
pub const NAMES: &[&str] = &[
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "close",
    "close_range",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "prctl",
    "pselect6",
    "read",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "seccomp",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "sigaltstack",
    "statx",
    "tgkill",
    "umask",
    "write",
];

/// What Go's scheduler may call at any moment in a runtime that is written in Go, such as runc: to
/// wait, to wake and to interrupt threads, for memory. Which of these a recording sees is chance, and
/// a runtime whose scheduler is denied one dies before it executes the program.
pub const GO_NAMES: &[&str] = &[
    "epoll_pwait",
    "futex",
    "getpid",
    "madvise",
    "mmap",
    "munmap",
    "nanosleep",
    "read",
    "rt_sigreturn",
    "sched_yield",
    "tgkill",
    "write",
];

/// [`NAMES`] as a base for [`crate::compose::stack::stack`].
pub fn runtime_base() -> Filter {
    let rule = Rule {
        names: NAMES.iter().map(|name| (*name).to_owned()).collect(),
        action: Action::Allow,
        errno_ret: None,
        args: Vec::new(),
    };
    Filter {
        syscalls: vec![rule],
        ..Filter::new(Action::Errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_known_and_in_order() {
        assert!(NAMES.is_sorted());
        for name in NAMES {
            assert!(crate::filter::syscalls::is_known(name), "{name}");
        }
        assert!(GO_NAMES.is_sorted());
        for name in GO_NAMES {
            assert!(NAMES.contains(name), "{name}");
        }
    }
}
