//! The stamps that the gate leaves: for which containers it has decided, and when.
//! `portcullis-hook check` compares them with the containers that started.
//!
//! A stamp is a small file in one of a fixed number of slots, chosen by a hash of the container's
//! ID. Leaving a stamp takes an open, a write and a close, and replaces the slot's older stamp. The
//! folder is on a tmpfs, so its stamps are from the current boot.

use crate::{
    Engine,
    private_folder::{make, open_file},
};
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where stamps are.
pub const FOLDER: &str = "/run/portcullis/decided";

/// The number of slots.
const SLOTS: u64 = 1024;

/// The size of a stamp in bytes. Each takes a page of the tmpfs, so all together take at most 4
/// MiB.
const BYTES: usize = 512;

/// The longest ID that a stamp holds, in bytes.
const MAX_ID: usize = 256;

/// One decision on a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was made.
    pub time: SystemTime,
    /// The container's engine.
    pub engine: Engine,
    /// Which part made it: `verify`, `runtime`, …
    pub verb: String,
    /// How it ended: `accepted`, `applied`, `warned`, `refused`.
    pub outcome: String,
    /// The container.
    pub id: String,
}

/// Leaves a stamp in a folder, which is created if missing (mode 0700).
///
/// # Errors
/// The folder can't be created or written, the path contains a link, or a word does not fit into a
/// stamp. Callers can ignore this: a container starts or not regardless of its stamp.
pub fn leave(folder: &Path, engine: Engine, id: &str, verb: &str, outcome: &str) -> io::Result<()> {
    let fits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    if ![id, verb, outcome].into_iter().all(fits) || id.len() > MAX_ID {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = now.map_or(0, |since| since.as_nanos());
    // The time is at both ends, so that a reader notices a half-written stamp.
    let text = format!("{time} {engine} {verb} {outcome} {id} {time}");
    if text.len() >= BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = [b' '; BYTES];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes[BYTES - 1] = b'\n';
    let path = slot(folder, id);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
    let file = match open(&path, flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(folder)?;
            open(&path, flags)?
        }
        other => other?,
    };
    (&file).write_all(&bytes)
}

/// Every stamp in a folder, in no particular order. Slots without a valid stamp are left out.
///
/// # Errors
/// The folder can't be read.
pub fn read(folder: &Path) -> io::Result<Vec<Stamp>> {
    let mut all = Vec::new();
    for number in 0..SLOTS {
        let path = folder.join(slot_name(number));
        // Try twice: the first time, a writer may have been halfway.
        for _ in 0..2 {
            match open(&path, OFlag::O_RDONLY) {
                Ok(file) => {
                    let mut text = String::new();
                    let read = file.take(BYTES as u64).read_to_string(&mut text);
                    if let Some(stamp) = read.ok().and_then(|_| parse(&text)) {
                        all.push(stamp);
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(error);
                }
                Err(_) => break,
            }
        }
    }
    Ok(all)
}

fn parse(text: &str) -> Option<Stamp> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [time, engine, verb, outcome, id, again] = words[..] else {
        return None;
    };
    let nanos: u64 = time.parse().ok().filter(|_| time == again)?;
    Some(Stamp {
        time: UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))?,
        engine: Engine::by_name(engine)?,
        verb: verb.to_owned(),
        outcome: outcome.to_owned(),
        id: id.to_owned(),
    })
}

/// FNV-1a, which spreads the engines' random IDs evenly.
fn slot(folder: &Path, id: &str) -> PathBuf {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    folder.join(slot_name(hash % SLOTS))
}

fn slot_name(number: u64) -> String {
    format!("{number:03x}")
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    open_file(AT_FDCWD, path, flags, ResolveFlag::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    fn ids(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = read(folder).unwrap().into_iter().map(|s| s.id).collect();
        all.sort();
        all
    }

    #[test]
    fn what_was_left_is_read_back_and_the_folder_is_the_gates_alone() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("portcullis/decided");
        assert!(ids(&folder).is_empty());
        let before = SystemTime::now();
        leave(&folder, Engine::CriO, "abc", "runtime", "applied").unwrap();
        leave(&folder, Engine::CriO, "abc", "verify", "accepted").unwrap();
        let all = read(&folder).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((&*all[0].verb, &*all[0].outcome), ("verify", "accepted"));
        assert_eq!((all[0].engine, &*all[0].id), (Engine::CriO, "abc"));
        assert!(before <= all[0].time && all[0].time <= SystemTime::now());
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let file = fs::metadata(slot(&folder, "abc")).unwrap();
        assert_eq!((file.mode() & 0o777, file.len()), (0o600, BYTES as u64));
    }

    #[test]
    fn the_ring_never_grows_and_keeps_the_newest_of_a_slot() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3 * SLOTS {
            leave(
                folder.path(),
                Engine::CriO,
                &format!("id-{number}"),
                "verify",
                "accepted",
            )
            .unwrap();
        }
        let files = fs::read_dir(folder.path()).unwrap().count() as u64;
        assert!(files <= SLOTS && files > SLOTS / 2, "{files}");
        assert!(ids(folder.path()).contains(&format!("id-{}", 3 * SLOTS - 1)));
    }

    #[test]
    fn no_link_is_followed_and_only_regular_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        let ring = folder.path().join("ring");
        fs::create_dir(&ring).unwrap();
        symlink(&outside, slot(&ring, "link")).unwrap();
        assert!(leave(&ring, Engine::CriO, "link", "verify", "accepted").is_err());
        assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
        fs::remove_file(slot(&ring, "link")).unwrap();
        nix::unistd::mkfifo(&slot(&ring, "fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(leave(&ring, Engine::CriO, "fifo", "verify", "accepted").is_err());
        fs::remove_file(slot(&ring, "fifo")).unwrap();
        symlink(&ring, folder.path().join("linked")).unwrap();
        assert!(
            leave(
                &folder.path().join("linked"),
                Engine::CriO,
                "x",
                "verify",
                "accepted"
            )
            .is_err()
        );
        assert!(ids(&ring).is_empty());
    }

    #[test]
    fn a_word_that_would_break_a_stamp_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(MAX_ID + 1);
        for id in ["", "a b", "a\n", "\u{e9}", &long] {
            assert!(
                leave(folder.path(), Engine::CriO, id, "verify", "accepted").is_err(),
                "{id:?}"
            );
        }
        leave(
            folder.path(),
            Engine::CriO,
            &long[1..],
            "verify",
            "accepted",
        )
        .unwrap();
        assert_eq!(ids(folder.path()), [&long[1..]]);
    }

    #[test]
    fn what_is_no_stamp_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for (number, text) in [
            "",
            "1 cri-o verify accepted x 2",
            "x cri-o verify a b x",
            "1 2 3 4 5 1",
            "\u{ff}",
        ]
        .iter()
        .enumerate()
        {
            fs::write(folder.path().join(slot_name(number as u64)), text).unwrap();
        }
        fs::write(folder.path().join("foreign"), "1 cri-o verify accepted x 1").unwrap();
        assert!(ids(folder.path()).is_empty());
    }
}
