//! Reading files from the seccomp root: confined to it by the kernel, regular files only, without
//! blocking, limited in size, in one read.

use crate::select::reference::ProfilePath;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long after a file's last change its version is reliable. The kernel's clock for that is some
/// milliseconds coarse.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Why a profile can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("no such file below {}", root.display())]
    Missing {
        /// The seccomp root.
        root: PathBuf,
    },
    /// A link on the way, or as the file itself.
    #[error("the path contains a symbolic link, and none is followed below {}", root.display())]
    Link {
        /// The seccomp root.
        root: PathBuf,
    },
    /// A folder, FIFO, socket or device.
    #[error("is not a regular file")]
    NotRegular,
    /// Larger than the limit.
    #[error("is larger than {limit} bytes (max_profile_bytes)")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The kernel does not confine paths.
    #[error("the kernel has no openat2 (Linux 5.6 or later is needed)")]
    NoOpenat2,
    /// The root itself can't be opened.
    #[error("{}: {source}", root.display())]
    Root {
        /// The seccomp root.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{source}")]
    Io {
        /// What the system said.
        source: io::Error,
    },
}

/// An open seccomp root. The root itself may be a link; links below it are not followed.
#[derive(Debug)]
pub struct SeccompRoot {
    path: PathBuf,
    folder: OwnedFd,
}

impl SeccompRoot {
    /// Opens a root.
    ///
    /// # Errors
    /// [`ReadError::Missing`] if it does not exist, otherwise [`ReadError::Root`].
    pub fn open(path: &Path) -> Result<SeccompRoot, ReadError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(folder) => Ok(SeccompRoot {
                path: path.to_owned(),
                folder,
            }),
            Err(Errno::ENOENT) => Err(ReadError::Missing {
                root: path.to_owned(),
            }),
            Err(error) => Err(ReadError::Root {
                root: path.to_owned(),
                source: error.into(),
            }),
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing is read from a file that is refused.
    pub fn read(&self, file: &ProfilePath, limit: u64) -> Result<Vec<u8>, ReadError> {
        read_regular(&self.open_file(file)?, limit)
    }

    /// The version of a file.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn version(&self, file: &ProfilePath) -> Result<FileVersion, ReadError> {
        let data = self.open_file(file)?.metadata();
        let data = data.map_err(|source| ReadError::Io { source })?;
        Ok(FileVersion::of(&data))
    }

    fn open_file(&self, file: &ProfilePath) -> Result<File, ReadError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        let descriptor =
            openat2(&self.folder, file.as_str(), how).map_err(|error| match error {
                Errno::ENOENT | Errno::ENOTDIR => ReadError::Missing {
                    root: self.path.clone(),
                },
                Errno::ELOOP | Errno::EXDEV => ReadError::Link {
                    root: self.path.clone(),
                },
                Errno::ENOSYS => ReadError::NoOpenat2,
                Errno::ENXIO => ReadError::NotRegular,
                other => ReadError::Io {
                    source: other.into(),
                },
            })?;
        Ok(File::from(descriptor))
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    /// The version of the file that this is about.
    pub fn of(data: &Metadata) -> FileVersion {
        FileVersion {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// The version of a file in a root, if the kernel can tell without waiting for a disk; `None` if
    /// it can't, or there is no such file. Links are not followed below the root.
    pub fn at_once(root: &Path, file: &ProfilePath) -> Option<FileVersion> {
        let folder = look_up(AT_FDCWD, root, OFlag::O_DIRECTORY, ResolveFlag::empty()).ok()?;
        let confined = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let file = look_up(&folder, Path::new(file.as_str()), OFlag::empty(), confined).ok()?;
        let data = file.metadata().ok()?;
        data.is_file().then(|| FileVersion::of(&data))
    }

    /// Whether a later change gives another version. One in the same tick of the kernel's clock may
    /// not, so a file that was changed just now has no reliable version yet.
    pub fn is_settled(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u64::try_from(nanoseconds))
        else {
            return false;
        };
        let changed = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.is_ok_and(|now| now > changed + SETTLED_AFTER)
    }
}

/// What a path leads to, if the kernel can tell without waiting for a disk. A link at its end is followed
/// or not, as told; following one may have to wait, for the time of its last use. `None` if the kernel would
/// have to wait, or can't know that (before Linux 5.12).
pub fn metadata_at_once(path: &Path, follows: bool) -> Option<io::Result<Metadata>> {
    let flags = if follows {
        OFlag::empty()
    } else {
        OFlag::O_NOFOLLOW
    };
    match look_up(AT_FDCWD, path, flags, ResolveFlag::empty()) {
        Ok(file) => Some(file.metadata()),
        Err(Errno::EAGAIN | Errno::EINVAL | Errno::ENOSYS) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// Finds a file with what the kernel has in memory (`RESOLVE_CACHED` of openat2(2)), without opening it.
fn look_up(
    folder: impl AsFd,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<File, Errno> {
    /// `RESOLVE_CACHED`, include/uapi/linux/openat2.h.
    const CACHED: ResolveFlag = ResolveFlag::from_bits_retain(0x20);
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(resolve | CACHED);
    openat2(folder, path, how).map(File::from)
}

/// Reads a file whose path the node's owner or the engine chose, such as `runtime_default` or a
/// bundle's `config.json`: links are followed, but the other limits apply.
///
/// # Errors
/// See [`ReadError`].
pub fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let descriptor = open(path, flags, Mode::empty()).map_err(|error| match error {
        // A socket, or a device without a driver.
        Errno::ENXIO => ReadError::NotRegular,
        other => ReadError::Root {
            root: path.to_owned(),
            source: other.into(),
        },
    })?;
    read_regular(&File::from(descriptor), limit)
}

fn read_regular(file: &File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { source };
    let data = file.metadata().map_err(io)?;
    if !data.is_file() {
        return Err(ReadError::NotRegular);
    }
    if data.len() > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let mut text = Vec::with_capacity(usize::try_from(data.len()).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > limit {
        return Err(ReadError::TooLarge { limit });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn read(root: &Path, file: &str) -> Result<Vec<u8>, ReadError> {
        SeccompRoot::open(root)?.read(&file.parse().unwrap(), 10)
    }

    #[test]
    fn a_regular_file_is_read_whole_also_below_a_linked_root() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("operator")).unwrap();
        fs::write(folder.path().join("operator/a.json"), "0123456789").unwrap();
        assert_eq!(
            read(folder.path(), "operator/a.json").unwrap(),
            b"0123456789"
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("root");
        symlink(folder.path(), &link).unwrap();
        assert_eq!(read(&link, "operator/a.json").unwrap(), b"0123456789");
    }

    #[test]
    fn every_change_of_a_settled_file_is_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let version = |name: &str| {
            let root = SeccompRoot::open(folder.path()).unwrap();
            root.version(&name.parse().unwrap())
        };
        fs::write(at("a"), "1").unwrap();
        let written = version("a").unwrap();
        assert!(!written.is_settled());
        while !written.is_settled() {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(version("a").unwrap(), written);
        fs::write(at("a"), "2").unwrap();
        let changed = version("a").unwrap();
        assert_ne!(changed, written);
        assert!(!changed.is_settled());
        fs::write(at("b"), "2").unwrap();
        fs::rename(at("b"), at("a")).unwrap();
        assert_ne!(version("a").unwrap(), changed);
        symlink("a", at("link")).unwrap();
        assert!(matches!(version("link"), Err(ReadError::Link { .. })));
    }

    #[test]
    fn what_the_kernel_has_in_memory_is_told_at_once_and_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        symlink("a", at("link")).unwrap();
        let root = SeccompRoot::open(folder.path()).unwrap();
        let at_once = |name: &str| FileVersion::at_once(folder.path(), &name.parse().unwrap());
        assert_eq!(at_once("a"), root.version(&"a".parse().unwrap()).ok());
        assert!(at_once("a").is_some());
        fs::write(at("a"), "22").unwrap();
        assert_eq!(at_once("a"), root.version(&"a".parse().unwrap()).ok());
        assert_eq!((at_once("link"), at_once("none")), (None, None));
        let elsewhere = FileVersion::at_once(&at("no-folder"), &"a".parse().unwrap());
        assert_eq!(elsewhere, None);
        assert!(metadata_at_once(&at("a"), true).unwrap().unwrap().is_file());
        assert!(
            metadata_at_once(&at("link"), false)
                .unwrap()
                .unwrap()
                .is_symlink()
        );
        // What is not there may have to be looked for.
        if let Some(missing) = metadata_at_once(&at("none"), true) {
            assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn links_folders_fifos_and_large_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("big"), "0123456789x").unwrap();
        fs::write(at("real"), "x").unwrap();
        symlink("real", at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder/file"), "x").unwrap();
        symlink("folder", at("linked")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        assert!(matches!(
            read(folder.path(), "big"),
            Err(ReadError::TooLarge { limit: 10 })
        ));
        assert!(matches!(
            read(folder.path(), "link"),
            Err(ReadError::Link { .. })
        ));
        assert!(matches!(
            read(folder.path(), "linked/file"),
            Err(ReadError::Link { .. })
        ));
        assert!(matches!(
            read(folder.path(), "folder"),
            Err(ReadError::NotRegular)
        ));
        assert!(matches!(
            read(folder.path(), "fifo"),
            Err(ReadError::NotRegular)
        ));
        assert!(matches!(
            read(folder.path(), "none"),
            Err(ReadError::Missing { .. })
        ));
        assert!(matches!(
            read(folder.path(), "real/x"),
            Err(ReadError::Missing { .. })
        ));
    }
}
