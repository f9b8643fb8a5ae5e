//! System call names: which exist on any architecture, their numbers, and the nearest name to a
//! mistyped one.
//!
//! The table is the kernel's (`make generate`). Names that only libseccomp or an architecture
//! without a kernel table here gives are listed in `examples/generate-tables.rs`: the private
//! calls of ARM (`arch/arm/include/uapi/asm/unistd.h`) and two of m68k (its `syscall.tbl`).

use crate::filter::Arch;

#[rustfmt::skip]
mod table;

/// ARM's private calls: `__ARM_NR_BASE` (0x0f0000) and what is above it. `cacheflush` is a
/// system call by itself elsewhere.
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

/// The name that was probably meant by one that is not known; `None` where nothing is near.
///
/// The prefixes under which C code knows calls (`__NR_`, `SYS_`, `sys_`) are looked through.
pub fn nearest(name: &str) -> Option<&'static str> {
    let plain = ["__NR_", "SYS_", "sys_"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    crate::nearest::nearest(plain, table::NAMES.iter().copied())
}

/// The call's number on an architecture; `None` where it has no such call, and for the
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

/// The name of a number on an architecture; `None` where [`number`] gives no such number.
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

fn index(name: &str) -> Option<usize> {
    table::NAMES.binary_search(&name).ok()
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
