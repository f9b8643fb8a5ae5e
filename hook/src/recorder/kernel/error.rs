//! Why the kernel can't record.

use super::{super::cgroup::Hierarchy, KERNEL_BTF};
use libbpf_rs::ErrorKind;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the kernel can't record.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No BPF file system.
    #[error("no BPF file system is mounted at {}; run mount -t bpf bpf {}", .0.display(), .0.display())]
    NoBpffs(PathBuf),
    /// The kernel has no type information.
    #[error("{KERNEL_BTF} does not exist: the kernel was built without CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
    /// Not allowed.
    #[error(
        "loading BPF programs is not permitted; CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, are needed"
    )]
    Permission,
    /// The program does not load.
    #[error("the recorder's program does not load: {0}")]
    Load(String),
    /// The loaded program uses another cgroup hierarchy than the node does now.
    #[error(
        "the loaded recorder uses {loaded} of cgroups, but this container is in {wanted}; \
         remove {} while nothing is recorded", pins.display()
    )]
    OtherHierarchy {
        /// What the program was loaded for.
        loaded: Hierarchy,
        /// What the container needs.
        wanted: Hierarchy,
        /// Where it is pinned.
        pins: PathBuf,
    },
    /// An operation failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The pin.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pinned object is not what it should be.
    #[error("{}: is not what this version of the recorder pins there", .0.display())]
    Foreign(PathBuf),
}

pub(super) fn load_error(error: &libbpf_rs::Error, what: &str) -> KernelError {
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::Load(format!("{what}: {error}")),
    }
}

/// What libbpf-rs says of one operation.
pub(super) fn failed(what: &'static str, path: &Path, error: &libbpf_rs::Error) -> KernelError {
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::Io {
            what,
            path: path.to_owned(),
            source: io::Error::other(format!("{error:#}")),
        },
    }
}
