//! Writes `profile/src/filter/syscalls/table.rs` from the kernel's tables in crates: `syscalls` has
//! all calls up to Linux 6.17, `syscall-numbers` the common ones up to 6.19, and both must agree.
//! Newer calls are added here, and mistakes in the crates corrected. `-- --check` writes nothing
//! and fails if the committed file differs.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::ExitCode};

/// The largest number in any of the kernel's tables is below this (MIPS n32 ends below 7000).
const NUMBERS: u16 = 8192;

/// What stands in a column where the architecture lacks the call.
const NONE: u16 = u16::MAX;

/// Names that no table of the crates has; `profile/src/filter/syscalls.rs` says where they come
/// from.
const EXTRA: &[&str] = &[
    "atomic_barrier",
    "atomic_cmpxchg_32",
    "breakpoint",
    "get_tls",
    "set_tls",
    "usr26",
    "usr32",
];

/// Calls that are newer than both crates, each with the call that comes before it in the kernel's
/// tables (Linux 7.0, `scripts/syscall.tbl` and `arch/*/kernel/syscalls/syscall*.tbl`).
const NEWER: &[(&str, &str)] = &[("rseq_slice_yield", "listns")];

/// From here on the architectures number new calls alike, each from its own first number.
const COMMON: u16 = 424;

/// Calls with 64-bit times, which only 32-bit architectures have (`scripts/syscall.tbl`, ABI `32`),
/// counted from an architecture's first number. The crate `syscalls` reads
/// `include/uapi/asm-generic/unistd.h` past its `#if __BITS_PER_LONG == 32`.
const ONLY_32_BIT: std::ops::RangeInclusive<u16> = 403..=423;

/// The columns of 64-bit architectures, each with its first number.
const COLUMNS_64_BIT: &[(&str, u16)] = &[
    ("X86_64", 0),
    ("AARCH64", 0),
    ("LOONGARCH64", 0),
    ("MIPS64", 5000),
    ("PPC64", 0),
    ("RISCV64", 0),
    ("S390X", 0),
];

/// Where the crate `syscalls` differs from the kernel's tables: (column, name, number).
const CORRECTIONS: &[(&str, &str, u16)] = &[
    // scripts/syscall.tbl; the crate has libc's macro name, `fstatat`.
    ("AARCH64", "newfstatat", 79),
    ("LOONGARCH64", "newfstatat", 79),
    // arch/mips/kernel/syscalls/syscall_n64.tbl; the crate lacks it.
    ("MIPS64", "set_mempolicy_home_node", 5450),
];

/// Names that the crate gives to calls which the kernel calls otherwise.
const NOT_KERNEL_NAMES: &[&str] = &["fstatat"];

/// A call and its number.
type Call = (&'static str, u16);

/// One architecture's calls, and its common ones as the newer crate has them.
type Tables = (Vec<Call>, Vec<Call>);

/// Collects one architecture's tables, given its first number.
macro_rules! table {
    ($arch:ident, $first:literal) => {{
        let mut calls = Vec::new();
        let mut common = Vec::new();
        for number in 0..NUMBERS {
            if let Some(call) = syscalls::$arch::Sysno::new(number.into()) {
                let name = call.name();
                calls.push((name.strip_prefix("r#").unwrap_or(name), number));
            }
            if number >= $first + COMMON
                && let Some(name) = syscall_numbers::$arch::sys_call_name(number.into())
            {
                common.push((name, number));
            }
        }
        (calls, common)
    }};
}

fn main() -> ExitCode {
    let check = std::env::args()
        .skip(1)
        .any(|argument| argument == "--check");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/filter/syscalls/table.rs");
    let result = generate().and_then(|wanted| {
        if !check {
            return fs::write(&file, wanted).map_err(|error| error.to_string());
        }
        match fs::read_to_string(&file) {
            Ok(there) if there == wanted => Ok(()),
            Ok(_) => Err("it is not what `make generate` writes".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("generate-tables: {}: {reason}", file.display());
            ExitCode::FAILURE
        }
    }
}

/// The text of the file.
fn generate() -> Result<String, String> {
    let columns: [(&str, Tables); 11] = [
        ("X86_64", table!(x86_64, 0)),
        ("X86", table!(x86, 0)),
        ("AARCH64", table!(aarch64, 0)),
        ("ARM", table!(arm, 0)),
        ("LOONGARCH64", table!(loongarch64, 0)),
        ("MIPS", table!(mips, 4000)),
        ("MIPS64", table!(mips64, 5000)),
        ("PPC", table!(powerpc, 0)),
        ("PPC64", table!(powerpc64, 0)),
        ("RISCV64", table!(riscv64, 0)),
        ("S390X", table!(s390x, 0)),
    ];
    let mut rows: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for name in EXTRA {
        rows.insert(name, vec![NONE; columns.len()]);
    }
    let mut wrong: Vec<String> = Vec::new();
    for (column, (arch, (calls, common))) in columns.iter().enumerate() {
        let mut here: BTreeMap<&str, u16> = calls.iter().copied().collect();
        here.retain(|name, _| !is_placeholder(name) && !NOT_KERNEL_NAMES.contains(name));
        if let Some((_, first)) = COLUMNS_64_BIT.iter().find(|(there, _)| there == arch) {
            here.retain(|_, number| !ONLY_32_BIT.contains(&(*number - first)));
        }
        let corrections = CORRECTIONS.iter().filter(|(there, ..)| there == arch);
        here.extend(corrections.map(|(_, name, number)| (*name, *number)));
        for (name, number) in common {
            wrong.extend(add(&mut here, name, *number).err());
        }
        for (name, before) in NEWER {
            let number = here.get(before).map_or(NONE, |before| before + 1);
            wrong.extend(add(&mut here, name, number).err());
        }
        // Whatever numbers a later crate gives them.
        if COLUMNS_64_BIT.iter().any(|(there, _)| there == arch) {
            let foreign = here.keys().filter(|name| name.ends_with("time64"));
            wrong.extend(foreign.map(|name| format!("{arch} has {name}, a 32-bit call")));
        }
        for (name, number) in here {
            let row = rows
                .entry(name)
                .or_insert_with(|| vec![NONE; columns.len()]);
            row[column] = number;
        }
    }
    if !wrong.is_empty() {
        return Err(format!("the crates are wrong: {}", wrong.join("; ")));
    }

    let mut text = String::from(
        "//! Every system call name, and the numbers that the architectures give them.\n\
         //!\n\
         //! Generated by `make generate` (`profile/examples/generate-tables.rs`) from the\n\
         //! crates `syscalls` and `syscall-numbers`; do not edit.\n\n\
         /// Stands where an architecture lacks the call.\n\
         pub(super) const NONE: u16 = u16::MAX;\n\n",
    );
    let count = rows.len();
    let _ = writeln!(
        text,
        "/// Every name, sorted by its bytes.\npub(super) static NAMES: [&str; {count}] = ["
    );
    lines(&mut text, rows.keys().map(|name| format!("{name:?}")));
    for (column, (arch, _)) in columns.iter().enumerate() {
        let _ = writeln!(
            text,
            "];\n\n/// The numbers of `{arch}`, in the order of [`NAMES`].\n\
             pub(super) static {arch}: [u16; {count}] = ["
        );
        lines(
            &mut text,
            rows.values().map(|row| match row[column] {
                NONE => "NONE".to_owned(),
                number => number.to_string(),
            }),
        );
    }
    text.push_str("];\n");
    Ok(text)
}

/// Adds a call to one architecture's, where neither its name nor its number stands for another.
fn add(
    here: &mut BTreeMap<&'static str, u16>,
    name: &'static str,
    number: u16,
) -> Result<(), String> {
    let holder = here.iter().find(|(_, there)| **there == number);
    match (here.get(name), holder) {
        (Some(there), _) if *there == number => Ok(()),
        (None, None) if number != NONE => {
            here.insert(name, number);
            Ok(())
        }
        (there, holder) => Err(format!(
            "{name} is {number}, but also {there:?}, and {holder:?} is there"
        )),
    }
}

/// Whether a MIPS table only keeps the number's place by this name.
fn is_placeholder(name: &str) -> bool {
    ["unused", "reserved"]
        .iter()
        .filter_map(|prefix| name.strip_prefix(prefix))
        .any(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Writes items as comma-separated lines of at most 100 columns.
fn lines(text: &mut String, items: impl Iterator<Item = String>) {
    let mut line = String::from("   ");
    for item in items {
        if line.len() + item.len() + 2 > 100 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(&item);
        line.push(',');
    }
    text.push_str(&line);
    text.push('\n');
}
