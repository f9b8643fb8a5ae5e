//! On which containers the plugin has decided: a file for each that selects something, named by its
//! ID, in the agent's state. It tells a container that started while the plugin was away from one that
//! did not, also after the agent was restarted.

use crate::agent::copies::Copies;
use std::{collections::BTreeSet, fs, io, path::Path};

/// The folder in the agent's state.
const FOLDER: &str = "nri";

/// What the file of a container says whose filter the plugin has set.
const SET: &str = "set";

/// The longest ID that is remembered. Runtimes use 64 hexadecimal digits.
const MAX_ID: usize = 128;

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger(Copies);

impl Ledger {
    /// Opens it, creating it if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<Ledger> {
        Copies::open(state, FOLDER).map(Ledger)
    }

    /// Remembers that something was decided on a container, and whether a filter was set.
    pub(super) fn note(&self, id: &str, is_set: bool) -> io::Result<()> {
        if !is_id(id) {
            return Err(io::Error::other("its ID is no file name"));
        }
        fs::write(self.0.path().join(id), if is_set { SET } else { "" })
    }

    /// Whether a filter was set.
    pub(super) fn has_set(&self, id: &str) -> bool {
        is_id(id) && fs::read_to_string(self.0.path().join(id)).is_ok_and(|text| text == SET)
    }

    /// Whether it was.
    pub(super) fn knows(&self, id: &str) -> bool {
        is_id(id) && self.0.path().join(id).exists()
    }

    /// Forgets a container.
    pub(super) fn forget(&self, id: &str) {
        if is_id(id) {
            let _ = fs::remove_file(self.0.path().join(id));
        }
    }

    /// Forgets all others.
    pub(super) fn keep_only(&self, ids: &BTreeSet<&str>) -> io::Result<()> {
        for entry in fs::read_dir(self.0.path())? {
            let name = entry?.file_name();
            if !name.to_str().is_some_and(|name| ids.contains(name)) {
                fs::remove_file(self.0.path().join(name))?;
            }
        }
        Ok(())
    }
}

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_agent_and_forgets_what_is_gone() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        for id in ["a1", "b2", "c3"] {
            ledger.note(id, id == "b2").unwrap();
        }
        ledger.forget("c3");
        let again = Ledger::open(state.path()).unwrap();
        assert!(again.knows("a1") && again.knows("b2") && !again.knows("c3"));
        assert!(!again.has_set("a1") && again.has_set("b2") && !again.has_set("c3"));
        again.keep_only(&BTreeSet::from(["b2", "d4"])).unwrap();
        assert!(!ledger.knows("a1") && ledger.knows("b2") && !ledger.knows("d4"));
    }

    #[test]
    fn an_id_is_never_a_path() {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        fs::write(state.path().join("ledger"), "").unwrap();
        for id in ["", ".", "..", "../ledger", "a/b", "a b"] {
            assert!(ledger.note(id, true).is_err(), "{id:?}");
            assert!(!ledger.knows(id), "{id:?}");
            ledger.forget(id);
        }
        assert!(state.path().join("ledger").exists());
    }
}
