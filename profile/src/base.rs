//! What crun and runc call themselves under a container's filter: between its load and the entry
//! point's execve, and in processes that are executed into the container.
//!
//! Measured with the recorder and `strace -f` on crun 1.8.1 and runc 1.1.5, as root and as another
//! user, with and without `no_new_privs`, supplementary groups, a TTY and a working directory; to
//! it come the calls with which runc's language runtime (Go) schedules its threads, which show up
//! in some runs only.

use crate::{Action, Filter, Rule, stack::stack};

/// The names, sorted.
pub const RUNTIME_BASE: [&str; 47] = [
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "close",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit_group",
    "faccessat2",
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
    "gettid",
    "getuid",
    "ioctl",
    "madvise",
    "mmap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "prctl",
    "pselect6",
    "read",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
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

/// A filter with the runtimes' own calls allowed where its default denies and it does not mention
/// them itself.
#[must_use]
pub fn with_runtime_base(filter: &Filter) -> Filter {
    if filter.default_action.lets_through() {
        return filter.clone();
    }
    let base = Filter {
        syscalls: vec![Rule {
            names: RUNTIME_BASE.map(str::to_owned).to_vec(),
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        }],
        ..Filter::new(filter.default_action)
    };
    stack(filter, &[&base])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::rule, syscalls};

    #[test]
    fn the_names_are_sorted_and_known() {
        assert!(RUNTIME_BASE.is_sorted());
        assert!(RUNTIME_BASE.iter().all(|name| syscalls::is_known(name)));
    }

    #[test]
    fn the_base_is_added_only_where_the_default_denies_and_never_over_a_rule() {
        let denying = Filter {
            syscalls: vec![rule(&["read"], Action::KillProcess, &[])],
            ..Filter::new(Action::Errno)
        };
        let with = with_runtime_base(&denying);
        assert_eq!(with.syscalls[0], denying.syscalls[0]);
        assert!(with.syscalls[1].names.contains(&"write".to_owned()));
        assert!(!with.syscalls[1].names.contains(&"read".to_owned()));
        let allowing = Filter::new(Action::Allow);
        assert_eq!(with_runtime_base(&allowing), allowing);
    }
}
