//! The folder `operator/` below the seccomp root: atomic files, and no link followed.

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, renameat},
    sys::stat::{Mode, fchmod, fstatat, mkdirat},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// The folder's name below the root.
pub const NAME: &str = "operator";
const TEMPORARY: &str = ".portcullis.tmp";
const MODE: u32 = 0o644;

/// Why the folder or a file in it can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder is a link.
    #[error("{0} is a link, and no link is followed there; mend it with: rm {0}", path.display())]
    Linked {
        /// The folder.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is in a file's place.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A regular file with this text, and nobody else's hard link, in the right mode.
    Same,
    /// Something else.
    Other,
}

/// The folder, opened.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens it, made where it is missing.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(root: &Path) -> Result<Folder, FolderError> {
        let path = root.join(NAME);
        let io = |source: Errno| FolderError::Io {
            path: path.clone(),
            source: source.into(),
        };
        std::fs::create_dir_all(root).map_err(|source| FolderError::Io {
            path: root.to_owned(),
            source,
        })?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = open(root, flags, Mode::empty()).map_err(io)?;
        match mkdirat(&parent, NAME, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(io(error)),
        }
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let descriptor = match openat2(&parent, NAME, how) {
            Ok(descriptor) => descriptor,
            Err(Errno::ELOOP) => return Err(FolderError::Linked { path }),
            Err(error) => return Err(io(error)),
        };
        let folder = Folder { path, descriptor };
        let _ = unlinkat(&folder.descriptor, TEMPORARY, UnlinkatFlags::NoRemoveDir);
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a path still leads to this folder.
    pub fn is_current(&self, root: &Path) -> bool {
        let Ok(here) = nix::sys::stat::fstat(&self.descriptor) else {
            return false;
        };
        std::fs::symlink_metadata(root.join(NAME)).is_ok_and(|there| {
            there.is_dir() && (there.dev(), there.ino()) == (here.st_dev, here.st_ino)
        })
    }

    /// What is in a file's place.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn compare(&self, file: &str, text: &[u8]) -> Result<Found, FolderError> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let descriptor = match openat2(&self.descriptor, file, how) {
            Ok(descriptor) => descriptor,
            Err(Errno::ENOENT) => return Ok(Found::Nothing),
            Err(Errno::ELOOP | Errno::ENXIO | Errno::EXDEV) => return Ok(Found::Other),
            Err(error) => return Err(self.io(file, error)),
        };
        let handle = File::from(descriptor);
        let wrong = |source| FolderError::Io {
            path: self.path.join(file),
            source,
        };
        let data = handle.metadata().map_err(wrong)?;
        let right = data.is_file()
            && data.len() == text.len() as u64
            && data.mode() & 0o7777 == MODE
            && data.nlink() == 1;
        if !right {
            return Ok(Found::Other);
        }
        let mut there = Vec::with_capacity(text.len() + 1);
        handle
            .take(text.len() as u64 + 1)
            .read_to_end(&mut there)
            .map_err(wrong)?;
        Ok(if there == text {
            Found::Same
        } else {
            Found::Other
        })
    }

    /// Whether anything has this name, be it a link.
    pub fn has(&self, file: &str) -> bool {
        fstatat(&self.descriptor, file, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Puts a file in place: a reader sees the old one or the new one, never a part.
    ///
    /// # Errors
    /// [`FolderError::Io`]; what was there stays.
    pub fn put(&self, file: &str, text: &[u8]) -> Result<(), FolderError> {
        let _ = unlinkat(&self.descriptor, TEMPORARY, UnlinkatFlags::NoRemoveDir);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let descriptor = openat(&self.descriptor, TEMPORARY, flags, mode)
            .map_err(|error| self.io(TEMPORARY, error))?;
        let mut handle = File::from(descriptor);
        handle
            .write_all(text)
            .and_then(|()| Ok(fchmod(&handle, Mode::from_bits_truncate(MODE))?))
            .and_then(|()| handle.sync_all())
            .map_err(|source| FolderError::Io {
                path: self.path.join(TEMPORARY),
                source,
            })?;
        renameat(&self.descriptor, TEMPORARY, &self.descriptor, file)
            .map_err(|error| self.io(file, error))
    }

    /// Takes a file away; it is well where it is not there.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn remove(&self, file: &str) -> Result<(), FolderError> {
        match unlinkat(&self.descriptor, file, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.io(file, error)),
        }
    }

    /// Makes what was put and removed last.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn sync(&self) -> Result<(), FolderError> {
        fsync(&self.descriptor).map_err(|error| self.io(".", error))
    }

    /// The files in it.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn files(&self) -> Result<Vec<String>, FolderError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = Dir::openat(&self.descriptor, ".", flags, Mode::empty())
            .map_err(|error| self.io(".", error))?;
        Ok(folder
            .iter()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| !name.starts_with('.'))
            .collect())
    }

    fn io(&self, file: &str, error: Errno) -> FolderError {
        FolderError::Io {
            path: self.path.join(file),
            source: error.into(),
        }
    }
}
