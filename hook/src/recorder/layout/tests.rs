//! Slots are read back as written, and the C side has the same structures and numbers.

use super::*;
use crate::recorder::{cgroup::Hierarchy, kernel::OBJECT};
use libbpf_rs::btf::{
    Btf, HasSize,
    types::{MemberAttr, Struct},
};
use std::{env, fs, path::Path, process::Command};

#[test]
fn a_slot_starts_with_nothing_observed() {
    let setup = SlotSetup {
        filters: 2,
        init: 77,
        counted: vec![56, 57],
        watches: vec![Watch {
            call: 41,
            argument: 3,
        }],
    };
    let bytes = setup.to_bytes();
    assert_eq!(bytes.len(), SLOT_SIZE);
    assert_eq!((get(&bytes, 0), get(&bytes, 4)), (2, 77));
    assert_eq!(get(&bytes, WATCHED), 3);
    let observed = Observed::from_bytes(&bytes).unwrap();
    assert_eq!(observed.window, Window::NotOpened);
    assert!(observed.native.is_empty() && observed.compat.is_empty());
    assert!(observed.before.is_empty());
    assert!(observed.watches.iter().all(|w| w.values.is_empty()));
}

#[test]
fn what_the_program_stores_is_read_back() {
    let mut bytes = SlotSetup::default().to_bytes();
    put(&mut bytes, 8, OPENED_BY_EXEC);
    put(&mut bytes, 16, 1);
    put(&mut bytes, 20, 999);
    bytes[NATIVE + 59] = SEEN;
    bytes[NATIVE + 41] = LOOK | SEEN;
    bytes[NATIVE + 42] = LOOK;
    bytes[COMPAT + 1] = SEEN;
    bytes[BEFORE + 3] = SEEN;
    put(&mut bytes, WATCHED + 4, 17);
    bytes[WATCHED + 8..WATCHED + 16].copy_from_slice(&u64::MAX.to_ne_bytes());
    bytes[WATCHED + 8 + 8 * VALUES] = 1;
    let observed = Observed::from_bytes(&bytes).unwrap();
    assert_eq!(observed.window, Window::OpenedByExec);
    assert_eq!(observed.unknown_abi, Some(999));
    assert_eq!(observed.native, BTreeSet::from([41, 59]));
    assert_eq!(observed.compat, BTreeSet::from([1]));
    assert_eq!(observed.before, BTreeSet::from([3]));
    assert_eq!(observed.watches[0].values, BTreeSet::from([u64::MAX]));
    assert!(observed.watches[0].overflowed && !observed.watches[1].overflowed);
    assert_eq!(Observed::from_bytes(&bytes[1..]), None);
    put(&mut bytes, 8, 7);
    assert_eq!(Observed::from_bytes(&bytes), None);
}

#[test]
fn arms_private_calls_get_their_numbers_back() {
    let mut table = [0; CALLS];
    table[ARM_PRIVATE_AT as usize + 5] = SEEN;
    assert_eq!(calls(&table, true), BTreeSet::from([0x0f_0005]));
}

/// The members of a structure with their offsets, and its size, in the compiled program.
fn in_the_program(structure: &str) -> (Vec<(String, usize)>, usize) {
    let btf = Btf::from_raw("recorder", OBJECT).unwrap().unwrap();
    let found: Struct<'_> = btf.type_by_name(structure).unwrap();
    let members = found
        .iter()
        .map(|member| {
            let MemberAttr::Normal { offset } = member.attr else {
                panic!("{structure} has a bit field");
            };
            let name = member.name.unwrap().to_str().unwrap().to_owned();
            (name, offset as usize / 8)
        })
        .collect();
    (members, found.size())
}

macro_rules! structure {
    ($raw:ident { $($member:ident),* }) => {{
        // Does not compile when a member is missing here.
        let _exhaustive = |$raw { $($member: _),* }: $raw| ();
        let members = vec![$((stringify!($member).to_owned(), offset_of!($raw, $member))),*];
        (members, size_of::<$raw>())
    }};
}

#[test]
fn the_program_has_the_same_structures() {
    assert_eq!(
        in_the_program("slot"),
        structure!(RawSlot {
            filters,
            init,
            opened,
            forks,
            unknown_abi,
            unknown_call,
            native,
            compat,
            before,
            watches
        })
    );
    assert_eq!(
        in_the_program("watch"),
        structure!(RawWatch {
            argument,
            count,
            values,
            filled
        })
    );
    // Only the first number of `control` is written.
    assert_eq!(in_the_program("control").0, [("generation".to_owned(), 0)]);
    assert_eq!(in_the_program("control").1, 4);
}

#[test]
fn the_program_has_the_same_numbers() {
    let number = |name: &str| Hierarchy::from_name(name).unwrap().number();
    let own: [(&str, u64); 20] = [
        ("SLOTS", SLOTS.into()),
        ("CALLS", CALLS as u64),
        ("ARM_PRIVATE", ARM_PRIVATE.into()),
        ("ARM_PRIVATE_AT", ARM_PRIVATE_AT.into()),
        ("CACHE_WAYS", CACHE_WAYS.into()),
        ("WATCHES", WATCHES as u64),
        ("VALUES", VALUES as u64),
        ("SEEN", SEEN.into()),
        ("LOOK", LOOK.into()),
        ("WATCH_SHIFT", WATCH_SHIFT.into()),
        ("WATCH_MASK", WATCH_MASK.into()),
        ("OPENED_NOT", OPENED_NOT.into()),
        ("OPENED_BY_FILTER", OPENED_BY_FILTER.into()),
        ("OPENED_BY_EXEC", OPENED_BY_EXEC.into()),
        ("HIERARCHY_UNIFIED", Hierarchy::Unified.number().into()),
        ("HIERARCHY_PIDS", number("pids").into()),
        ("HIERARCHY_MEMORY", number("memory").into()),
        ("HIERARCHY_CPU", number("cpu").into()),
        ("HIERARCHY_DEVICES", number("devices").into()),
        ("HIERARCHY_FREEZER", number("freezer").into()),
    ];
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/recorder.h");
    // Every number in the header is compared here.
    let text = fs::read_to_string(&header).unwrap();
    let defined: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, _)| name)
        .filter(|name| !name.contains('('))
        .collect();
    let compared: BTreeSet<&str> = own.iter().map(|(name, _)| *name).collect();
    assert_eq!(defined, compared);
    // The C compiler compares their values.
    let mut source = vec![
        "typedef unsigned char __u8; typedef unsigned int __u32;".to_owned(),
        "typedef unsigned long long __u64;".to_owned(),
        format!("#include \"{}\"", header.display()),
    ];
    source.extend(
        own.iter()
            .map(|(name, value)| format!("_Static_assert({name} == {value}, \"{name}\");")),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.c");
    fs::write(&path, source.join("\n") + "\n").unwrap();
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let output = Command::new(clang)
        .args(["-fsyntax-only", "-Wall", "-Werror"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
