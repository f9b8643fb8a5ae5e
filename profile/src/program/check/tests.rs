use super::*;
use crate::{
    Action, ArgCondition, Context, Document, Engine, Operator, Rule,
    document::kernel::KernelVersion,
    fixtures::{filter, is, rule},
    program::compile::{compile, compiled_for},
};

const ALLOW: Action = Action::Allow;
const DENY: Action = Action::Errno;
const USUAL: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

/// In each layout that a runtime may choose.
fn checked(filter: &Filter) -> Result<Vec<Warning>, CheckError> {
    let mut all = Vec::new();
    for program in compiled_for(filter, Runtime::Either).unwrap().each() {
        let warnings = check(filter, program, Runtime::Either)?;
        all.extend(
            warnings
                .into_iter()
                .filter(|one| !all.contains(one))
                .collect::<Vec<_>>(),
        );
    }
    Ok(all)
}

#[track_caller]
fn accepts(filter: &Filter) -> Vec<Warning> {
    checked(filter).unwrap_or_else(|error| panic!("{error}\n{filter:?}"))
}

#[track_caller]
fn rejects(filter: &Filter, expected: &str) {
    assert_eq!(checked(filter).unwrap_err().to_string(), expected);
}

fn on(architectures: &[Arch], filter: Filter) -> Filter {
    Filter {
        architectures: architectures.to_vec(),
        ..filter
    }
}

const fn compare(index: u8, op: Operator, value: u64) -> ArgCondition {
    ArgCondition {
        index,
        op,
        value,
        value_two: 0,
    }
}

const fn masked(index: u8, mask: u64, value_two: u64) -> ArgCondition {
    ArgCondition {
        index,
        op: Operator::MaskedEq,
        value: mask,
        value_two,
    }
}

/// `struct sock_filter`s, as bytes.
fn raw(instructions: &[(u16, u8, u8, u32)]) -> Vec<u8> {
    instructions
        .iter()
        .flat_map(|&(code, t, f, k)| crate::program::bpf::tests::raw(code, t, f, k))
        .collect()
}

#[test]
fn podmans_default_passes_with_any_capabilities() {
    let text = std::fs::read("/usr/share/containers/seccomp.json").unwrap();
    let document = Document::parse(&text).unwrap();
    let sets: [&[&str]; 4] = [
        &[],
        &["SYS_ADMIN", "SYS_PTRACE", "BPF", "PERFMON"],
        &["CHOWN", "KILL", "SETUID", "NET_BIND_SERVICE"],
        &["AUDIT_WRITE", "SYS_CHROOT"],
    ];
    for caps in sets {
        let bounding: Vec<String> = caps.iter().map(|cap| format!("CAP_{cap}")).collect();
        let context = Context {
            engine: Engine::Podman,
            native: Arch::HOST,
            bounding: Some(&bounding),
            kernel: KernelVersion {
                version: 6,
                revision: 1,
            },
        };
        let filter = document.resolve(&context).unwrap();
        assert!(filter.names().count() > 300);
        for warning in accepts(&filter) {
            match &warning {
                Warning::Multiplexed { .. } => {}
                Warning::Contradiction { name, .. } => assert_eq!(name, "setns"),
                other => panic!("{other}"),
            }
        }
    }
}

/// The shape of CRI-O's own default since 1.31: namespaces are refused by a rule with seven masked
/// conditions on the flags of `clone`.
#[test]
fn a_rule_with_seven_masked_conditions_on_one_argument_passes() {
    let flags = [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ];
    let namespaces: Vec<ArgCondition> = flags.map(|flag| masked(0, flag, flag)).to_vec();
    let rules: [(&str, Action, &[ArgCondition]); 6] = [
        ("clone", DENY, &namespaces),
        ("unshare", DENY, &[]),
        ("read", ALLOW, &[]),
        ("personality", ALLOW, &[is(0, 8)]),
        ("socket", ALLOW, &[compare(0, Operator::Ne, 40)]),
        ("socketcall", ALLOW, &[]),
    ];
    let permissive = on(&USUAL, filter(ALLOW, &rules[..2]));
    let denying = Filter {
        default_errno_ret: Some(38),
        ..on(&USUAL, filter(DENY, &rules))
    };
    for default in [permissive, denying] {
        for read in [Runtime::Crun, Runtime::Runc].map(|runtime| default.as_read_by(runtime)) {
            accepts(&read);
        }
    }
}

#[test]
fn the_shape_of_mobys_default_passes() {
    let namespaces = masked(0, 0x7e02_0000, 0);
    let mut rules: Vec<(&str, Action, &[ArgCondition])> = vec![
        ("socketcall", ALLOW, &[]),
        ("ipc", ALLOW, &[]),
        ("umount", ALLOW, &[]),
        ("_llseek", ALLOW, &[]),
        ("process_vm_readv", ALLOW, &[]),
    ];
    let not_vsock = [compare(0, Operator::Ne, 40)];
    rules.push(("socket", ALLOW, &not_vsock));
    let personas = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(|value| [is(0, value)]);
    rules.extend(
        personas
            .iter()
            .map(|args| ("personality", ALLOW, &args[..])),
    );
    let clone = [namespaces];
    rules.push(("clone", ALLOW, &clone));
    let mut moby = on(&USUAL, filter(DENY, &rules));
    let enosys = Rule {
        errno_ret: Some(38),
        ..rule(&["clone3"], DENY, &[])
    };
    moby.syscalls.push(enosys);
    let warnings = accepts(&moby);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(
        warnings[0].to_string(),
        "on SCMP_ARCH_X86, call 102 multiplexes socket, socketcall: a filter can't check their \
         arguments there"
    );
}

#[test]
fn every_name_of_the_library_passes_on_every_architecture_of_its_family() {
    let names: Vec<&str> = crate::filter::syscalls::names()
        .iter()
        .copied()
        .filter(|name| crate::program::calls::library_knows(name))
        // libseccomp 2.5.4 has a number for it on PowerPC and makes no rule.
        .filter(|name| *name != "sys_debug_setcontext")
        .collect();
    assert!(names.len() > 400);
    let families: [&[Arch]; 3] = [
        &USUAL,
        &[
            Arch::Aarch64,
            Arch::Arm,
            Arch::Mipsel,
            Arch::Mipsel64,
            Arch::Mipsel64N32,
        ],
        &[Arch::Ppc64Le, Arch::Riscv64],
    ];
    for arches in families {
        for (default, action) in [(DENY, ALLOW), (ALLOW, Action::KillProcess)] {
            accepts(&on(
                arches,
                Filter {
                    syscalls: vec![rule(&names, action, &[])],
                    ..Filter::new(default)
                },
            ));
        }
    }
}

/// A1: libseccomp 2.5.4 never loads the call's number in the native part.
#[test]
fn a_program_that_applies_no_native_rule_is_found() {
    let mode = [compare(1, Operator::Ne, 0)];
    let new_user = [masked(0, 0x1000_0000, 0x1000_0000)];
    for (arches, rules) in [
        (&USUAL[..], vec![("mkdir", DENY, &mode[..])]),
        (&[Arch::X86_64, Arch::X32], vec![("mkdir", DENY, &mode)]),
        (
            &USUAL,
            vec![("clone", DENY, &new_user), ("unshare", DENY, &new_user)],
        ),
    ] {
        accepts(&on(arches, filter(ALLOW, &rules)));
        for foreign in ["umount", "ipc", "vm86", "_llseek", "s390_runtime_instr"] {
            let mut rules = rules.clone();
            rules.push((foreign, DENY, &[]));
            let lost = on(arches, filter(ALLOW, &rules));
            let message = checked(&lost).unwrap_err().to_string();
            let expected = format!(
                "syscalls[0]: {} on SCMP_ARCH_X86_64 should get SCMP_ACT_ERRNO (1), but the \
                 compiled filter gives SCMP_ACT_ALLOW",
                rules[0].0
            );
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}

/// A8, and its likes.
#[test]
fn of_rules_that_contradict_each_other_both_are_named() {
    let killed = filter(
        ALLOW,
        &[("mkdir", DENY, &[]), ("mkdir", Action::KillProcess, &[])],
    );
    rejects(
        &killed,
        "syscalls[1]: mkdir on SCMP_ARCH_X86_64 should get SCMP_ACT_KILL_PROCESS, but the compiled \
         filter gives SCMP_ACT_ERRNO (1), which syscalls[0] says: let one rule decide this call",
    );
    let eight = [is(0, 8)];
    let always = ("personality", ALLOW, &[][..]);
    let kill = ("personality", Action::KillProcess, &eight[..]);
    for (rules, killing, allowing) in [([always, kill], 1, 0), ([kill, always], 0, 1)] {
        rejects(
            &filter(DENY, &rules),
            &format!(
                "syscalls[{killing}]: personality on SCMP_ARCH_X86_64 should get \
                 SCMP_ACT_KILL_PROCESS, but the compiled filter gives SCMP_ACT_ALLOW, which \
                 syscalls[{allowing}] says: let one rule decide this call"
            ),
        );
    }
    let from_four = [compare(0, Operator::Ge, 4)];
    accepts(&filter(DENY, &[("personality", ALLOW, &from_four), kill]));
}

/// Podman's default allows `setns` and denies it with another errno than the default's.
#[test]
fn a_contradiction_is_a_fault_but_for_the_one_of_podmans_default() {
    let eperm = |name: &str, args: &[ArgCondition]| Rule {
        errno_ret: Some(1),
        ..rule(&[name], DENY, args)
    };
    let both = |default: Action, name: &str, args: &[ArgCondition]| Filter {
        default_errno_ret: default.takes_errno().then_some(38),
        syscalls: vec![rule(&[name], ALLOW, &[]), eperm(name, args)],
        ..Filter::new(default)
    };
    assert_eq!(
        accepts(&both(DENY, "setns", &[]))[0].to_string(),
        "syscalls[1] and syscalls[0] contradict each other; setns gets SCMP_ACT_ALLOW"
    );
    let at_one = [is(0, 1)];
    for (default, name, args) in [
        (DENY, "mkdir", &[][..]),
        (DENY, "setns", &at_one),
        (Action::Trap, "setns", &[]),
    ] {
        rejects(
            &both(default, name, args),
            &format!(
                "syscalls[1]: {name} on SCMP_ARCH_X86_64 should get SCMP_ACT_ERRNO (1), but the \
                 compiled filter gives SCMP_ACT_ALLOW, which syscalls[0] says: let one rule decide \
                 this call"
            ),
        );
    }
    // Whichever comes first, the stricter one is there.
    let mut turned = both(DENY, "mkdir", &[]);
    turned.syscalls.reverse();
    assert_eq!(accepts(&turned), []);
}

#[test]
fn between_different_errnos_any_will_do_with_a_warning() {
    let errno = |errno, args: &[ArgCondition]| Rule {
        errno_ret: Some(errno),
        ..rule(&["mkdir"], DENY, args)
    };
    let both = Filter {
        syscalls: vec![errno(5, &[is(0, 1)]), errno(6, &[is(1, 1)])],
        ..Filter::new(ALLOW)
    };
    let warnings = accepts(&both);
    assert_eq!(
        warnings[0].to_string(),
        "syscalls[0] and syscalls[1] give mkdir different errnos; which one a call gets is up to \
         libseccomp"
    );
}

#[test]
fn constants_that_have_no_meaning_on_32_bit_architectures_are_faults_there_only() {
    let big = [compare(0, Operator::Gt, 0x1_0000_0000)];
    let personality = filter(DENY, &[("personality", ALLOW, &big)]);
    accepts(&personality);
    rejects(
        &on(&[Arch::X86_64, Arch::X86], personality),
        "syscalls[0]: personality on SCMP_ARCH_X86 is compared with 0x100000000, but only the low 32 \
         bits of arguments are compared there",
    );
    let minus_one = [is(0, u64::MAX)];
    accepts(&on(
        &USUAL,
        filter(DENY, &[("personality", ALLOW, &minus_one)]),
    ));
    // A call that 32-bit x86 does not have is not compared there.
    let mut native = filter(DENY, &[("arch_prctl", ALLOW, &[])]);
    native.syscalls[0].args = vec![compare(1, Operator::Lt, 0x7fff_ffff_f000)];
    let error = checked(&on(&[Arch::X86_64, Arch::X86, Arch::X32], native.clone())).unwrap_err();
    assert!(error.to_string().contains("SCMP_ARCH_X86 "), "{error}");
    native.syscalls[0].names = vec!["mmap".to_owned()];
    accepts(&native);
}

/// Conditions of every operator are compared as the kernel would, in both halves.
#[test]
fn every_operator_passes_with_constants_of_32_and_64_bits() {
    use Operator::{Eq, Ge, Gt, Le, Lt, Ne};
    for op in [Ne, Lt, Le, Eq, Ge, Gt] {
        for value in [
            0,
            1,
            8,
            u64::from(u32::MAX),
            1 << 32,
            (7 << 32) | 9,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let one = [compare(2, op, value)];
            accepts(&filter(DENY, &[("mmap", ALLOW, &one)]));
            let two = [compare(2, op, value), is(4, 3)];
            accepts(&filter(ALLOW, &[("mmap", DENY, &two)]));
        }
    }
    for (mask, value) in [
        (7, 3),
        (0xff << 30, 5 << 30),
        (u64::MAX, 9),
        (1 << 63, 1 << 63),
    ] {
        let one = [masked(0, mask, value)];
        accepts(&filter(DENY, &[("mmap", ALLOW, &one)]));
    }
}

#[test]
fn a_program_of_another_filter_is_found() {
    let at_one = [is(0, 1)];
    let asked = on(
        &USUAL,
        filter(DENY, &[("read", ALLOW, &[]), ("mkdir", ALLOW, &at_one)]),
    );
    let at_two = [is(0, 2)];
    for (other, expected) in [
        (
            on(
                &USUAL,
                filter(DENY, &[("read", ALLOW, &[]), ("mkdir", ALLOW, &at_two)]),
            ),
            "call 39 (mkdir) on SCMP_ARCH_X86 should get the default SCMP_ACT_ERRNO (1), but the \
             compiled filter gives SCMP_ACT_ALLOW",
        ),
        (
            on(&USUAL, filter(DENY, &[("mkdir", ALLOW, &at_one)])),
            "syscalls[0]: read on SCMP_ARCH_X86 should get SCMP_ACT_ALLOW, but the compiled filter \
             gives SCMP_ACT_ERRNO (1)",
        ),
        (
            on(
                &USUAL,
                filter(
                    DENY,
                    &[
                        ("read", ALLOW, &[]),
                        ("mkdir", ALLOW, &at_one),
                        ("rmdir", ALLOW, &[]),
                    ],
                ),
            ),
            "call 40 on SCMP_ARCH_X86 should get the default SCMP_ACT_ERRNO (1), but the compiled \
             filter gives SCMP_ACT_ALLOW",
        ),
        (
            on(
                &USUAL[..2],
                filter(DENY, &[("read", ALLOW, &[]), ("mkdir", ALLOW, &at_one)]),
            ),
            "syscalls[0]: read on SCMP_ARCH_X32 should get SCMP_ACT_ALLOW, but the compiled filter \
             gives SCMP_ACT_KILL_THREAD",
        ),
        (
            Filter {
                default_errno_ret: Some(38),
                ..asked.clone()
            },
            "call 0 on SCMP_ARCH_X86 should get the default SCMP_ACT_ERRNO (1), but the compiled \
             filter gives SCMP_ACT_ERRNO (38)",
        ),
    ] {
        let program = Program::parse(&compile(&other).unwrap()).unwrap();
        let CheckError::Faults(faults) = check(&asked, &program, Runtime::Crun).unwrap_err() else {
            panic!("{other:?}");
        };
        let said: Vec<String> = faults.first.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said == expected), "{said:#?}");
        assert!(check(&other, &program, Runtime::Crun).is_ok());
    }
}

#[test]
fn calls_of_architectures_that_are_not_listed_must_be_killed() {
    let native = filter(ALLOW, &[]);
    let everything = Program::parse(&raw(&[(0x06, 0, 0, 0x7fff_0000)])).unwrap();
    let error = check(&native, &everything, Runtime::Crun).unwrap_err();
    let CheckError::Faults(faults) = &error else {
        panic!("{error}");
    };
    let foreign = |arch: u32, number: u32| Fault::Foreign {
        arch,
        number,
        found: Treatment::of(ALLOW, None),
    };
    // x32, then every other architecture.
    assert_eq!(faults.first, [foreign(0xc000_003e, X32_BIT), foreign(0, 0)]);
}

/// runc's stub is the only one that may answer there instead.
#[test]
fn enosys_for_an_architecture_that_is_not_listed_is_runcs_alone() {
    let native = Filter {
        default_errno_ret: Some(38),
        ..filter(DENY, &[])
    };
    let enosys = Program::parse(&raw(&[(0x06, 0, 0, 0x0005_0026)])).unwrap();
    assert!(check(&native, &enosys, Runtime::Crun).is_err());
    assert!(check(&native, &enosys, Runtime::Runc).is_ok());
}

/// runc answers ENOSYS above the highest number that is named.
#[test]
fn runcs_stub_is_taken_from_runc_alone_and_only_where_it_puts_one() {
    let asked = on(
        &[Arch::X86_64],
        filter(DENY, &[("read", ALLOW, &[]), ("mkdir", ALLOW, &[])]),
    );
    let compiled = compile(&asked).unwrap();
    let with_stub = |above: u32| {
        let mut stub = raw(&[
            (0x20, 0, 0, 4),
            (0x15, 0, 3, 0xc000_003e),
            (0x20, 0, 0, 0),
            (0x25, 0, 1, above),
            (0x06, 0, 0, 0x0005_0026),
        ]);
        stub.extend(&compiled);
        Program::parse(&stub).unwrap()
    };
    for runtime in [Runtime::Runc, Runtime::Either] {
        assert!(check(&asked, &with_stub(83), runtime).is_ok());
        assert!(check(&asked, &with_stub(82), runtime).is_err());
        assert!(
            check(
                &Filter {
                    architectures: vec![],
                    ..asked.clone()
                },
                &with_stub(83),
                runtime
            )
            .is_err()
        );
    }
    assert!(check(&asked, &with_stub(83), Runtime::Crun).is_err());
}

#[test]
fn what_a_multiplexer_does_must_be_what_one_of_its_calls_gets_or_the_default() {
    let x86 = |rules: &[(&str, Action, &[ArgCondition])]| {
        on(&[Arch::X86_64, Arch::X86], filter(ALLOW, rules))
    };
    let denied = x86(&[("socket", DENY, &[]), ("semop", DENY, &[])]);
    accepts(&denied);
    // A program that lets `socketcall` make sockets is not this filter's.
    for other in [&[("semop", DENY, &[][..])], &[("socket", DENY, &[][..])]] {
        let program = Program::parse(&compile(&x86(other)).unwrap()).unwrap();
        let error = check(&denied, &program, Runtime::Either).unwrap_err();
        assert!(error.to_string().contains("SCMP_ARCH_X86"), "{error}");
    }
    // libseccomp 2.5.4 makes no rule of these behind a multiplexer, as the kernel has no call of
    // their own there.
    for (name, number) in [("accept", 102), ("semop", 117)] {
        for (default, action) in [(DENY, ALLOW), (ALLOW, DENY)] {
            let one = on(&USUAL, filter(default, &[(name, action, &[])]));
            assert_eq!(
                accepts(&one)[0].to_string(),
                format!(
                    "on SCMP_ARCH_X86, call {number} multiplexes {name}; libseccomp leaves their \
                     rules out there, so the default action applies"
                )
            );
        }
    }
    let vsock = [is(0, 40)];
    let warnings = accepts(&x86(&[("socket", DENY, &vsock)]));
    assert!(
        matches!(&warnings[..], [Warning::Multiplexed { number: 102, .. }]),
        "{warnings:?}"
    );
}

/// Newer than libseccomp 2.5.4; whatever library this runs with, one of both holds.
#[test]
fn a_name_that_the_library_does_not_know_must_not_be_meant_to_deny() {
    let name = "mseal";
    if crate::program::calls::library_knows(name) {
        accepts(&filter(ALLOW, &[(name, DENY, &[])]));
        return;
    }
    rejects(
        &filter(ALLOW, &[(name, DENY, &[])]),
        "syscalls[0]: mseal on SCMP_ARCH_X86_64 should get SCMP_ACT_ERRNO (1), but the compiled \
         filter gives SCMP_ACT_ALLOW: libseccomp does not know this call",
    );
    let warnings = accepts(&on(&USUAL, filter(DENY, &[(name, ALLOW, &[])])));
    assert_eq!(
        warnings[0].to_string(),
        "libseccomp does not know mseal: the default action applies there"
    );
}

#[test]
fn a_name_that_nothing_knows_is_a_fault_where_it_denies_and_none_where_it_does_nothing() {
    let name = "not_a_call";
    rejects(
        &filter(ALLOW, &[(name, DENY, &[])]),
        "syscalls[0]: libseccomp does not know \"not_a_call\" and would drop the rule",
    );
    assert_eq!(accepts(&filter(DENY, &[(name, ALLOW, &[])])).len(), 1);
    assert_eq!(accepts(&filter(DENY, &[(name, DENY, &[])])), []);
}

#[test]
fn names_that_are_no_c_strings_and_arguments_that_no_call_has_are_faults() {
    let everything = Program::parse(&raw(&[(0x06, 0, 0, 0x7fff_0000)])).unwrap();
    let seven = [is(6, 1)];
    for (rules, expected) in [
        (
            ("mkdir\0x", DENY, &[][..]),
            "syscalls[0]: \"mkdir\\0x\" is not a system call name: it contains a NUL character",
        ),
        (
            ("mkdir", DENY, &seven),
            "syscalls[0]: there is no argument 6",
        ),
    ] {
        let error = check(&filter(ALLOW, &[rules]), &everything, Runtime::Either).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
