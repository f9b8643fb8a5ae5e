//! The folder `operator/` in the seccomp root. Files in it are written atomically, and links are
//! not followed.

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

/// The folder's name in the seccomp root.
pub const NAME: &str = crate::file_name::FOLDER;
const TEMPORARY: &str = ".portcullis.tmp";
const MODE: u32 = 0o644;

/// Why the folder, or a file in it, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder is a link.
    #[error("{0} is a link, and links are not followed there; to fix this: rm {0}", path.display())]
    Linked {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is found in a file's place.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A regular file with this text, in the right mode and without other hard links.
    Same,
    /// Something else.
    Other,
}

/// The open folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens it, creating it if it is missing.
    ///
    /// # Errors
    /// [`FolderError`], also if it is a link.
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

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still the folder in this seccomp root.
    pub fn is_current(&self, root: &Path) -> bool {
        let Ok(here) = nix::sys::stat::fstat(&self.descriptor) else {
            return false;
        };
        std::fs::symlink_metadata(root.join(NAME)).is_ok_and(|there| {
            there.is_dir() && (there.dev(), there.ino()) == (here.st_dev, here.st_ino)
        })
    }

    /// What is found in the place of a file that should have this text.
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

    /// Whether anything has this name, even a link.
    pub fn has(&self, file: &str) -> bool {
        fstatat(&self.descriptor, file, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Writes a file. A reader sees the old file or the new one, never a part.
    ///
    /// # Errors
    /// [`FolderError::Io`]; then nothing has changed.
    pub fn put(&self, file: &str, text: &[u8]) -> Result<(), FolderError> {
        let _ = unlinkat(&self.descriptor, TEMPORARY, UnlinkatFlags::NoRemoveDir);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let descriptor = openat(&self.descriptor, TEMPORARY, flags, mode)
            .map_err(|error| self.io(file, error))?;
        let mut handle = File::from(descriptor);
        handle
            .write_all(text)
            .and_then(|()| Ok(fchmod(&handle, Mode::from_bits_truncate(MODE))?))
            .and_then(|()| handle.sync_all())
            .map_err(|source| FolderError::Io {
                path: self.path.join(file),
                source,
            })?;
        renameat(&self.descriptor, TEMPORARY, &self.descriptor, file)
            .map_err(|error| self.io(file, error))
    }

    /// Removes a file. It is not an error if there is none.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn remove(&self, file: &str) -> Result<(), FolderError> {
        match unlinkat(&self.descriptor, file, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.io(file, error)),
        }
    }

    /// Makes writes and removals durable.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn sync(&self) -> Result<(), FolderError> {
        fsync(&self.descriptor).map_err(|error| self.io(".", error))
    }

    /// The names of its files, without hidden ones.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    struct Root {
        root: tempfile::TempDir,
        folder: Folder,
    }

    impl Root {
        fn new() -> Root {
            let root = tempfile::tempdir().unwrap();
            let folder = Folder::open(root.path()).unwrap();
            Root { root, folder }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.root.path().join(NAME).join(name)
        }

        fn finds(&self, found: &Found) {
            assert_eq!(&self.folder.compare("a.json", b"text").unwrap(), found);
        }
    }

    #[test]
    fn a_file_that_was_put_is_whole_readable_by_all_and_leaves_nothing_beside_it() {
        let root = Root::new();
        root.finds(&Found::Nothing);
        root.folder.put("a.json", b"old").unwrap();
        root.folder.put("a.json", b"text").unwrap();
        root.folder.sync().unwrap();
        root.finds(&Found::Same);
        let mode = fs::metadata(root.file("a.json")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(
            fs::read_dir(root.root.path().join(NAME)).unwrap().count(),
            1
        );
        assert_eq!(root.folder.files().unwrap(), ["a.json"]);
        root.folder.remove("a.json").unwrap();
        root.folder.remove("a.json").unwrap();
        root.finds(&Found::Nothing);
    }

    #[test]
    fn what_is_not_exactly_the_file_is_something_else() {
        let root = Root::new();
        let file = root.file("a.json");
        let others: [&dyn Fn(); 7] = [
            &|| fs::write(&file, "texts").unwrap(),
            &|| fs::write(&file, "TEXT").unwrap(),
            &|| {
                fs::write(&file, "text").unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            },
            &|| {
                fs::write(root.root.path().join("linked"), "text").unwrap();
                fs::hard_link(root.root.path().join("linked"), &file).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            },
            &|| {
                fs::write(root.root.path().join("target"), "text").unwrap();
                symlink(root.root.path().join("target"), &file).unwrap();
            },
            &|| nix::unistd::mkfifo(&file, Mode::S_IRUSR).unwrap(),
            &|| fs::create_dir(&file).unwrap(),
        ];
        for other in others {
            other();
            root.finds(&Found::Other);
            assert!(root.folder.has("a.json"));
            let _ = fs::remove_file(&file);
        }
    }

    #[test]
    fn a_link_in_the_folders_place_is_refused_and_what_it_leads_to_untouched() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), root.path().join(NAME)).unwrap();
        let error = Folder::open(root.path()).unwrap_err();
        assert!(error.to_string().contains("to fix this: rm "), "{error}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_was_replaced_is_not_current_and_a_link_to_it_neither() {
        let root = Root::new();
        assert!(root.folder.is_current(root.root.path()));
        let moved = root.root.path().join("moved");
        fs::rename(root.root.path().join(NAME), &moved).unwrap();
        assert!(!root.folder.is_current(root.root.path()));
        symlink(&moved, root.root.path().join(NAME)).unwrap();
        assert!(!root.folder.is_current(root.root.path()));
        fs::remove_file(root.root.path().join(NAME)).unwrap();
        fs::create_dir(root.root.path().join(NAME)).unwrap();
        assert!(!root.folder.is_current(root.root.path()));
    }

    #[test]
    fn a_file_that_a_crash_left_half_written_is_removed_when_the_folder_is_opened() {
        let root = Root::new();
        fs::write(root.file(TEMPORARY), "ha").unwrap();
        Folder::open(root.root.path()).unwrap();
        assert!(!root.file(TEMPORARY).exists());
    }
}
