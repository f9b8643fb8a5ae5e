//! Why a container can't be recorded, or its profile not written.

use super::{cgroup::CgroupError, kernel::KernelError};
use portcullis_profile::{DocumentError, root::ReadError};
use std::{io, path::PathBuf};

/// Why something can't be recorded or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An annotation can't be understood.
    #[error("annotation {annotation}: {reason}")]
    Annotation {
        /// Its key.
        annotation: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// hook.toml is broken.
    #[error("the settings can't be used: {0}")]
    Settings(String),
    /// hook.toml names no folder.
    #[error("[record] folders in hook.toml is empty: nowhere to write")]
    NoFolder,
    /// The container's cgroup can't be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel can't record.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file or folder can't be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is to be read for a recording can't be.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// A profile that is to be extended is not valid.
    #[error("{}: {source}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// The base profile is not there.
    #[error("{}: no such file; it is the base that the annotation names", .0.display())]
    NoBase(PathBuf),
    /// The state on standard input lacks the process.
    #[error("the state on stdin has no process id")]
    NoProcess,
    /// No file can be named after it.
    #[error("the container's ID is too long to name a file after")]
    LongId,
    /// What the kernel says of a process lacks the number of its filters.
    #[error("/proc/{0}/status does not say which seccomp filters the process has")]
    NoFilterCount(String),
    /// It would start unrecorded, and its filter was relaxed for the recording.
    #[error("{0}; the denials of its filter are only logged, so it can't start unrecorded")]
    Relaxed(String),
    /// Starting failed, and what was done until then could not be undone.
    #[error("{error}; what was started stays until the next collect --stale: {left}")]
    NotUndone {
        /// Why it could not be started.
        error: Box<RecordError>,
        /// What could not be undone.
        left: String,
    },
    /// There is no such recording.
    #[error("no recording of a container {0:?}")]
    Unknown(String),
    /// More than one ID starts so.
    #[error("more than one recorded container has an ID that starts with {0:?}")]
    Ambiguous(String),
    /// What is known of a recording can't be read.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was observed.
    #[error("container {id}: {reason}, so there is no profile; {} says what is known", metadata.display())]
    Nothing {
        /// The container.
        id: String,
        /// Why.
        reason: &'static str,
        /// The metadata that was written instead.
        metadata: PathBuf,
    },
}

impl RecordError {
    /// An error of the file system.
    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> RecordError {
        RecordError::Io {
            path: path.into(),
            source: source.into(),
        }
    }
}
