//! The recorder's BPF program compiles without warnings for every supported architecture, with the
//! same layout for its reader on each of them.
#![allow(clippy::unwrap_used)] // a panic is the failure

use libbpf_rs::{MapType, ObjectBuilder};
use portcullis_hook::recorder::layout::SLOT_SIZE;
use std::{collections::BTreeMap, env, path::Path, process::Command};

include!("../bpf/flags.rs");

/// The maps of the program for an architecture: type, size of a value, entries.
fn maps(arch: &str) -> BTreeMap<String, (MapType, u32, u32)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recorder.bpf.o");
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let output = Command::new(clang)
        .args(clang_flags(arch).unwrap())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/recorder.bpf.c"))
        .arg("-o")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arch}: {said}");
    let object = std::fs::read(path).unwrap();
    let object = ObjectBuilder::default().open_memory(&object).unwrap();
    let programs: Vec<_> = object
        .progs()
        .map(|program| (program.section().to_owned(), program.insn_cnt()))
        .collect();
    assert_eq!(programs.len(), 1, "{arch}: {programs:?}");
    assert_eq!(programs[0].0, "tp_btf/sys_enter", "{arch}");
    assert!(programs[0].1 > 50, "{arch}: {programs:?}");
    object
        .maps()
        .map(|map| {
            let name = map.name().to_str().unwrap().to_owned();
            (name, (map.map_type(), map.value_size(), map.max_entries()))
        })
        .collect()
}

#[test]
fn the_program_is_the_same_to_its_reader_on_every_architecture() {
    let own = maps(env::consts::ARCH);
    let slots = &own["slots"];
    assert_eq!(slots.1 as usize, SLOT_SIZE);
    for arch in ["x86_64", "aarch64"] {
        assert_eq!(maps(arch), own, "{arch}");
    }
    assert_eq!(clang_flags("riscv64"), None);
}
