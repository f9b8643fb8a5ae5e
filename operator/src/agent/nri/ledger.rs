//! On which containers the plugin has decided, and whose filter it has set. It tells a container that started while
//! the plugin was away from one that did not, also after the agent was restarted.
//!
//! Containers that select something are in memory, and each change is a line at the end of a file beside the gate's
//! stamps: a container waits for it, and one write to a tmpfs is all that it takes. No container outlives that. What no
//! longer counts goes when the file is written anew.

use crate::agent::copies::Copies;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The folder beside the stamps, and the file in it.
const FOLDER: &str = "nri";
const FILE: &str = "decided";

/// The words of lines; a container's ID follows.
const SET: &str = "set";
const DECIDED: &str = "decided";
const GONE: &str = "gone";

/// The longest ID that is remembered. Runtimes use 64 hexadecimal digits.
const MAX_ID: usize = 128;

/// How many lines that no longer count are left in the file. It is at most 70 KiB longer for them.
const MAX_SPENT: usize = 1024;

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: Copies,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The containers, and whether a filter was set.
    decided: BTreeMap<String, bool>,
    file: File,
    /// How many lines the file has.
    lines: usize,
    /// Whether its last line may be half-written.
    is_torn: bool,
}

impl Ledger {
    /// Opens it, creating it if it is missing.
    pub(super) fn open(run: &Path) -> io::Result<Ledger> {
        let folder = Copies::open(run, FOLDER)?;
        let mut file = append_to(&folder)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let state = State {
            decided: read(&String::from_utf8_lossy(&text)),
            file,
            lines: 0,
            is_torn: false,
        };
        let ledger = Ledger {
            folder,
            state: Mutex::new(state),
        };
        ledger.write_anew(&mut ledger.state())?;
        Ok(ledger)
    }

    /// Remembers that something was decided on a container, and whether a filter was set.
    pub(super) fn note(&self, id: &str, is_set: bool) -> io::Result<()> {
        if !is_id(id) {
            return Err(io::Error::other("its ID is not one that runtimes use"));
        }
        let mut state = self.state();
        state.decided.insert(id.to_owned(), is_set);
        self.append(&mut state, &line(is_set, id))
    }

    /// Whether a filter was set.
    pub(super) fn has_set(&self, id: &str) -> bool {
        self.state().decided.get(id) == Some(&true)
    }

    /// Whether something was decided on it.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.state().decided.contains_key(id)
    }

    /// Forgets a container.
    pub(super) fn forget(&self, id: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.decided.remove(id).is_none() {
            return Ok(());
        }
        if state.lines >= state.decided.len() + MAX_SPENT {
            return self.write_anew(&mut state);
        }
        self.append(&mut state, &format!("{GONE} {id}\n"))
    }

    /// Forgets all others.
    pub(super) fn keep_only(&self, ids: &BTreeSet<&str>) -> io::Result<()> {
        let mut state = self.state();
        state.decided.retain(|id, _| ids.contains(&**id));
        self.write_anew(&mut state)
    }

    fn append(&self, state: &mut State, line: &str) -> io::Result<()> {
        // Another agent that was here for a moment may have put a new file in its place.
        if state.file.metadata()?.nlink() == 0 {
            state.file = append_to(&self.folder)?;
        }
        let before = if state.is_torn { "\n" } else { "" };
        state.is_torn = true;
        state.file.write_all(format!("{before}{line}").as_bytes())?;
        state.is_torn = false;
        state.lines += 1;
        Ok(())
    }

    fn write_anew(&self, state: &mut State) -> io::Result<()> {
        let mut lines = String::new();
        for (id, is_set) in &state.decided {
            lines.push_str(&line(*is_set, id));
        }
        self.folder.replace(FILE, &[lines.as_bytes()], false)?;
        state.file = append_to(&self.folder)?;
        state.lines = state.decided.len();
        state.is_torn = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append_to(folder: &Copies) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(folder.path().join(FILE))
}

/// The line of a container on which something was decided.
fn line(is_set: bool, id: &str) -> String {
    let word = if is_set { SET } else { DECIDED };
    format!("{word} {id}\n")
}

/// The containers of a file. A line that is not one, as a crash or a full disk leaves it, tells nothing.
fn read(text: &str) -> BTreeMap<String, bool> {
    let mut decided = BTreeMap::new();
    for (word, id) in text.lines().filter_map(|line| line.split_once(' ')) {
        match word {
            SET | DECIDED if is_id(id) => drop(decided.insert(id.to_owned(), word == SET)),
            GONE => drop(decided.remove(id)),
            _ => {}
        }
    }
    decided
}

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn lines(state: &Path) -> usize {
        let text = fs::read_to_string(state.join("nri/decided")).unwrap();
        text.lines().count()
    }

    #[test]
    fn it_outlives_the_agent_and_forgets_what_is_gone() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        for id in ["a1", "b2", "c3"] {
            ledger.note(id, id == "b2").unwrap();
        }
        ledger.forget("c3").unwrap();
        let again = Ledger::open(state.path()).unwrap();
        assert!(again.knows("a1") && again.knows("b2") && !again.knows("c3"));
        assert!(!again.has_set("a1") && again.has_set("b2") && !again.has_set("c3"));
        again.keep_only(&BTreeSet::from(["b2", "d4"])).unwrap();
        assert!(!again.knows("a1") && again.knows("b2") && !again.knows("d4"));
        let last = Ledger::open(state.path()).unwrap();
        assert!(!last.knows("a1") && last.has_set("b2"));
        let mode = fs::metadata(state.path().join("nri/decided"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn an_id_is_never_more_than_that() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        for id in ["", ".", "..", "../ledger", "a/b", "a b", "a\nset b"] {
            assert!(ledger.note(id, true).is_err(), "{id:?}");
            assert!(!ledger.knows(id), "{id:?}");
        }
        assert_eq!(lines(state.path()), 0);
    }

    #[test]
    fn the_file_does_not_grow_with_what_is_gone() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        ledger.note("stays", true).unwrap();
        for number in 0..3 * MAX_SPENT {
            let id = number.to_string();
            ledger.note(&id, true).unwrap();
            ledger.forget(&id).unwrap();
            assert!(lines(state.path()) <= MAX_SPENT + 3);
        }
        let again = Ledger::open(state.path()).unwrap();
        assert!(again.has_set("stays") && !again.knows("0"));
        assert_eq!(lines(state.path()), 1);
    }

    #[test]
    fn half_a_line_tells_nothing_and_the_next_one_counts() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        ledger.note("a", true).unwrap();
        let path = state.path().join("nri/decided");
        let whole = fs::read(&path).unwrap();
        for torn in [&b"se"[..], b"set", b"set ", b"gone", b"\xff", b"\0\n"] {
            fs::write(&path, [&whole, torn].concat()).unwrap();
            let again = Ledger::open(state.path()).unwrap();
            again.note("b", false).unwrap();
            let last = Ledger::open(state.path()).unwrap();
            assert!(last.has_set("a") && last.knows("b"), "{torn:?}");
        }
    }

    #[test]
    fn a_file_that_another_agent_has_replaced_is_opened_again() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (Ledger::open(state.path()), Ledger::open(state.path()));
        let (one, other) = (one.unwrap(), other.unwrap());
        one.note("a", true).unwrap();
        other.note("b", false).unwrap();
        let again = Ledger::open(state.path()).unwrap();
        assert!(again.has_set("a") && again.knows("b"));
    }
}
