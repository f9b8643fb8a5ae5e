//! Remembers findings about programs, good and bad, in `/run/portcullis/checked`.
//!
//! Each finding has a file, named by the hash of everything that the finding depends on. So a
//! finding can be missing but never wrong. Without the folder (rootless, or read-only) nothing is
//! remembered, and a file that can't be parsed counts as missing.

use crate::{
    filter::digest::hex,
    private_folder::{Others, PrivateFolder, make},
};
use libseccomp::ScmpVersion;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The folder of the findings.
pub const FOLDER: &str = "/run/portcullis/checked";

/// The version of the check: the hash of its sources (`build.rs`).
const VERSION: &str = env!("PORTCULLIS_CHECK");

/// The maximum number of files in the folder.
const MOST: usize = 4096;
/// From this number on, old files are removed, so that concurrent writers don't exceed the maximum.
const FULL: usize = MOST - 64;
/// How many are removed at once, because finding the oldest takes a while.
const AT_ONCE: usize = 256;

/// The longest file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A finding about a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It does what its filter says. Contains warnings.
    Good(Vec<String>),
    /// The filter does not compile. Contains the reason.
    NotBuilt(String),
    /// It does something else, or that can't be determined. Contains the details.
    OtherEffect(String),
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    finding: Finding,
}

/// The hash of everything that a finding depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// Where findings are remembered.
#[derive(Clone, Debug)]
pub struct Memo {
    folder: Option<PathBuf>,
    part: &'static str,
}

impl Memo {
    /// A memo in a folder, which is created if missing (mode 0700). Each part of Portcullis relies
    /// only on its own findings, because its libseccomp may be another build: `part` names it.
    pub fn at(folder: &Path, part: &'static str) -> Memo {
        Memo {
            folder: Some(folder.to_owned()),
            part,
        }
    }

    /// A memo that remembers nothing.
    pub const fn none() -> Memo {
        Memo {
            folder: None,
            part: "",
        }
    }

    /// The key of a finding about these things. `what` names the kind of finding.
    pub fn key(&self, what: &str, about: &[&[u8]]) -> Key {
        let library = ScmpVersion::current().map(|version| version.to_string());
        let kernel = uname().map(|name| name.release().to_owned());
        let library = library.unwrap_or_default();
        let kernel = kernel.unwrap_or_default();
        key_of(
            [
                VERSION,
                self.part,
                &library,
                &kernel.to_string_lossy(),
                what,
            ],
            about,
        )
    }

    /// The remembered finding.
    pub fn get(&self, key: &Key) -> Option<Finding> {
        let folder = open(self.folder.as_deref()?).ok()?;
        let text = folder.read(&key.0, MAX_BYTES).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        (entry.key == key.0).then_some(entry.finding)
    }

    /// Remembers a finding. If that fails, it will have to be found again.
    pub fn put(&self, key: &Key, finding: &Finding) {
        if let Some(folder) = &self.folder {
            // Failing to remember must not affect the container.
            let _ = put(folder, key, finding);
        }
    }
}

/// The hash of who finds what with which library and kernel, and of what it is found about.
fn key_of(by: [&str; 5], about: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in by.map(str::as_bytes).iter().chain(about) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Key(hex(&hash.finalize()))
}

fn put(path: &Path, key: &Key, finding: &Finding) -> io::Result<()> {
    let text = serde_json::to_vec(&Entry {
        key: key.0.clone(),
        finding: finding.clone(),
    })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let folder = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            open(path)?
        }
        other => other?,
    };
    make_room(path, &folder)?;
    folder.replace(&key.0, &text)
}

fn open(path: &Path) -> io::Result<PrivateFolder> {
    PrivateFolder::open(path, Others::MayDoNothing)
}

/// Removes the oldest files if the folder is about to be full.
fn make_room(path: &Path, folder: &PrivateFolder) -> io::Result<()> {
    let names: Vec<_> = fs::read_dir(path)?.filter_map(Result::ok).collect();
    if names.len() < FULL {
        return Ok(());
    }
    let age = |file: &fs::DirEntry| file.metadata().and_then(|data| data.modified()).ok();
    let mut files: Vec<(Option<SystemTime>, String)> = names
        .iter()
        .filter_map(|file| Some((age(file), file.file_name().into_string().ok()?)))
        .collect();
    files.sort_unstable();
    let too_many = files.len() + 1 - FULL;
    for (_, name) in files.iter().take(too_many + AT_ONCE) {
        folder.remove(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{sys::stat::Mode, unistd::geteuid};
    use std::{
        fs::File,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("portcullis/checked")
        }

        fn memo(&self) -> Memo {
            Memo::at(&self.path(), "gate")
        }

        fn count(&self) -> usize {
            fs::read_dir(self.path()).unwrap().count()
        }
    }

    fn good(note: &str) -> Finding {
        Finding::Good(vec![note.to_owned()])
    }

    fn key(memo: &Memo, about: &str) -> Key {
        memo.key("effect", &[about.as_bytes()])
    }

    #[test]
    fn findings_are_remembered_in_a_folder_of_their_own() {
        let folder = Folder::new();
        let memo = folder.memo();
        let all = [
            good("mind \"this\""),
            Finding::NotBuilt("endless".to_owned()),
            Finding::OtherEffect("mkdir is allowed".to_owned()),
        ];
        for (number, finding) in all.iter().enumerate() {
            let key = key(&memo, &number.to_string());
            assert_eq!(memo.get(&key), None);
            memo.put(&key, finding);
            assert_eq!(memo.get(&key).as_ref(), Some(finding));
            let file = fs::metadata(folder.path().join(&key.0)).unwrap();
            assert_eq!(file.mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(folder.count(), all.len());
        // A newer finding replaces an older one.
        memo.put(&key(&memo, "0"), &all[1]);
        assert_eq!(memo.get(&key(&memo, "0")).as_ref(), Some(&all[1]));
        assert_eq!(folder.count(), all.len());
    }

    #[test]
    fn whatever_a_finding_depends_on_makes_another_key() {
        let memo = Memo::at(Path::new("/x"), "gate");
        let base = memo.key("effect", &[b"ab", b"c"]);
        assert_eq!(base, memo.key("effect", &[b"ab", b"c"]));
        for other in [
            memo.key("effect", &[b"a", b"bc"]),
            memo.key("effect", &[b"abc"]),
            memo.key("cache", &[b"ab", b"c"]),
            Memo::at(Path::new("/x"), "agent").key("effect", &[b"ab", b"c"]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn another_version_part_library_kernel_or_question_is_another_finding() {
        let by = ["check", "gate", "2.5.4", "6.18", "effect"];
        let key = key_of(by, &[b"a"]);
        for at in 0..by.len() {
            let mut other = by;
            other[at] = "another";
            assert_ne!(key_of(other, &[b"a"]), key, "{other:?}");
        }
        let memo = Memo::at(Path::new("/x"), "gate");
        let library = ScmpVersion::current().unwrap().to_string();
        let kernel = uname().unwrap().release().to_string_lossy().into_owned();
        let own = [VERSION, "gate", &library, &kernel, "effect"];
        assert_eq!(memo.key("effect", &[b"a"]), key_of(own, &[b"a"]));
        assert!(!VERSION.is_empty() && !library.is_empty() && !kernel.is_empty());
    }

    #[test]
    fn without_a_folder_nothing_is_remembered_and_nothing_fails() {
        let folder = Folder::new();
        let blocked = folder.0.path().join("file");
        fs::write(&blocked, "").unwrap();
        for memo in [
            Memo::none(),
            Memo::at(&blocked, "gate"),
            Memo::at(&blocked.join("checked"), "gate"),
            Memo::at(Path::new("/proc/self/checked"), "gate"),
        ] {
            let key = key(&memo, "a");
            memo.put(&key, &good(""));
            assert_eq!(memo.get(&key), None);
        }
    }

    #[test]
    fn what_is_garbled_or_another_key_s_or_too_long_is_absent_and_written_anew() {
        let folder = Folder::new();
        let memo = folder.memo();
        let (own, other) = (key(&memo, "own"), key(&memo, "other"));
        memo.put(&other, &good(""));
        let of_other = fs::read(folder.path().join(&other.0)).unwrap();
        let long = Finding::Good(vec!["x".repeat(70_000)]);
        memo.put(&own, &long);
        assert_eq!(memo.get(&own), None);
        for text in [
            &b""[..],
            b"{",
            b"\xff",
            b"{\"key\":1}",
            &of_other,
            &vec![b' '; 70_000],
        ] {
            fs::write(folder.path().join(&own.0), text).unwrap();
            assert_eq!(memo.get(&own), None);
            memo.put(&own, &good("anew"));
            assert_eq!(memo.get(&own), Some(good("anew")));
        }
    }

    #[test]
    fn no_link_is_followed_and_only_regular_files_are_read() {
        let folder = Folder::new();
        let memo = folder.memo();
        let (real, linked) = (key(&memo, "real"), key(&memo, "linked"));
        memo.put(&real, &good(""));
        let place = folder.path().join(&linked.0);
        let outside = folder.0.path().join("outside");
        let text = fs::read_to_string(folder.path().join(&real.0)).unwrap();
        fs::write(&outside, text.replace(&real.0, &linked.0)).unwrap();
        symlink(&outside, &place).unwrap();
        assert_eq!(memo.get(&linked), None);
        // It replaces the link, and leaves its target alone.
        memo.put(&linked, &good("own"));
        assert_eq!(memo.get(&linked), Some(good("own")));
        assert!(!fs::read_to_string(&outside).unwrap().contains("own"));
        fs::remove_file(&place).unwrap();
        nix::unistd::mkfifo(&place, Mode::S_IRWXU).unwrap();
        assert_eq!(memo.get(&linked), None);
        let elsewhere = folder.0.path().join("elsewhere");
        symlink(folder.path(), &elsewhere).unwrap();
        let memo = Memo::at(&elsewhere, "gate");
        assert_eq!(memo.get(&real), None);
    }

    #[test]
    fn a_folder_that_others_may_use_is_not_ours() {
        let folder = Folder::new();
        let memo = folder.memo();
        let key = key(&memo, "a");
        memo.put(&key, &good(""));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(memo.get(&key), None);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(memo.get(&key), Some(good("")));
        if geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(1234), None).unwrap();
            assert_eq!(memo.get(&key), None);
        }
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let folder = Folder::new();
        let memo = folder.memo();
        memo.put(&key(&memo, "old"), &good(""));
        let old = File::open(folder.path().join(key(&memo, "old").0)).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        for number in 0..MOST + 10 {
            // A killed writer's leftovers count too.
            fs::write(folder.path().join(format!(".{number}")), "").unwrap();
        }
        memo.put(&key(&memo, "new"), &good(""));
        assert!(folder.count() < FULL && folder.count() > FULL - 2 * AT_ONCE);
        assert_eq!(memo.get(&key(&memo, "old")), None);
        assert_eq!(memo.get(&key(&memo, "new")), Some(good("")));
    }
}
