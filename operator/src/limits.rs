//! The operator's own rules for profiles, as its command line says them: agents and controllers take the
//! same ones.

use portcullis_profile::{
    Action,
    compose::base::NAMES,
    program::limits::{Limits, call_name},
};
use std::collections::BTreeSet;

/// Rules for profiles. One that breaks them is not valid, and no node gets its file.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Rules for profiles")]
pub struct LimitArguments {
    /// The only system calls that profiles may let through, besides those of container runtimes (`runtimeBase`); repeatable [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = call_name)]
    allowed_syscalls: Vec<String>,
    /// System calls that no profile may let through; repeatable [default: none]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = call_name)]
    forbidden_syscalls: Vec<String>,
    /// The only actions that profiles may use, as in `SCMP_ACT_ERRNO`; repeatable [default: all]
    #[arg(long, value_name = "ACTION,...", value_delimiter = ',')]
    allowed_seccomp_actions: Vec<Action>,
    /// Actions that no profile may use; repeatable [default: none]
    #[arg(long, value_name = "ACTION,...", value_delimiter = ',')]
    forbidden_seccomp_actions: Vec<Action>,
}

impl From<LimitArguments> for Limits {
    fn from(arguments: LimitArguments) -> Limits {
        let mut allowed: BTreeSet<String> = arguments.allowed_syscalls.into_iter().collect();
        if !allowed.is_empty() {
            // No container starts without them, and which they are is up to this version.
            allowed.extend(NAMES.iter().map(|name| (*name).to_owned()));
        }
        Limits {
            allowed_calls: allowed,
            forbidden_calls: arguments.forbidden_syscalls.into_iter().collect(),
            allowed_actions: arguments.allowed_seccomp_actions.into_iter().collect(),
            forbidden_actions: arguments.forbidden_seccomp_actions.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn parse(arguments: &[&str]) -> Result<Limits, String> {
        Line::try_parse_from([&["x"], arguments].concat())
            .map(|line| line.limits.into())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_given_at_once_or_one_by_one() {
        assert_eq!(parse(&[]).unwrap(), Limits::default());
        let once = parse(&["--forbidden-syscalls", "bpf,ptrace"]).unwrap();
        let each = ["--forbidden-syscalls", "ptrace", "--forbidden-syscalls=bpf"];
        assert_eq!(once, parse(&each).unwrap());
        let actions = parse(&["--allowed-seccomp-actions=SCMP_ACT_ERRNO,SCMP_ACT_ALLOW"]).unwrap();
        assert_eq!(
            actions.allowed_actions,
            [Action::Allow, Action::Errno].into()
        );
    }

    #[test]
    fn what_container_runtimes_need_is_always_among_the_allowed_calls() {
        let limits = parse(&["--allowed-syscalls=mkdir"]).unwrap().allowed_calls;
        assert!(limits.contains("mkdir") && limits.contains("execve"));
        assert!(!limits.contains("rmdir"));
    }

    #[test]
    fn a_mistyped_name_is_refused_and_so_is_an_empty_one() {
        for (arguments, expected) in [
            (["--forbidden-syscalls=ptrce"], "did you mean \"ptrace\"?"),
            (
                ["--forbidden-syscalls=bpf,,ptrace"],
                "there is no system call \"\"",
            ),
            (["--allowed-syscalls="], "there is no system call \"\""),
            (
                ["--forbidden-seccomp-actions=ALLOW"],
                "unknown action \"ALLOW\"",
            ),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
