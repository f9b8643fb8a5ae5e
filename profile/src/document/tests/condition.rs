//! Which entries and architectures of the containers form count for a container.

use super::{podman, resolved, text};
use crate::{
    Arch, Context, Document, Engine,
    document::condition::{Condition, unmet_min_kernel},
    document::kernel::KernelVersion,
};
use serde_json::{Value, json};

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Whether an entry with these conditions is in the filter.
fn applies(conditions: &Value, native: Arch, bounding: Option<&[&str]>) -> bool {
    let mut entry = conditions.clone();
    entry["name"] = json!("mkdir");
    entry["action"] = json!("SCMP_ACT_KILL");
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]});
    let document = Document::parse(&text(&document)).expect("a valid document");
    let bounding = bounding.map(strings);
    let context = Context {
        native,
        bounding: bounding.as_deref(),
        ..podman()
    };
    let podman = document.resolve(&context).expect("a filter");
    let crio = document
        .resolve(&Context {
            engine: Engine::CriO,
            ..context
        })
        .expect("a filter");
    assert_eq!(podman, crio);
    podman.syscalls.len() == 1
}

#[test]
fn capabilities_of_the_bounding_set_decide() {
    let two = ["CAP_CHOWN", "CAP_SYS_ADMIN"];
    for (caps, bounding, included, excluded) in [
        // Wanted by the entry, the container's; does it count as `includes`, as `excludes`?
        (&two[..], Some(&two[..]), true, false),
        (&two, Some(&["CAP_CHOWN"]), false, false),
        (&two, Some(&["CAP_KILL"]), false, true),
        (&two, Some(&[]), false, true),
        (&two, None, true, true),
        (&[], Some(&two), true, true),
        (&["cap_chown"], Some(&two), false, true),
    ] {
        for (side, expected) in [("includes", included), ("excludes", excluded)] {
            let conditions = json!({side: {"caps": caps}});
            assert_eq!(
                applies(&conditions, Arch::X86_64, bounding),
                expected,
                "{conditions} {bounding:?}"
            );
        }
    }
}

#[test]
fn the_native_architecture_decides_by_its_go_name() {
    for (arches, native, named) in [
        (&["amd64", "x32"][..], Arch::X86_64, true),
        (&["amd64", "x32"], Arch::Aarch64, false),
        (&["x86"], Arch::X86_64, false),
        (&["arm", "arm64"], Arch::Aarch64, true),
        (&["ppc64le"], Arch::Ppc64Le, true),
        (
            &["SCMP_ARCH_X86_64", "x86_64", "AMD64"],
            Arch::X86_64,
            false,
        ),
        (&["s390", "s390x"], Arch::S390X, true),
        (&["riscv64"], Arch::Riscv64, true),
    ] {
        for (side, expected) in [("includes", named), ("excludes", !named)] {
            let conditions = json!({side: {"arches": arches}});
            assert_eq!(
                applies(&conditions, native, None),
                expected,
                "{conditions} on {native}"
            );
        }
    }
}

#[test]
fn both_sides_and_both_kinds_must_agree() {
    let conditions = json!({
        "includes": {"arches": ["amd64"], "caps": ["CAP_CHOWN"]},
        "excludes": {"arches": ["arm64"], "caps": ["CAP_KILL"]},
    });
    assert!(applies(&conditions, Arch::X86_64, Some(&["CAP_CHOWN"])));
    assert!(!applies(
        &conditions,
        Arch::X86_64,
        Some(&["CAP_CHOWN", "CAP_KILL"])
    ));
    assert!(!applies(&conditions, Arch::X86_64, Some(&[])));
    assert!(!applies(&conditions, Arch::Aarch64, Some(&["CAP_CHOWN"])));
}

#[test]
fn the_first_fitting_entry_of_arch_map_gives_the_architectures() {
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_PPC64LE"},
        {"architecture": "SCMP_ARCH_S390X", "subArchitectures": []},
    ]});
    let document = Document::parse(&text(&document)).expect("a valid document");
    for (native, expected) in [
        (Arch::X86_64, &[Arch::X86_64, Arch::X86][..]),
        (Arch::Aarch64, &[Arch::Aarch64, Arch::Arm]),
        (Arch::S390X, &[Arch::S390X]),
        // Not among those that containers/common looks up, or not in the list.
        (Arch::Ppc64Le, &[]),
        (Arch::X86, &[]),
        (Arch::Mips64, &[]),
    ] {
        let filter = document
            .resolve(&Context { native, ..podman() })
            .expect("a filter");
        assert_eq!(filter.architectures, expected, "{native}");
    }
}

#[test]
fn the_native_token_stands_for_the_host() {
    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"name": "mkdir", "action": "SCMP_ACT_KILL",
         "includes": {"arches": [Arch::HOST.go_name()]}},
    ]});
    let document = Document::parse(&text(&document)).expect("a valid document");
    let context = Context {
        native: Arch::Native,
        ..podman()
    };
    assert_eq!(
        document.resolve(&context).expect("a filter").syscalls.len(),
        1
    );
}

#[test]
fn a_minimum_kernel_decides_nothing_but_is_told_where_it_should() {
    let version = |version, revision| KernelVersion { version, revision };
    let of = |minimum: Option<KernelVersion>| Condition {
        min_kernel: minimum,
        ..Condition::default()
    };
    let (low, high) = (Some(version(4, 8)), Some(version(9, 0)));
    for (includes, excludes, unmet) in [
        (None, None, None),
        (low, None, None),
        (high, None, Some(("includes", version(9, 0)))),
        (None, low, Some(("excludes", version(4, 8)))),
        (None, high, None),
        (Some(version(6, 1)), None, None),
        (None, Some(version(6, 1)), Some(("excludes", version(6, 1)))),
    ] {
        assert_eq!(
            unmet_min_kernel(&of(includes), &of(excludes), version(6, 1)),
            unmet,
            "{includes:?} {excludes:?}"
        );
    }

    let document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"name": "read", "action": "SCMP_ACT_LOG", "includes": {"minKernel": "4.8"}},
        {"name": "mkdir", "action": "SCMP_ACT_LOG", "includes": {"minKernel": "9.0"}},
        {"name": "mkdirat", "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.8"}},
        {"name": "rmdir", "action": "SCMP_ACT_LOG",
         "excludes": {"minKernel": "4.8", "arches": ["amd64"]}},
    ]});
    let filter = resolved(&document);
    assert_eq!(
        filter.names().collect::<Vec<_>>(),
        ["read", "mkdir", "mkdirat"]
    );
    let document = Document::parse(&text(&document)).expect("a valid document");
    let warnings: Vec<String> = document
        .warnings_in(&podman())
        .iter()
        .map(ToString::to_string)
        .collect();
    let by_itself = document.warnings().len();
    assert_eq!(by_itself, 4, "{warnings:?}");
    assert_eq!(
        warnings[by_itself..],
        [
            "syscalls[1].includes.minKernel: podman ignores `minKernel` 9.0: this entry applies, \
             though by it it would not on kernel 6.1",
            "syscalls[2].excludes.minKernel: podman ignores `minKernel` 4.8: this entry applies, \
             though by it it would not on kernel 6.1",
        ],
    );
}
