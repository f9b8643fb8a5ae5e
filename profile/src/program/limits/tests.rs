use super::*;
use crate::{
    ArgCondition, Filter, Rule,
    filter::reader::Runtime,
    fixtures::{is, rule},
    program::{Examiner, Exceeds, Memo},
};

const DENY: Action = Action::Errno;
const ALLOW: Action = Action::Allow;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn forbidding(names: &[&str]) -> Limits {
    Limits {
        forbidden_calls: set(names),
        ..Limits::default()
    }
}

fn allowing(names: &[&str]) -> Limits {
    Limits {
        allowed_calls: set(names),
        ..Limits::default()
    }
}

fn of(default: Action, architectures: &[Arch], syscalls: Vec<Rule>) -> Filter {
    Filter {
        architectures: architectures.to_vec(),
        syscalls,
        ..Filter::new(default)
    }
}

/// What a filter does beyond the limits, in words; empty if nothing.
fn excess(filter: &Filter, limits: &Limits) -> String {
    match Examiner::new(&Memo::none()).within(filter, limits, Runtime::Either) {
        Ok(()) => String::new(),
        Err(Exceeds::NotAllowed(excess)) => excess,
        Err(Exceeds::Unchecked(why)) => panic!("{filter:?}: {why}"),
    }
}

fn forbidden(what: &str) -> String {
    format!("lets through {what}, forbidden by --forbidden-syscalls")
}

#[test]
fn a_forbidden_call_must_not_pass_whatever_lets_it() {
    let ptrace = forbidding(&["ptrace"]);
    let one = |action: Action, args: &[ArgCondition]| vec![rule(&["ptrace"], action, args)];
    for (filter, expected) in [
        (of(DENY, &[], one(ALLOW, &[])), "ptrace (syscalls[0])"),
        (of(DENY, &[], one(Action::Log, &[])), "ptrace (syscalls[0])"),
        (
            of(DENY, &[], one(Action::Trace, &[])),
            "ptrace (syscalls[0])",
        ),
        (
            of(DENY, &[], one(Action::Notify, &[])),
            "ptrace (syscalls[0])",
        ),
        (
            of(DENY, &[], one(ALLOW, &[is(0, 16)])),
            "ptrace (syscalls[0])",
        ),
        (of(ALLOW, &[], vec![]), "ptrace (defaultAction)"),
        (of(Action::Log, &[], vec![]), "ptrace (defaultAction)"),
        (
            of(ALLOW, &[], one(DENY, &[is(0, 16)])),
            "ptrace (defaultAction)",
        ),
        (of(DENY, &[], vec![rule(&["mkdir"], ALLOW, &[])]), ""),
        (of(DENY, &[], one(DENY, &[])), ""),
        (of(ALLOW, &[], one(DENY, &[])), ""),
        (of(ALLOW, &[], one(Action::KillProcess, &[])), ""),
        (of(ALLOW, &[], one(Action::Trap, &[])), ""),
    ] {
        let asks = filter.syscalls.iter().any(|it| it.action == Action::Notify);
        let filter = Filter {
            listener_path: asks.then(|| "/run/notify.sock".to_owned()),
            ..filter
        };
        let expected = match expected {
            "" => String::new(),
            what => forbidden(what),
        };
        assert_eq!(excess(&filter, &ptrace), expected, "{filter:?}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_counts_on_every_architecture_and_behind_its_multiplexer() {
    let x86 = [Arch::X86_64, Arch::X86];
    let every = [Arch::X86_64, Arch::X86, Arch::X32];
    let allow = |names: &[&str]| vec![rule(names, ALLOW, &[])];
    let deny = |names: &[&str]| vec![rule(names, DENY, &[])];
    let by = "socket by socketcall on SCMP_ARCH_X86";
    for (filter, limits, expected) in [
        // `umount` is a call of its own on x86 alone.
        (
            of(DENY, &x86, allow(&["umount"])),
            forbidding(&["umount"]),
            forbidden("umount on SCMP_ARCH_X86 (syscalls[0])"),
        ),
        (
            of(DENY, &[], allow(&["umount"])),
            forbidding(&["umount"]),
            String::new(),
        ),
        (
            of(ALLOW, &every, deny(&["bpf"])),
            forbidding(&["bpf"]),
            String::new(),
        ),
        (
            of(DENY, &x86, allow(&["socketcall"])),
            forbidding(&["socket"]),
            forbidden(&format!("{by} (syscalls[0])")),
        ),
        (
            of(DENY, &x86, allow(&["socket"])),
            forbidding(&["socket"]),
            forbidden(&format!("socket (syscalls[0]), {by} (syscalls[0])")),
        ),
        (
            of(DENY, &x86, allow(&["connect"])),
            forbidding(&["socket"]),
            String::new(),
        ),
        (
            of(ALLOW, &x86, deny(&["socket", "socketcall"])),
            forbidding(&["socket"]),
            String::new(),
        ),
        // The kernel takes only the low half of the first argument of `ipc`.
        (
            of(ALLOW, &x86, deny(&["semop", "semtimedop"])),
            forbidding(&["semop"]),
            forbidden("semop by ipc on SCMP_ARCH_X86 (defaultAction)"),
        ),
        (
            of(ALLOW, &x86, deny(&["semop", "ipc"])),
            forbidding(&["semop"]),
            String::new(),
        ),
        (
            of(DENY, &x86, allow(&["semget"])),
            forbidding(&["semop"]),
            String::new(),
        ),
    ] {
        assert_eq!(excess(&filter, &limits), expected, "{filter:?}");
    }
}

#[test]
fn nothing_but_what_is_listed_may_pass() {
    let listed = allowing(&["read", "mkdir"]);
    let allow = |names: &[&str]| vec![rule(names, ALLOW, &[])];
    let other = |what: &str| format!("lets through {what}, not listed in --allowed-syscalls");
    let all = "lets through calls that no rule names (defaultAction), while --allowed-syscalls \
               lists those that may pass";
    for (filter, expected) in [
        (of(DENY, &[], vec![]), String::new()),
        (of(DENY, &[], allow(&["read"])), String::new()),
        (
            of(DENY, &[], vec![rule(&["mkdir"], ALLOW, &[is(1, 0)])]),
            String::new(),
        ),
        (
            of(DENY, &[], allow(&["read", "rmdir"])),
            other("rmdir (syscalls[0])"),
        ),
        (
            of(DENY, &[], vec![rule(&["rmdir"], Action::Log, &[is(1, 7)])]),
            other("rmdir (syscalls[0])"),
        ),
        (
            of(DENY, &[], vec![rule(&["rmdir"], Action::Kill, &[])]),
            String::new(),
        ),
        (of(ALLOW, &[], vec![]), all.to_owned()),
        (of(Action::Trace, &[], allow(&["read"])), all.to_owned()),
    ] {
        assert_eq!(excess(&filter, &listed), expected, "{filter:?}");
    }
    if cfg!(target_arch = "x86_64") {
        let x86 = [Arch::X86];
        let listed = allowing(&["socket"]);
        assert_eq!(excess(&of(DENY, &x86, allow(&["socket"])), &listed), "");
        assert_eq!(
            excess(&of(DENY, &x86, allow(&["socketcall"])), &listed),
            other("socketcall on SCMP_ARCH_X86 (syscalls[0])")
        );
    }
}

#[test]
fn a_forbidden_call_stays_forbidden_where_it_is_listed_as_allowed() {
    let limits = Limits {
        forbidden_calls: set(&["read"]),
        ..allowing(&["read"])
    };
    let reads = of(DENY, &[], vec![rule(&["read"], ALLOW, &[])]);
    assert_eq!(excess(&reads, &limits), forbidden("read (syscalls[0])"));
}

#[test]
fn names_that_libseccomp_does_not_know_are_judged_by_the_rules() {
    let new = "not_a_call_yet";
    let names = of(DENY, &[], vec![rule(&[new], ALLOW, &[])]);
    assert_eq!(
        excess(&names, &forbidding(&[new])),
        forbidden("not_a_call_yet (syscalls[0])")
    );
    assert!(excess(&names, &allowing(&["read"])).contains("not_a_call_yet"));
    assert_eq!(excess(&names, &allowing(&[new])), "");
    // Nobody knows its number, so nobody knows that it does not pass.
    assert_eq!(
        excess(&of(ALLOW, &[], vec![]), &forbidding(&[new])),
        forbidden("not_a_call_yet (defaultAction)")
    );
    assert_eq!(excess(&of(DENY, &[], vec![]), &forbidding(&[new])), "");
}

#[test]
fn actions_count_where_a_filter_uses_them() {
    let uses = |default, action| of(default, &[], vec![rule(&["mkdir"], action, &[])]);
    let actions = |allowed: &[Action], forbidden: &[Action]| Limits {
        allowed_actions: allowed.iter().copied().collect(),
        forbidden_actions: forbidden.iter().copied().collect(),
        ..Limits::default()
    };
    for (filter, limits, expected) in [
        (uses(DENY, ALLOW), actions(&[DENY, ALLOW], &[]), ""),
        (
            uses(DENY, Action::Log),
            actions(&[DENY, ALLOW], &[]),
            "uses SCMP_ACT_LOG (syscalls[0]), not listed in --allowed-seccomp-actions",
        ),
        (
            uses(ALLOW, DENY),
            actions(&[DENY], &[]),
            "uses SCMP_ACT_ALLOW (defaultAction), not listed in --allowed-seccomp-actions",
        ),
        (
            uses(DENY, Action::Trace),
            actions(&[], &[Action::Trace, Action::Log]),
            "uses SCMP_ACT_TRACE (syscalls[0]), forbidden by --forbidden-seccomp-actions",
        ),
        (
            uses(DENY, ALLOW),
            actions(&[DENY, ALLOW], &[ALLOW]),
            "uses SCMP_ACT_ALLOW (syscalls[0]), forbidden by --forbidden-seccomp-actions",
        ),
        // Two names of one action.
        (
            uses(ALLOW, Action::Kill),
            actions(&[ALLOW, Action::KillThread], &[]),
            "",
        ),
        (
            uses(ALLOW, Action::KillThread),
            actions(&[], &[Action::Kill]),
            "uses SCMP_ACT_KILL_THREAD (syscalls[0]), forbidden by --forbidden-seccomp-actions",
        ),
    ] {
        assert_eq!(excess(&filter, &limits), expected, "{filter:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_and_lists_are_short() {
    let limits = Limits {
        forbidden_actions: [Action::Log].into(),
        forbidden_calls: set(&["bpf", "ptrace"]),
        ..allowing(&["read"])
    };
    let names: Vec<&str> = crate::compose::base::NAMES
        .iter()
        .copied()
        .take(20)
        .collect();
    let filter = of(
        DENY,
        &[],
        vec![
            rule(&names, ALLOW, &[]),
            rule(&["ptrace"], Action::Log, &[]),
        ],
    );
    assert_eq!(
        excess(&filter, &limits),
        "lets through ptrace (syscalls[1]), forbidden by --forbidden-syscalls; lets through \
         arch_prctl (syscalls[0]), brk (syscalls[0]), capget (syscalls[0]), capset (syscalls[0]), \
         chdir (syscalls[0]), close (syscalls[0]), close_range (syscalls[0]), epoll_ctl \
         (syscalls[0]) and 13 more, not listed in --allowed-syscalls; uses SCMP_ACT_LOG \
         (syscalls[1]), forbidden by --forbidden-seccomp-actions"
    );
}

#[test]
fn a_finding_is_of_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let memo = Memo::at(folder.path(), "test");
    let filter = of(DENY, &[], vec![rule(&["ptrace"], ALLOW, &[])]);
    let within = |limits: &Limits| {
        let mut examiner = Examiner::new(&memo);
        examiner.within(&filter, limits, Runtime::Either).is_ok()
    };
    for _ in 0..2 {
        assert!(within(&forbidding(&["bpf"])));
        assert!(!within(&forbidding(&["ptrace"])));
        assert!(within(&allowing(&["ptrace"])));
        assert!(!within(&allowing(&["bpf"])));
    }
}

#[test]
fn a_mistyped_name_is_refused() {
    assert_eq!(call_name("ptrace").unwrap(), "ptrace");
    assert_eq!(
        call_name("ptrce").unwrap_err().to_string(),
        "there is no system call \"ptrce\"; did you mean \"ptrace\"?"
    );
    assert!(call_name("").is_err());
}
