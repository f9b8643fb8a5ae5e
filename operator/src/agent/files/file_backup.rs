//! Copies of our files, kept next to the ledger, which an agent restores while it can't reach the
//! API server. Each says which generation of its profile it is. A truncated or modified copy does not
//! match its digest and is ignored.

use crate::{agent::copies::Copies, crd::InstalledProfile, resolve::digest};
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

/// A copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileCopy {
    /// Its text.
    pub(super) text: Vec<u8>,
    /// What it is a copy of; `None` in a copy of an earlier agent.
    pub(super) of: Option<InstalledProfile>,
}

impl FileBackup {
    /// Opens the folder of the copies, creating it if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<FileBackup> {
        Copies::open(state, "files").map(FileBackup)
    }

    /// Stores a copy without syncing to disk: a lost copy is merely not restored.
    pub(super) fn save(&self, of: &InstalledProfile, text: &[u8]) -> io::Result<()> {
        let name = &of.name;
        let is_there = |copy: FileCopy| copy.text == text && copy.of.as_ref() == Some(of);
        if self.load(name).is_some_and(is_there) {
            return Ok(());
        }
        let generation = of.generation.map_or_else(String::new, |it| it.to_string());
        let head = format!("{} {} {generation}\n", digest(text), of.digest);
        self.0.replace(name, &[head.as_bytes(), text], false)
    }

    /// Removes a copy.
    pub(super) fn remove(&self, name: &str) {
        // A copy that stays is not restored, because its name is no longer in the ledger.
        let _ = fs::remove_file(self.0.path().join(name));
    }

    /// Removes a copy unless it has this text. Returns what was removed.
    pub(super) fn remove_other(&self, name: &str, text: &[u8]) -> Option<FileCopy> {
        let other = self.load(name).filter(|kept| kept.text != text)?;
        self.remove(name);
        Some(other)
    }

    /// Stores a copy again that was removed.
    pub(super) fn put_back(&self, copy: &FileCopy) {
        // Without it the file is merely not restored.
        if let Some(of) = &copy.of {
            let _ = self.save(of, &copy.text);
        }
    }

    /// A copy; `None` if there is no intact one.
    pub(super) fn load(&self, name: &str) -> Option<FileCopy> {
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
        let head = String::from_utf8(all).ok()?;
        let mut words = head.split(' ');
        let is_intact = words.next() == Some(&digest(&text));
        let of = words.next().map(|digest| InstalledProfile {
            name: name.to_owned(),
            digest: digest.to_owned(),
            generation: words.next().and_then(|it| it.parse().ok()),
        });
        is_intact.then_some(FileCopy { text, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn of(generation: Option<i64>) -> InstalledProfile {
        InstalledProfile {
            name: "a".to_owned(),
            digest: "0123456789abcdef".to_owned(),
            generation,
        }
    }

    fn text(backup: &FileBackup) -> Option<Vec<u8>> {
        backup.load("a").map(|copy| copy.text)
    }

    #[test]
    fn a_copy_is_for_root_alone_and_a_torn_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let backup = FileBackup::open(folder.path()).unwrap();
        assert_eq!(backup.load("a"), None);
        backup.save(&of(Some(1)), b"one\n").unwrap();
        backup.save(&of(Some(2)), b"two\n").unwrap();
        backup.remove_other("a", b"two\n");
        assert_eq!(text(&backup).as_deref(), Some(&b"two\n"[..]));
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

    #[test]
    fn a_copy_says_which_generation_it_is_and_one_of_an_earlier_agent_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let backup = FileBackup::open(folder.path()).unwrap();
        for generation in [None, Some(3), Some(4)] {
            backup.save(&of(generation), b"one\n").unwrap();
            let copy = backup.load("a").unwrap();
            assert_eq!(copy.of, Some(of(generation)));
            assert_eq!(copy.text, b"one\n");
        }
        let earlier = format!("{}\none\n", digest(b"one\n"));
        fs::write(folder.path().join("files/a"), earlier).unwrap();
        assert_eq!(backup.load("a").unwrap().of, None);
        assert_eq!(text(&backup).as_deref(), Some(&b"one\n"[..]));
    }
}
