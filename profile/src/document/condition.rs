//! `includes` and `excludes` of the containers form: for which containers an entry applies.

use super::Context;
use crate::document::kernel::KernelVersion;

/// The names of the kernel's capabilities (`include/uapi/linux/capability.h`).
pub static CAPABILITIES: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// One side of an entry's conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// Capabilities, compared with the bounding set.
    pub(super) caps: Vec<String>,
    /// Architectures by libseccomp's Go names, compared with the native one.
    pub(super) arches: Vec<String>,
    /// Whether `minKernel` is given, in whatever form.
    pub(super) asks_for_kernel: bool,
    /// A kernel version that none of the engines compares with anything.
    pub(super) min_kernel: Option<KernelVersion>,
}

impl Condition {
    /// Whether there are no conditions.
    pub(super) fn is_empty(&self) -> bool {
        self.caps.is_empty() && self.arches.is_empty() && !self.asks_for_kernel
    }
}

/// Whether an entry with these conditions is part of the filter (containers/common,
/// `pkg/seccomp/seccomp_linux.go`). It is left out if an architecture or capability in `excludes`
/// matches, if the architecture is not in `includes`, or if any capability in `includes` is
/// missing. Capabilities are ignored if the configuration has none.
pub(super) fn applies(includes: &Condition, excludes: &Condition, context: &Context<'_>) -> bool {
    let native = context.native.go_name().unwrap_or_default();
    let is_native = |name: &String| name == native;
    if excludes.arches.iter().any(is_native) {
        return false;
    }
    if !includes.arches.is_empty() && !includes.arches.iter().any(is_native) {
        return false;
    }
    let Some(bounding) = context.bounding else {
        return true;
    };
    !excludes.caps.iter().any(|cap| bounding.contains(cap))
        && includes.caps.iter().all(|cap| bounding.contains(cap))
}

/// The kernel version because of which moby would leave out an entry that [`applies`] keeps:
/// `includes` requires a later kernel, or `excludes` excludes this one (moby,
/// `profiles/seccomp/seccomp_linux.go`). Also returns the key of that side.
pub(super) fn unmet_min_kernel(
    includes: &Condition,
    excludes: &Condition,
    kernel: KernelVersion,
) -> Option<(&'static str, KernelVersion)> {
    if let Some(minimum) = excludes.min_kernel
        && kernel >= minimum
    {
        return Some(("excludes", minimum));
    }
    if let Some(minimum) = includes.min_kernel
        && kernel < minimum
    {
        return Some(("includes", minimum));
    }
    None
}
