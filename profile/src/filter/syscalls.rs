//! System call names: which names exist on any architecture, their numbers, and the likely name
//! behind a mistyped one.
//!
//! The table is the kernel's (`make generate`). Names that only libseccomp or an architecture
//! without a kernel table here gives are listed in `examples/generate-tables.rs`: the private
//! calls of ARM (`arch/arm/include/uapi/asm/unistd.h`) and two of m68k (its `syscall.tbl`).

use crate::filter::Arch;

#[rustfmt::skip]
mod table;

/// ARM's private calls, from `__ARM_NR_BASE` (0x0f0000) on. `cacheflush` is an ordinary system call
/// on other architectures.
const ARM_PRIVATE: [(&str, u32); 6] = [
    ("breakpoint", 0x0f_0001),
    ("cacheflush", 0x0f_0002),
    ("usr26", 0x0f_0003),
    ("usr32", 0x0f_0004),
    ("set_tls", 0x0f_0005),
    ("get_tls", 0x0f_0006),
];

/// Whether any architecture has a call of this name.
pub fn is_known(name: &str) -> bool {
    index(name).is_some()
}

/// Every name of any architecture, sorted.
pub fn names() -> &'static [&'static str] {
    &table::NAMES
}

/// The known name that an unknown one probably means; `None` if none is close.
///
/// The prefixes that C code uses (`__NR_`, `SYS_`, `sys_`) are ignored.
pub fn nearest(name: &str) -> Option<&'static str> {
    let plain = ["__NR_", "SYS_", "sys_"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    crate::filter::nearest::nearest(plain, table::NAMES.iter().copied())
}

/// The call's number on an architecture; `None` if it has no such call, and for the
/// architectures without a table here (x32, s390, MIPS n32, PA-RISC, m68k, sh).
pub fn number(name: &str, arch: Arch) -> Option<u32> {
    if arch.concrete() == Arch::Arm
        && let Some((_, number)) = ARM_PRIVATE.iter().find(|(private, _)| *private == name)
    {
        return Some(*number);
    }
    match column(arch)?[index(name)?] {
        table::NONE => None,
        number => Some(u32::from(number)),
    }
}

/// The name of a number on an architecture; `None` if [`number`] gives no such number.
pub fn name(number: u32, arch: Arch) -> Option<&'static str> {
    if arch.concrete() == Arch::Arm
        && let Some((name, _)) = ARM_PRIVATE.iter().find(|(_, private)| *private == number)
    {
        return Some(name);
    }
    let number = u16::try_from(number)
        .ok()
        .filter(|number| *number != table::NONE)?;
    let row = column(arch)?.iter().position(|there| *there == number)?;
    Some(table::NAMES[row])
}

/// Where a name stands in the table.
fn index(name: &str) -> Option<usize> {
    let mut slot = slot_of(name);
    while let Some(row) = SLOTS[slot].checked_sub(1) {
        let row = usize::from(row);
        if table::NAMES[row] == name {
            return Some(row);
        }
        slot = (slot + 1) % SIZE;
    }
    None
}

/// A hash table of the names, open addressing: each slot is a row plus one, or 0. The gate looks up
/// every name of two filters for each container, and a binary search takes ten comparisons.
#[allow(clippy::cast_possible_truncation)] // rows are few
static SLOTS: [u16; SIZE] = {
    let mut slots = [0; SIZE];
    let mut row = 0;
    while row < table::NAMES.len() {
        let mut slot = slot_of(table::NAMES[row]);
        while slots[slot] != 0 {
            slot = (slot + 1) % SIZE;
        }
        row += 1;
        slots[slot] = row as u16;
    }
    slots
};

/// Slots in the hash table: more than twice the names, so that a search ends soon.
const SIZE: usize = 2048;
const _: () = assert!(table::NAMES.len() < SIZE / 2);

/// The slot where the search for a name begins (FNV-1a).
#[allow(clippy::cast_lossless)] // `From` is not const
const fn slot_of(name: &str) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % SIZE
}

fn column(arch: Arch) -> Option<&'static [u16; table::NAMES.len()]> {
    Some(match arch.concrete() {
        Arch::X86_64 => &table::X86_64,
        Arch::X86 => &table::X86,
        Arch::Aarch64 => &table::AARCH64,
        Arch::Arm => &table::ARM,
        Arch::Loongarch64 => &table::LOONGARCH64,
        Arch::Mips | Arch::Mipsel => &table::MIPS,
        Arch::Mips64 | Arch::Mipsel64 => &table::MIPS64,
        Arch::Ppc => &table::PPC,
        Arch::Ppc64 | Arch::Ppc64Le => &table::PPC64,
        Arch::Riscv64 => &table::RISCV64,
        Arch::S390X => &table::S390X,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{ARM_PRIVATE, is_known, name, names, nearest, number};
    use crate::Arch;
    use libseccomp::{ScmpArch, ScmpSyscall};

    #[test]
    fn names_are_sorted_and_each_is_found() {
        assert!(names().windows(2).all(|pair| pair[0] < pair[1]));
        assert!(names().iter().all(|name| is_known(name)));
        for unknown in ["", "raed", "READ", "read ", "zzz", "unused18", "r#break"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (name, arch, expected) in [
            ("read", Arch::X86_64, Some(0)),
            ("read", Arch::X86, Some(3)),
            ("read", Arch::Aarch64, Some(63)),
            ("openat2", Arch::S390X, Some(437)),
            ("read", Arch::Mipsel, Some(4003)),
            ("read", Arch::Mips64, Some(5000)),
            ("read", Arch::Ppc64Le, Some(3)),
            ("riscv_hwprobe", Arch::Riscv64, Some(258)),
            ("riscv_hwprobe", Arch::X86_64, None),
            ("listns", Arch::X86, Some(470)),
            ("rseq_slice_yield", Arch::Aarch64, Some(471)),
            ("rseq_slice_yield", Arch::Mips64, Some(5471)),
            ("open", Arch::Aarch64, None),
            ("clock_gettime64", Arch::Arm, Some(403)),
            ("clock_gettime64", Arch::Aarch64, None),
            ("futex_time64", Arch::Loongarch64, None),
            ("set_tls", Arch::Arm, Some(0xf_0005)),
            ("cacheflush", Arch::Arm, Some(0xf_0002)),
            ("cacheflush", Arch::Mips, Some(4147)),
            ("set_tls", Arch::X86_64, None),
            ("raed", Arch::X86_64, None),
            ("read", Arch::X32, None),
        ] {
            assert_eq!(number(name, arch), expected, "{name} on {arch}");
        }
        assert_eq!(number("read", Arch::Native), number("read", Arch::HOST));
    }

    #[test]
    fn a_number_leads_back_to_its_name() {
        for arch in Arch::ALL {
            for there in names() {
                if let Some(number) = number(there, *arch) {
                    assert_eq!(name(number, *arch), Some(*there), "{number} on {arch}");
                }
            }
        }
        assert_eq!(name(0xffff, Arch::X86_64), None);
        assert_eq!(name(0x1_0000, Arch::X86_64), None);
        assert_eq!(name(5000, Arch::X86_64), None);
    }

    /// Every name that libseccomp's tables give to a number of any architecture is known here, with
    /// the same number.
    #[test]
    fn every_name_of_libseccomp_is_known_and_has_its_number() {
        // With the first number of an architecture's own: libseccomp takes bare ones for MIPS too.
        let arches = [
            (ScmpArch::X86, Some((Arch::X86, 0))),
            (ScmpArch::X8664, Some((Arch::X86_64, 0))),
            (ScmpArch::X32, None),
            (ScmpArch::Arm, Some((Arch::Arm, 0))),
            (ScmpArch::Aarch64, Some((Arch::Aarch64, 0))),
            (ScmpArch::Mips, Some((Arch::Mips, 4000))),
            (ScmpArch::Mips64, Some((Arch::Mips64, 5000))),
            (ScmpArch::Mips64N32, None),
            (ScmpArch::Ppc, Some((Arch::Ppc, 0))),
            (ScmpArch::Ppc64, Some((Arch::Ppc64, 0))),
            (ScmpArch::S390, None),
            (ScmpArch::S390X, Some((Arch::S390X, 0))),
            (ScmpArch::Parisc, None),
            (ScmpArch::Parisc64, None),
            (ScmpArch::Riscv64, Some((Arch::Riscv64, 0))),
        ];
        // Its own numbers for calls that an architecture lacks are below -100 and -10000; ARM's
        // private ones and those of x32 have a bit set.
        let ranges = [
            (-10_600, -10_000),
            (-500, -100),
            (0, 8_192),
            (0xf_0000, 0xf_0010),
            (0x4000_0000, 0x4000_0400),
        ];
        let mut seen = 0;
        let mut wrong = Vec::new();
        for (token, arch) in arches {
            for there in ranges.into_iter().flat_map(|(first, end)| first..end) {
                let Ok(name) = ScmpSyscall::from(there).get_name_by_arch(token) else {
                    continue;
                };
                seen += 1;
                if !is_known(&name) {
                    wrong.push(format!("{name}: unknown, {there} on {token:?}"));
                }
                if let (Some((arch, first)), Ok(there)) = (arch, u32::try_from(there))
                    && there >= first
                    && number(&name, arch) != Some(there)
                {
                    wrong.push(format!("{name} on {arch}: not {there}"));
                }
            }
        }
        assert!(seen > 5_000, "only {seen} names");
        assert!(
            wrong.is_empty(),
            "is the table older than libseccomp? {wrong:#?}"
        );
    }

    /// And the other way around: no architecture has a call here that libseccomp knows but says is
    /// missing there, or has another number.
    #[test]
    fn no_architecture_has_a_call_that_libseccomp_says_it_lacks() {
        let mut seen = 0;
        let mut wrong = Vec::new();
        for arch in Arch::ALL {
            let Ok(token) = arch.as_str().parse::<ScmpArch>() else {
                continue;
            };
            for there in names() {
                let (Some(number), Ok(by_library)) = (
                    number(there, *arch),
                    ScmpSyscall::from_name_by_arch(there, token),
                ) else {
                    continue;
                };
                seen += 1;
                let by_library = i32::from(by_library);
                // It reaches these behind `socketcall` and `ipc`, also where they have numbers.
                if (-299..=-101).contains(&by_library) {
                    continue;
                }
                if u32::try_from(by_library) != Ok(number) {
                    wrong.push(format!("{there} on {arch}: {number}, not {by_library}"));
                }
            }
        }
        assert!(seen > 3_000, "only {seen} calls");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_private_calls_of_arm_are_known_by_name() {
        assert!(ARM_PRIVATE.iter().all(|(name, _)| is_known(name)));
    }

    #[test]
    fn the_nearest_name_is_looked_for_behind_the_prefixes_of_c() {
        for (typed, meant) in [
            ("opnat", Some("openat")),
            ("SYS_openat", Some("openat")),
            ("__NR_clone33", Some("clone3")),
            ("OPENAT2", Some("openat2")),
            ("nothing like this", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
