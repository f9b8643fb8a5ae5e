//! Copies of our files, kept next to the ledger, which an agent restores while it can't reach the
//! API server. A truncated or modified copy does not match its digest and is ignored.

use crate::{agent::copies::Copies, resolve::digest};
use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest copy that is read, in bytes. No profile that the API server accepts becomes larger.
const MAX_BYTES: u64 = 16 << 20;

/// The copies.
#[derive(Debug)]
pub(super) struct FileBackup(Copies);

impl FileBackup {
    /// Opens the folder of the copies, creating it if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<FileBackup> {
        Copies::open(state, "files").map(FileBackup)
    }

    /// Stores a copy without syncing to disk: a lost copy is merely not restored.
    pub(super) fn save(&self, name: &str, text: &[u8]) -> io::Result<()> {
        if self.load(name).as_deref() == Some(text) {
            return Ok(());
        }
        let digest = digest(text);
        self.0
            .replace(name, &[digest.as_bytes(), b"\n", text], false)
    }

    /// Removes a copy.
    pub(super) fn remove(&self, name: &str) {
        // A copy that stays is not restored, because its name is no longer in the ledger.
        let _ = fs::remove_file(self.0.path().join(name));
    }

    /// Removes a copy unless it has this text.
    pub(super) fn remove_other(&self, name: &str, text: &[u8]) {
        if self.load(name).is_some_and(|kept| kept != text) {
            self.remove(name);
        }
    }

    /// The text of a copy; `None` if there is no intact one.
    pub(super) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(self.0.path().join(name))
            .ok()?;
        let data = file.metadata().ok()?;
        if !data.is_file() || data.len() > MAX_BYTES {
            return None;
        }
        let mut all = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut all).ok()?;
        let line = all.iter().position(|byte| *byte == b'\n')?;
        let text = all.split_off(line + 1);
        all.pop();
        (all == digest(&text).as_bytes()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn a_copy_is_for_root_alone_and_a_torn_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let backup = FileBackup::open(folder.path()).unwrap();
        assert_eq!(backup.load("a"), None);
        backup.save("a", b"one\n").unwrap();
        backup.save("a", b"two\n").unwrap();
        backup.remove_other("a", b"two\n");
        assert_eq!(backup.load("a").as_deref(), Some(&b"two\n"[..]));
        let copy = folder.path().join("files/a");
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o600);
        let whole = fs::read(&copy).unwrap();
        for wrong in [&whole[..whole.len() - 1], b"", b"\n", b"two\n"] {
            fs::write(&copy, wrong).unwrap();
            assert_eq!(backup.load("a"), None);
        }
        fs::write(&copy, &whole).unwrap();
        backup.remove_other("a", b"three\n");
        assert!(!copy.exists());
        fs::write(folder.path().join("outside"), whole).unwrap();
        symlink(folder.path().join("outside"), &copy).unwrap();
        assert_eq!(backup.load("a"), None, "a link is not followed");
    }
}
