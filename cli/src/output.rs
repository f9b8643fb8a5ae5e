//! Writing results: to standard output, or to a file that is replaced as a whole.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("standard output: {0}")]
    Standard(io::Error),
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
}

/// Where a profile goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// The file to write; it is replaced as a whole. The default is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Output {
    /// Writes a text and a newline.
    ///
    /// # Errors
    /// It can't be written; an existing file is then left as it is.
    pub(crate) fn write(&self, text: &str) -> Result<(), OutputError> {
        self.write_exactly(format!("{}\n", text.trim_end()).as_bytes())
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn write_exactly(&self, bytes: &[u8]) -> Result<(), OutputError> {
        match &self.output {
            None => send(bytes),
            Some(path) => replace(path, bytes).map_err(|error| OutputError::File {
                path: path.display().to_string(),
                error,
            }),
        }
    }
}

/// Writes to standard output. A reader that has seen enough, such as head(1), is no error.
///
/// # Errors
/// It can't be written.
pub(crate) fn print(text: &str) -> Result<(), OutputError> {
    send(text.as_bytes())
}

fn send(bytes: &[u8]) -> Result<(), OutputError> {
    let mut standard = io::stdout().lock();
    match standard.write_all(bytes).and_then(|()| standard.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(OutputError::Standard(error))
        }
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    // Profiles are no secret, and whoever serves them to nodes may be another user.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
