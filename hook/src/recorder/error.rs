//! Why something can't be recorded or written.

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
    /// A profile that is to be built upon is not one.
    #[error("{}: {source}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// The state on standard input lacks the process.
    #[error("the state on stdin has no process id")]
    NoProcess,
    /// It would start unrecorded, and its filter was relaxed for the recording.
    #[error("{0}; the denials of its filter are only logged, so it can't start unrecorded")]
    Relaxed(String),
    /// There is no such recording.
    #[error("no recording of a container {0:?}")]
    Unknown(String),
    /// More than one container begins so.
    #[error("{0:?} is the beginning of more than one recorded container")]
    Ambiguous(String),
    /// What is known of a recording can't be read.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was seen.
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
