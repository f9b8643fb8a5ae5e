//! The engines' own default profile, as the distribution ships it, against what is known of it.

use super::podman;
use crate::{Action, Arch, Context, Document, Engine, Rule, filter::syscalls};
use std::fs;

const FILE: &str = "/usr/share/containers/seccomp.json";

fn shipped() -> Vec<u8> {
    fs::read(FILE).unwrap_or_else(|error| panic!("{FILE} (of Podman's packages): {error}"))
}

/// The rules for a name, as (action, errno, number of conditions).
fn rules(of: &str, caps: &[&str]) -> Vec<(Action, Option<u16>, usize)> {
    let bounding: Vec<String> = caps.iter().map(|cap| format!("CAP_{cap}")).collect();
    let context = Context {
        engine: Engine::CriO,
        bounding: Some(&bounding),
        ..podman()
    };
    let document = Document::parse(&shipped()).expect("a valid document");
    assert_eq!(document.warnings(), []);
    let filter = document.resolve(&context).expect("a filter");
    assert_eq!(filter.default_action, Action::Errno);
    assert_eq!(filter.default_errno_ret, Some(38));
    assert_eq!(filter.architectures, [Arch::X86_64, Arch::X86, Arch::X32]);
    let names = |rule: &&Rule| rule.names.iter().any(|name| name == of);
    let told = |rule: &Rule| (rule.action, rule.errno_ret, rule.args.len());
    filter.syscalls.iter().filter(names).map(told).collect()
}

#[test]
fn a_capability_opens_its_calls_and_the_lack_of_it_denies_them_with_eperm() {
    let allowed = vec![(Action::Allow, None, 0)];
    let denied = vec![(Action::Errno, Some(1), 0)];
    for (cap, call) in [
        ("SYS_ADMIN", "bpf"),
        ("SYS_CHROOT", "chroot"),
        ("SYS_MODULE", "init_module"),
        ("SYS_PACCT", "acct"),
        ("SYS_PTRACE", "kcmp"),
        ("SYS_RAWIO", "iopl"),
        ("SYS_TIME", "settimeofday"),
        ("SYS_TTY_CONFIG", "vhangup"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
    ] {
        assert_eq!(rules(call, &[cap]), allowed, "{call} with {cap}");
        assert_eq!(
            rules(call, &["CHOWN", "KILL"]),
            denied,
            "{call} without {cap}"
        );
        assert_eq!(rules("read", &[cap]), allowed);
    }
}

#[test]
fn conditions_on_arguments_and_architectures_are_kept() {
    assert_eq!(
        rules("socket", &["AUDIT_WRITE"]),
        [(Action::Allow, None, 0)]
    );
    assert_eq!(
        rules("socket", &[]),
        [
            (Action::Errno, Some(22), 2),
            (Action::Allow, None, 1),
            (Action::Allow, None, 1),
            (Action::Allow, None, 1),
        ]
    );
    assert_eq!(rules("personality", &[]), [(Action::Allow, None, 1); 5]);
    assert_eq!(rules("arch_prctl", &[]), [(Action::Allow, None, 0)]);
    assert_eq!(rules("breakpoint", &[]), []);
}

#[test]
fn every_name_in_it_is_known() {
    let document = Document::parse(&shipped()).expect("a valid document");
    let filter = document.resolve(&podman()).expect("a filter");
    assert!(filter.names().count() > 300);
    assert!(filter.names().all(syscalls::is_known));
}
