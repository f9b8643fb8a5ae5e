//! The runtimes' base: the calls that crun and runc themselves make between loading the filter and
//! executing the container's program.

use crate::{Action, Filter, Rule};

/// The calls that every container needs in addition to those of its program.
///
/// Measured with the recorder on crun 1.8.1 and runc 1.1.5 under Podman, as root and as another
/// user, with and without `no_new_privs`, supplementary groups, a TTY and a working directory, ten
/// times each under runc: the calls made after the filter was loaded, without those that strace
/// shows for the static program in the container; and the same for `podman exec`. Added to these
/// are calls that Go's scheduler makes only in some runs of runc, calls that C libraries make when
/// a program starts, and calls that every process needs to exit, to return from signals, and to wait
/// on after it was stopped (`restart_syscall`, which the kernel puts in the place of the wait).
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
    "restart_syscall",
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

/// Calls that Go's scheduler may make at any moment in a runtime written in Go, such as runc: to
/// wait, to wake and interrupt threads, and for memory. It is a matter of chance which of them a
/// recording captures, and a runtime that is denied one dies before it executes the program.
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
