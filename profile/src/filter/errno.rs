//! Errno names and numbers, as `errno` and `defaultErrno` of the containers form use them.

use crate::{filter::Arch, filter::nearest};

/// The kernel's generic numbers (`include/uapi/asm-generic/errno{-base,}.h`) and libc's three
/// aliases, sorted by name.
#[rustfmt::skip]
static NAMES: [(&str, u16); 134] = [
    ("E2BIG", 7), ("EACCES", 13), ("EADDRINUSE", 98), ("EADDRNOTAVAIL", 99), ("EADV", 68),
    ("EAFNOSUPPORT", 97), ("EAGAIN", 11), ("EALREADY", 114), ("EBADE", 52), ("EBADF", 9),
    ("EBADFD", 77), ("EBADMSG", 74), ("EBADR", 53), ("EBADRQC", 56), ("EBADSLT", 57),
    ("EBFONT", 59), ("EBUSY", 16), ("ECANCELED", 125), ("ECHILD", 10), ("ECHRNG", 44),
    ("ECOMM", 70), ("ECONNABORTED", 103), ("ECONNREFUSED", 111), ("ECONNRESET", 104),
    ("EDEADLK", 35), ("EDEADLOCK", 35), ("EDESTADDRREQ", 89), ("EDOM", 33), ("EDOTDOT", 73),
    ("EDQUOT", 122), ("EEXIST", 17), ("EFAULT", 14), ("EFBIG", 27), ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113), ("EHWPOISON", 133), ("EIDRM", 43), ("EILSEQ", 84), ("EINPROGRESS", 115),
    ("EINTR", 4), ("EINVAL", 22), ("EIO", 5), ("EISCONN", 106), ("EISDIR", 21), ("EISNAM", 120),
    ("EKEYEXPIRED", 127), ("EKEYREJECTED", 129), ("EKEYREVOKED", 128), ("EL2HLT", 51),
    ("EL2NSYNC", 45), ("EL3HLT", 46), ("EL3RST", 47), ("ELIBACC", 79), ("ELIBBAD", 80),
    ("ELIBEXEC", 83), ("ELIBMAX", 82), ("ELIBSCN", 81), ("ELNRNG", 48), ("ELOOP", 40),
    ("EMEDIUMTYPE", 124), ("EMFILE", 24), ("EMLINK", 31), ("EMSGSIZE", 90), ("EMULTIHOP", 72),
    ("ENAMETOOLONG", 36), ("ENAVAIL", 119), ("ENETDOWN", 100), ("ENETRESET", 102),
    ("ENETUNREACH", 101), ("ENFILE", 23), ("ENOANO", 55), ("ENOBUFS", 105), ("ENOCSI", 50),
    ("ENODATA", 61), ("ENODEV", 19), ("ENOENT", 2), ("ENOEXEC", 8), ("ENOKEY", 126), ("ENOLCK", 37),
    ("ENOLINK", 67), ("ENOMEDIUM", 123), ("ENOMEM", 12), ("ENOMSG", 42), ("ENONET", 64),
    ("ENOPKG", 65), ("ENOPROTOOPT", 92), ("ENOSPC", 28), ("ENOSR", 63), ("ENOSTR", 60),
    ("ENOSYS", 38), ("ENOTBLK", 15), ("ENOTCONN", 107), ("ENOTDIR", 20), ("ENOTEMPTY", 39),
    ("ENOTNAM", 118), ("ENOTRECOVERABLE", 131), ("ENOTSOCK", 88), ("ENOTSUP", 95), ("ENOTTY", 25),
    ("ENOTUNIQ", 76), ("ENXIO", 6), ("EOPNOTSUPP", 95), ("EOVERFLOW", 75), ("EOWNERDEAD", 130),
    ("EPERM", 1), ("EPFNOSUPPORT", 96), ("EPIPE", 32), ("EPROTO", 71), ("EPROTONOSUPPORT", 93),
    ("EPROTOTYPE", 91), ("ERANGE", 34), ("EREMCHG", 78), ("EREMOTE", 66), ("EREMOTEIO", 121),
    ("ERESTART", 85), ("ERFKILL", 132), ("EROFS", 30), ("ESHUTDOWN", 108), ("ESOCKTNOSUPPORT", 94),
    ("ESPIPE", 29), ("ESRCH", 3), ("ESRMNT", 69), ("ESTALE", 116), ("ESTRPIPE", 86), ("ETIME", 62),
    ("ETIMEDOUT", 110), ("ETOOMANYREFS", 109), ("ETXTBSY", 26), ("EUCLEAN", 117), ("EUNATCH", 49),
    ("EUSERS", 87), ("EWOULDBLOCK", 11), ("EXDEV", 18), ("EXFULL", 54),
];

/// Up to here (ERANGE) every architecture has the same numbers (`errno-base.h`).
const COMMON: u16 = 34;

/// The number of a name on an architecture, as the kernel returns it.
///
/// `None` for an unknown name, and for one above ERANGE on MIPS and PA-RISC, which have numbers
/// of their own that are not tabled here.
pub fn number(name: &str, arch: Arch) -> Option<u16> {
    // arch/powerpc/include/uapi/asm/errno.h
    if name == "EDEADLOCK" && matches!(arch.concrete(), Arch::Ppc | Arch::Ppc64 | Arch::Ppc64Le) {
        return Some(58);
    }
    let number = generic(name)?;
    (number <= COMMON || !arch.has_own_errnos()).then_some(number)
}

/// Whether this is the name of an errno.
pub fn is_known(name: &str) -> bool {
    generic(name).is_some()
}

/// The name of a number on architectures with the generic numbers. If there are several, it is the
/// one that `errno(1)` prints.
pub fn name(number: u16) -> Option<&'static str> {
    NAMES
        .iter()
        .filter(|(name, _)| !matches!(*name, "EWOULDBLOCK" | "EDEADLOCK" | "ENOTSUP"))
        .find_map(|(name, there)| (*there == number).then_some(*name))
}

/// The known name that an unknown one probably means.
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest::nearest(name, NAMES.iter().map(|(name, _)| *name))
}

fn generic(name: &str) -> Option<u16> {
    let row = NAMES
        .binary_search_by(|(there, _)| (*there).cmp(name))
        .ok()?;
    Some(NAMES[row].1)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, is_known, name, nearest, number};
    use crate::filter::Arch;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sorted_and_agrees_with_the_kernels() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let mut aliases = BTreeSet::new();
        for (name, number) in NAMES {
            let kernel = syscalls::Errno::new(i32::from(number));
            if kernel.name() != Some(name) {
                aliases.insert((name, kernel.name().unwrap()));
            }
        }
        let expected = [
            ("EDEADLOCK", "EDEADLK"),
            ("ENOTSUP", "EOPNOTSUPP"),
            ("EWOULDBLOCK", "EAGAIN"),
        ];
        assert_eq!(aliases, BTreeSet::from(expected));
        // 512 and above never leave the kernel.
        for kernel in (1..512).map(syscalls::Errno::new) {
            if let Some(name) = kernel.name() {
                assert!(is_known(name), "{name} is missing");
            }
        }
    }

    #[test]
    fn names_have_the_numbers_of_the_architecture() {
        for (name, arch, expected) in [
            ("EPERM", Arch::X86_64, Some(1)),
            ("ENOSYS", Arch::Aarch64, Some(38)),
            ("ENOSYS", Arch::Mips64, None),
            ("ERANGE", Arch::Mipsel, Some(34)),
            ("EDEADLOCK", Arch::S390X, Some(35)),
            ("EDEADLOCK", Arch::Ppc64Le, Some(58)),
            ("eperm", Arch::X86_64, None),
            ("", Arch::X86_64, None),
        ] {
            assert_eq!(number(name, arch), expected, "{name} on {arch}");
        }
    }

    #[test]
    fn numbers_have_their_usual_names() {
        assert_eq!(name(11), Some("EAGAIN"));
        assert_eq!(name(95), Some("EOPNOTSUPP"));
        assert_eq!(name(0), None);
        assert_eq!(nearest("ENOSY"), Some("ENOSYS"));
        assert_eq!(nearest("eperm"), Some("EPERM"));
    }
}
