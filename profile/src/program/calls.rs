//! How a call reaches the kernel on an architecture: its `AUDIT_ARCH_*`, its number, and its
//! multiplexer, if it has one.

use crate::{Arch, filter::syscalls};
use libseccomp::{ScmpArch, ScmpSyscall};

/// The bit that distinguishes the numbers of x32 from those of x86-64 (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// From here on, new calls have the same number on every architecture, including x32.
const COMMON_NUMBERS: u32 = 424;

/// `AUDIT_ARCH_*` (`include/uapi/linux/audit.h`); `None` for [`Arch::Native`] on a host that
/// seccomp has no token for.
pub(crate) const fn audit_arch(arch: Arch) -> Option<u32> {
    Some(match arch.concrete() {
        Arch::Native => return None,
        Arch::X86 => 0x4000_0003,
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::Arm => 0x4000_0028,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Mips => 0x0000_0008,
        Arch::Mipsel => 0x4000_0008,
        Arch::Mips64 => 0x8000_0008,
        Arch::Mips64N32 => 0xa000_0008,
        Arch::Mipsel64 => 0xc000_0008,
        Arch::Mipsel64N32 => 0xe000_0008,
        Arch::Ppc => 0x0000_0014,
        Arch::Ppc64 => 0x8000_0015,
        Arch::Ppc64Le => 0xc000_0015,
        Arch::S390 => 0x0000_0016,
        Arch::S390X => 0x8000_0016,
        Arch::Parisc => 0x0000_000f,
        Arch::Parisc64 => 0x8000_000f,
        Arch::Riscv64 => 0xc000_00f3,
        Arch::Loongarch64 => 0xc000_0102,
        Arch::M68K => 0x0000_0004,
        Arch::Sh => 0x4000_002a,
        Arch::Sheb => 0x0000_002a,
    })
}

/// Whether libseccomp compares only the low halves of arguments (`ARCH_SIZE_32`).
pub(crate) const fn compares_low_halves(arch: Arch) -> bool {
    matches!(
        arch.concrete(),
        Arch::X86
            | Arch::X32
            | Arch::Arm
            | Arch::Mips
            | Arch::Mipsel
            | Arch::Mips64N32
            | Arch::Mipsel64N32
            | Arch::Ppc
            | Arch::S390
            | Arch::Parisc
            | Arch::M68K
            | Arch::Sh
            | Arch::Sheb
    )
}

/// A call that stands for many others, selected by its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Multiplexer {
    Socketcall,
    Ipc,
}

impl Multiplexer {
    pub(crate) const ALL: [Multiplexer; 2] = [Multiplexer::Socketcall, Multiplexer::Ipc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Multiplexer::Socketcall => "socketcall",
            Multiplexer::Ipc => "ipc",
        }
    }
}

/// How a name's calls reach the kernel on one architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// By its own number in the linked libseccomp.
    pub(crate) in_library: Option<u32>,
    /// By its own number in the kernel.
    in_kernel: Option<u32>,
    /// Behind a multiplexer, whose first argument is this.
    pub(crate) behind: Option<(Multiplexer, u32)>,
}

impl Entry {
    pub(crate) fn number(&self) -> Option<u32> {
        self.in_library.or(self.in_kernel)
    }

    /// Whether libseccomp creates a rule here.
    pub(crate) const fn is_in_library(&self) -> bool {
        self.in_library.is_some() || self.behind.is_some()
    }
}

/// Whether the linked libseccomp knows a name on any architecture.
pub(crate) fn library_knows(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
}

/// The library's token for an architecture, if it has one.
pub(crate) fn token(arch: Arch) -> Option<ScmpArch> {
    arch.as_str().parse().ok()
}

/// How a name's calls reach the kernel on an architecture, according to the tables of libseccomp
/// and the kernel.
pub(crate) fn entry(name: &str, arch: Arch) -> Entry {
    let library = token(arch)
        .and_then(|token| ScmpSyscall::from_name_by_arch(name, token).ok())
        .map(i32::from);
    // libseccomp's numbers for calls behind a multiplexer (`src/arch.h`, `__PNR_socket` …).
    let behind = match library {
        Some(number @ -199..=-101) => Some((Multiplexer::Socketcall, -number - 100)),
        Some(number @ -299..=-201) => Some((Multiplexer::Ipc, -number - 200)),
        _ => None,
    };
    Entry {
        in_library: library.and_then(|number| u32::try_from(number).ok()),
        // If the library knows a name, it also knows which architectures lack it.
        in_kernel: (behind.is_some() || !library_knows(name))
            .then(|| kernel_number(name, arch.concrete()))
            .flatten(),
        behind: behind.and_then(|(by, call)| Some((by, u32::try_from(call).ok()?))),
    }
}

/// The kernel's number. Architectures without a table here use a similar one, if there is one.
fn kernel_number(name: &str, arch: Arch) -> Option<u32> {
    match arch {
        Arch::X32 => syscalls::number(name, Arch::X86_64)
            .filter(|number| *number >= COMMON_NUMBERS)
            .map(|number| number | X32_BIT),
        // The same except for a few calls with 64-bit sizes, which libseccomp knows.
        Arch::S390 => syscalls::number(name, Arch::S390X),
        arch => syscalls::number(name, arch),
    }
}

/// The architecture and the name of the call that the kernel sees as these numbers; a call without a
/// name is named by its number.
pub(crate) fn named(audit: u32, number: u32) -> Option<(Arch, String)> {
    let is_x32 = number & X32_BIT != 0;
    let arch = Arch::ALL.iter().copied().find(|arch| {
        let takes = match arch {
            Arch::Native => false,
            Arch::X32 => is_x32,
            Arch::X86_64 => !is_x32,
            _ => true,
        };
        takes && audit_arch(*arch) == Some(audit)
    })?;
    let by_library = || {
        let call = ScmpSyscall::from(i32::try_from(number).ok()?);
        call.get_name_by_arch(token(arch)?).ok()
    };
    let by_kernel = || syscalls::name(number, arch).map(str::to_owned);
    let name = by_library().or_else(by_kernel);
    Some((arch, name.unwrap_or_else(|| format!("call {number}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_in_as_the_kernel_takes_it() {
        let socketcall = Some((Multiplexer::Socketcall, 1));
        for (name, arch, number, behind) in [
            ("mkdir", Arch::X86_64, Some(83), None),
            ("mkdir", Arch::X32, Some(83 + X32_BIT), None),
            ("mkdir", Arch::X86, Some(39), None),
            ("mkdir", Arch::Aarch64, None, None),
            ("socket", Arch::X86_64, Some(41), None),
            ("socket", Arch::X86, Some(359), socketcall),
            ("semop", Arch::X86, None, Some((Multiplexer::Ipc, 1))),
            ("shmctl", Arch::X86, Some(396), Some((Multiplexer::Ipc, 24))),
            ("umount", Arch::X86_64, None, None),
            ("set_tls", Arch::Arm, Some(0xf_0005), None),
            ("mseal", Arch::X86_64, Some(462), None),
            ("mseal", Arch::X32, Some(462 + X32_BIT), None),
            ("not_a_call", Arch::X86_64, None, None),
        ] {
            let entry = entry(name, arch);
            assert_eq!(
                (entry.number(), entry.behind),
                (number, behind),
                "{name} on {arch}"
            );
        }
        assert!(!entry("not_a_call", Arch::X86).is_in_library());
        assert!(entry("socket", Arch::X86).is_in_library());
    }
}
