//! Writing and removing the drop-in. No link is followed, neither on the way nor to the file.

use nix::{
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, renameat},
    sys::stat::{Mode, fchmod},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    process,
};

/// Replaces a file atomically (mode 0644). The unfinished one lies beside the folder, since CRI-O
/// reads every file in it.
///
/// # Errors
/// It can't be written, and is as it was.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let (folder, name) = parts(path)?;
    let beside = open(folder.parent().unwrap_or(Path::new("/")))?;
    let folder = open(folder)?;
    let temporary = format!(".{name}-{}", process::id());
    let write = || -> io::Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC)
            .mode(Mode::S_IRUSR | Mode::S_IWUSR)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let mut file = File::from(openat2(&beside, temporary.as_str(), how)?);
        file.write_all(text.as_bytes())?;
        fchmod(
            &file,
            Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH,
        )?;
        file.sync_all()?;
        renameat(&beside, temporary.as_str(), &folder, name)?;
        Ok(fsync(&folder)?)
    };
    write().inspect_err(|_| {
        // The first error is the one to report.
        let _ = unlinkat(&beside, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    })
}

/// Removes a file.
///
/// # Errors
/// It can't be removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (folder, name) = parts(path)?;
    let folder = open(folder)?;
    unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?;
    Ok(fsync(&folder)?)
}

fn parts(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent()
        .zip(name)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(openat2(AT_FDCWD, folder, how)?)
}
