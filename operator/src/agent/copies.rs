//! A folder of copies in the agent's state, readable only by the agent. Each copy is replaced
//! atomically.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const TEMPORARY: &str = ".new";

/// The folder.
#[derive(Debug)]
pub(super) struct Copies(PathBuf);

impl Copies {
    /// Opens a folder in the agent's state, creating it if it is missing.
    pub(super) fn open(state: &Path, name: &str) -> io::Result<Copies> {
        let folder = state.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(Copies(folder))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces a copy. Without `durable` it may be lost in a crash, but is never half-written
    /// otherwise.
    pub(super) fn replace(&self, name: &str, parts: &[&[u8]], durable: bool) -> io::Result<()> {
        let new = self.0.join(TEMPORARY);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        for part in parts {
            file.write_all(part)?;
        }
        if durable {
            file.sync_all()?;
        }
        fs::rename(&new, self.0.join(name))?;
        if durable {
            File::open(&self.0)?.sync_all()?;
        }
        Ok(())
    }
}
