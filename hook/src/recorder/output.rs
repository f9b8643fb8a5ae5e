//! The recorder's files. They are inside a folder that hook.toml names, links are not followed, and
//! they are written completely or not at all.

use super::{RecordError, place::Place};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, renameat},
    sys::stat::{Mode, fchmod},
    unistd::{UnlinkatFlags, unlinkat},
};
use portcullis_profile::{
    root::{ReadError, SeccompRoot},
    select::reference::ProfilePath,
};
use std::{fs::File, io::Write, os::fd::OwnedFd, path::Path};

/// A recording can be read by root and its group.
const MODE: Mode = Mode::from_bits_truncate(0o640);

/// Opens the folder of a file, which must exist.
fn folder(place: &Place) -> Result<OwnedFd, RecordError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(&place.folder, flags, Mode::empty())
        .map_err(|error| RecordError::io(&place.folder, error))?;
    let below = match place.file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => return Ok(root),
    };
    let how = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    openat2(&root, below, how).map_err(|error| RecordError::io(place.folder.join(below), error))
}

/// Checks that a file could be written there, without writing it.
///
/// # Errors
/// Its folder does not exist, or its path contains a link.
pub fn check(place: &Place) -> Result<(), RecordError> {
    folder(place).map(drop)
}

/// Writes a file through a temporary one next to it. An existing file or link is replaced.
///
/// # Errors
/// The folder or the file can't be written. Then nothing has changed.
pub fn write(place: &Place, text: &str) -> Result<(), RecordError> {
    replace(place, text, true)
}

/// The same without syncing to disk, for data that is worthless after a crash of the node.
///
/// # Errors
/// As [`write()`].
pub fn write_fleeting(place: &Place, text: &str) -> Result<(), RecordError> {
    replace(place, text, false)
}

fn replace(place: &Place, text: &str, durable: bool) -> Result<(), RecordError> {
    let folder = folder(place)?;
    let failed = |error: Errno| RecordError::io(place.path(), error);
    let name = place
        .file
        .file_name()
        .ok_or_else(|| failed(Errno::EISDIR))?;
    let temporary = format!(".portcullis-{}", std::process::id());
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let remove = || unlinkat(&folder, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    // A killed process with the same ID may have left it. If it can't be removed, opening fails.
    let _ = remove();
    let file = openat(&folder, temporary.as_str(), flags, MODE).map_err(failed)?;
    let done = (|| {
        fchmod(&file, MODE)?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes())?;
        if durable {
            file.sync_all()?;
        }
        renameat(&folder, temporary.as_str(), &folder, name)?;
        if durable {
            nix::unistd::fsync(&folder)?;
        }
        Ok(())
    })();
    done.map_err(|source: std::io::Error| {
        // Report the first error. A file that stays is hidden, and will be replaced next time.
        let _ = remove();
        RecordError::io(place.path(), source)
    })
}

/// Reads a file; `None` if it is not there.
///
/// # Errors
/// It is not a regular file, is too large, or its path contains a link.
pub fn read(place: &Place, limit: u64) -> Result<Option<Vec<u8>>, RecordError> {
    let file: ProfilePath =
        place
            .file
            .to_string_lossy()
            .parse()
            .map_err(|error| RecordError::Broken {
                path: place.path(),
                reason: format!("{error}"),
            })?;
    match SeccompRoot::open(&place.folder).and_then(|root| root.read(&file, limit)) {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::Missing { .. }) => Ok(None),
        Err(source) => Err(RecordError::Read {
            path: place.path(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    #[test]
    fn a_file_is_replaced_whole_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let place = |file: &str| Place {
            folder: root.path().to_owned(),
            file: file.into(),
        };
        write(&place("a.json"), "one").unwrap();
        write(&place("a.json"), "two").unwrap();
        let data = fs::metadata(root.path().join("a.json")).unwrap();
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
        assert_eq!(read(&place("a.json"), 9).unwrap().unwrap(), b"two");
        // A link is replaced, not followed.
        let target = outside.path().join("target");
        fs::write(&target, "kept").unwrap();
        symlink(&target, root.path().join("link.json")).unwrap();
        write(&place("link.json"), "new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        // A linked folder is refused.
        symlink(outside.path(), root.path().join("linked")).unwrap();
        assert!(write(&place("linked/x.json"), "x").is_err());
        assert!(read(&place("linked/target"), 9).is_err());
        assert!(write(&place("none/x.json"), "x").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }
}
