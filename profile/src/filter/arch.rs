//! What reading a document takes to know about architectures: the host's own, and the names that
//! the containers form and libseccomp use.

use crate::filter::Arch;

impl Arch {
    /// The architecture that this program was built for; [`Arch::Native`] if seccomp has no token
    /// for it.
    pub const HOST: Arch = if cfg!(target_arch = "x86_64") {
        if cfg!(target_pointer_width = "32") {
            Arch::X32
        } else {
            Arch::X86_64
        }
    } else if cfg!(target_arch = "x86") {
        Arch::X86
    } else if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else if cfg!(target_arch = "arm") {
        Arch::Arm
    } else if cfg!(all(target_arch = "mips", target_endian = "big")) {
        Arch::Mips
    } else if cfg!(target_arch = "mips") {
        Arch::Mipsel
    } else if cfg!(all(target_arch = "mips64", target_endian = "big")) {
        Arch::Mips64
    } else if cfg!(target_arch = "mips64") {
        Arch::Mipsel64
    } else if cfg!(target_arch = "powerpc") {
        Arch::Ppc
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "big")) {
        Arch::Ppc64
    } else if cfg!(target_arch = "powerpc64") {
        Arch::Ppc64Le
    } else if cfg!(target_arch = "s390x") {
        Arch::S390X
    } else if cfg!(target_arch = "riscv64") {
        Arch::Riscv64
    } else if cfg!(target_arch = "loongarch64") {
        Arch::Loongarch64
    } else {
        Arch::Native
    };

    /// The architecture itself, [`Arch::HOST`] for [`Arch::Native`].
    #[must_use]
    pub const fn concrete(self) -> Arch {
        match self {
            Arch::Native => Arch::HOST,
            other => other,
        }
    }

    /// The name in `includes.arches` and `excludes.arches`: that of libseccomp's Go binding, which
    /// the containers form compares with (`ScmpArch.String`). `None` for [`Arch::Native`] on a
    /// host that seccomp has no token for.
    pub const fn go_name(self) -> Option<&'static str> {
        Some(match self.concrete() {
            Arch::Native => return None,
            Arch::X86 => "x86",
            Arch::X86_64 => "amd64",
            Arch::X32 => "x32",
            Arch::Arm => "arm",
            Arch::Aarch64 => "arm64",
            Arch::Mips => "mips",
            Arch::Mips64 => "mips64",
            Arch::Mips64N32 => "mips64n32",
            Arch::Mipsel => "mipsel",
            Arch::Mipsel64 => "mipsel64",
            Arch::Mipsel64N32 => "mipsel64n32",
            Arch::Ppc => "ppc",
            Arch::Ppc64 => "ppc64",
            Arch::Ppc64Le => "ppc64le",
            Arch::S390 => "s390",
            Arch::S390X => "s390x",
            Arch::Parisc => "parisc",
            Arch::Parisc64 => "parisc64",
            Arch::Riscv64 => "riscv64",
            Arch::Loongarch64 => "loong64",
            Arch::M68K => "m68k",
            Arch::Sh => "sh",
            Arch::Sheb => "sheb",
        })
    }

    /// The architecture that a name probably means: a token or its end, or a Go name, in any case.
    /// For hints only.
    pub(crate) fn hinted(name: &str) -> Option<Arch> {
        const PREFIX: &str = "SCMP_ARCH_";
        let short = match name.get(..PREFIX.len()) {
            Some(start) if start.eq_ignore_ascii_case(PREFIX) => &name[PREFIX.len()..],
            _ => name,
        };
        let mut concrete = Arch::ALL
            .iter()
            .copied()
            .filter(|arch| *arch != Arch::Native);
        concrete.find(|arch| {
            short.eq_ignore_ascii_case(&arch.as_str()[PREFIX.len()..])
                || arch
                    .go_name()
                    .is_some_and(|go| short.eq_ignore_ascii_case(go))
        })
    }

    /// Whether `archMap` is used on a host of this architecture. On others, containers/common adds
    /// no architecture at all (`nativeToSeccomp` in its `pkg/seccomp/seccomp_linux.go`).
    pub const fn reads_arch_map(self) -> bool {
        matches!(
            self.concrete(),
            Arch::X86_64
                | Arch::Aarch64
                | Arch::Mips64
                | Arch::Mips64N32
                | Arch::Mipsel64
                | Arch::Mipsel64N32
                | Arch::S390X
        )
    }

    /// Whether errno names have other numbers here than the kernel's generic ones
    /// (`arch/{mips,parisc}/include/uapi/asm/errno.h`).
    pub const fn has_own_errnos(self) -> bool {
        matches!(
            self.concrete(),
            Arch::Mips
                | Arch::Mips64
                | Arch::Mips64N32
                | Arch::Mipsel
                | Arch::Mipsel64
                | Arch::Mipsel64N32
                | Arch::Parisc
                | Arch::Parisc64
        )
    }
}
