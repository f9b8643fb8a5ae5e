//! A small disk, which can be full.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system in memory, mounted on a folder until this is dropped.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one.
    pub(crate) fn on(folder: &Path) -> Result<Mount> {
        fs::create_dir_all(folder)?;
        let mount = Mount(folder.to_owned());
        mount.run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs"])?;
        Ok(mount)
    }

    /// Runs a program with these arguments and the folder.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = Command::new(program)
            .args(arguments)
            .arg(&self.0)
            .output()
            .with_context(|| program.to_owned())?;
        if !output.status.success() {
            bail!("{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Leaves no room, until the returned file is removed.
    pub(crate) fn fill(&self) -> Result<PathBuf> {
        let file = self.0.join("filler");
        let written = fs::write(&file, vec![0; 1 << 20]);
        ensure!(written.is_err(), "a mebibyte had room");
        Ok(file)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.run("umount", &["--lazy"]);
    }
}
