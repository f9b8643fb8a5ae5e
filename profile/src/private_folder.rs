//! Folders below `/run/portcullis` that belong to one part only, and regular files in them.

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, renameat},
    sys::stat::{FileStat, Mode, fstat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use std::{
    ffi::OsStr,
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Distinguishes this process's unfinished files.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What nobody but the owner may do with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They may look into it, but not write.
    MayRead,
    /// They may do nothing.
    MayDoNothing,
}

impl Others {
    fn forbidden(self) -> Mode {
        match self {
            Others::MayRead => Mode::S_IWGRP | Mode::S_IWOTH,
            Others::MayDoNothing => Mode::S_IRWXG | Mode::S_IRWXO,
        }
    }
}

/// A folder that this user owns. No link leads to it, and none in it is followed.
#[derive(Debug)]
pub struct PrivateFolder(OwnedFd);

impl PrivateFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// There is none, its path contains a link, it is not ours, or others may do more with it.
    pub fn open(path: &Path, others: Others) -> io::Result<PrivateFolder> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let folder = openat2(AT_FDCWD, path, how)?;
        if is_own(&fstat(&folder)?, others) {
            Ok(PrivateFolder(folder))
        } else {
            Err(Errno::EPERM.into())
        }
    }

    /// The contents of a regular file that is ours and that nobody else can write, at most `limit`
    /// bytes of them.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.file(name, OFlag::O_RDONLY)?;
        if !is_own(&fstat(&file)?, Others::MayRead) {
            return Err(Errno::EPERM.into());
        }
        let mut text = Vec::with_capacity(512);
        file.take(limit).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Replaces a file atomically (mode 0600).
    ///
    /// # Errors
    /// It can't be written, and nothing is left of it; or the name is a path.
    pub fn replace(&self, name: &str, text: &[u8]) -> io::Result<()> {
        if name.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{}-{number}", process::id());
        // A killed process with the same ID may have left it.
        self.remove(&temporary);
        let written = self
            .file(&temporary, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)
            .and_then(|mut file| file.write_all(text))
            .and_then(|()| Ok(renameat(&self.0, temporary.as_str(), &self.0, name)?));
        if written.is_err() {
            self.remove(&temporary);
        }
        written
    }

    /// Removes a file. Another process may have been faster.
    pub fn remove(&self, name: impl AsRef<OsStr>) {
        let _ = unlinkat(&self.0, name.as_ref(), UnlinkatFlags::NoRemoveDir);
    }

    fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        open_file(
            &self.0,
            Path::new(name),
            flags,
            ResolveFlag::RESOLVE_BENEATH,
        )
    }
}

/// Whether something is ours, and others may do no more with it than that.
fn is_own(data: &FileStat, others: Others) -> bool {
    data.st_uid == geteuid().as_raw()
        && !Mode::from_bits_truncate(data.st_mode).intersects(others.forbidden())
}

/// Creates a folder, unless there is one.
///
/// # Errors
/// It can't be created.
pub fn make_one(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Creates a private folder (mode 0700). Others use its parent too, which is created with mode
/// 0755.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        make_one(parent, 0o755)?;
    }
    make_one(folder, 0o700)
}

/// Opens a regular file, or creates it with mode 0600, without following any link and without
/// blocking.
pub(crate) fn open_file(
    at: impl AsFd,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .mode(if flags.contains(OFlag::O_CREAT) {
            Mode::S_IRUSR | Mode::S_IWUSR
        } else {
            Mode::empty()
        })
        .resolve(resolve | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = File::from(openat2(at, path, how)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Errno::EINVAL.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    #[test]
    fn only_the_last_folder_is_private_and_only_regular_files_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("parent/own");
        make(&folder).unwrap();
        make(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&root.path().join("parent")) & 0o700, 0o700);
        let open = |name: &str, flags| {
            let resolve = ResolveFlag::empty();
            open_file(AT_FDCWD, &folder.join(name), flags, resolve)
        };
        open("file", OFlag::O_WRONLY | OFlag::O_CREAT).unwrap();
        assert_eq!(mode(&folder.join("file")), 0o600);
        symlink("file", folder.join("link")).unwrap();
        mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(open("file", OFlag::O_RDONLY).is_ok());
        for name in ["link", "fifo", "."] {
            assert!(open(name, OFlag::O_RDONLY).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_or_file_that_others_may_change_is_not_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("own");
        make(&path).unwrap();
        let folder = PrivateFolder::open(&path, Others::MayDoNothing).unwrap();
        folder.replace("file", b"one").unwrap();
        folder.replace("file", b"two").unwrap();
        assert_eq!(folder.read("file", 9).unwrap(), b"two");
        assert_eq!(folder.read("file", 2).unwrap(), b"tw");
        assert_eq!(
            fs::read_dir(&path).unwrap().count(),
            1,
            "nothing unfinished"
        );
        let change = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        change(&path.join("file"), 0o620);
        folder.read("file", 9).unwrap_err();
        for (mode, read, nothing) in [
            (0o700, true, true),
            (0o755, true, false),
            (0o720, false, false),
            (0o702, false, false),
        ] {
            change(&path, mode);
            let open = |others| PrivateFolder::open(&path, others).is_ok();
            assert_eq!(open(Others::MayRead), read, "{mode:o}");
            assert_eq!(open(Others::MayDoNothing), nothing, "{mode:o}");
        }
        change(&path, 0o700);
        symlink(&path, root.path().join("link")).unwrap();
        PrivateFolder::open(&root.path().join("link"), Others::MayRead).unwrap_err();
        folder.remove("file");
        folder.read("file", 9).unwrap_err();
        folder.replace("../outside", b"x").unwrap_err();
        assert!(!root.path().join("outside").exists());
    }
}
