//! Why a container can't be recorded, or its profile can't be written.

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
    /// hook.toml is invalid.
    #[error("the settings can't be used: {0}")]
    Settings(String),
    /// hook.toml names no folder.
    #[error("[record] folders in hook.toml is empty, so there is nowhere to write recordings")]
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
    /// A file that a recording needs can't be read.
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
    #[error("{}: no such file; the annotation names it as the base profile", .0.display())]
    NoBase(PathBuf),
    /// The state on standard input lacks the process.
    #[error("the state on stdin has no process ID")]
    NoProcess,
    /// The container's ID is too long for a file name.
    #[error("the container's ID is too long to name a file after")]
    LongId,
    /// The kernel does not say how many filters a process has.
    #[error("/proc/{0}/status does not say whether the process has seccomp filters")]
    NoFilterCount(String),
    /// The container would start unrecorded although its denials are only logged.
    #[error("{0}; the denials of its filter are only logged, so it can't start unrecorded")]
    Relaxed(String),
    /// Starting failed, and could not be undone completely.
    #[error(
        "{error}; it could not be undone completely, and the next collect --stale will do so: {left}"
    )]
    NotUndone {
        /// Why starting failed.
        error: Box<RecordError>,
        /// What could not be undone.
        left: String,
    },
    /// There is no such recording.
    #[error("no recording of a container {0:?}")]
    Unknown(String),
    /// Several IDs start like this.
    #[error("more than one recorded container has an ID that starts with {0:?}")]
    Ambiguous(String),
    /// The state of a recording can't be read.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was observed.
    #[error("container {id}: {reason}, so there is no profile; see {}", metadata.display())]
    Nothing {
        /// The container.
        id: String,
        /// Why.
        reason: &'static str,
        /// The metadata file that was written instead.
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
