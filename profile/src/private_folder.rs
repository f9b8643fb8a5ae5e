//! Folders below `/run/portcullis` that belong to one part only, and regular files in them.

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    fs::{DirBuilder, File},
    io,
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::Path,
};

/// Creates a private folder (mode 0700). Others use its parent too, which is created with mode
/// 0755.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let make = |path: &Path, mode| match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    if let Some(parent) = folder.parent() {
        make(parent, 0o755)?;
    }
    make(folder, 0o700)
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
    use nix::{fcntl::AT_FDCWD, sys::stat::Mode as FileMode, unistd::mkfifo};
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
        mkfifo(&folder.join("fifo"), FileMode::S_IRWXU).unwrap();
        assert!(open("file", OFlag::O_RDONLY).is_ok());
        for name in ["link", "fifo", "."] {
            assert!(open(name, OFlag::O_RDONLY).is_err(), "{name}");
        }
    }
}
