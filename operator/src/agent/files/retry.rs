//! What the disk refused: files that could not be written or removed, for example because it is
//! full or read-only. They are tried again until they succeed, and are a problem of the node
//! meanwhile.

use std::{
    collections::BTreeSet,
    fmt::Display,
    time::{Duration, Instant},
};

/// How often they are tried again, and how often the folder is compared with the one at its path.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// What is to be tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// The profiles whose file or ledger entry is not as it should be.
    names: BTreeSet<String>,
    /// Whether the folder could not be synced.
    folder: bool,
    /// What the system said last.
    why: String,
    /// When it was tried last.
    tried: Option<Instant>,
}

impl Retry {
    /// The file of a profile was refused.
    pub(super) fn file(&mut self, name: &str, error: &impl Display) {
        self.names.insert(name.to_owned());
        self.why = error.to_string();
    }

    /// Syncing the folder was refused, or was not.
    pub(super) fn folder(&mut self, error: Option<&impl Display>) {
        self.folder = error.is_some();
        if let Some(error) = error {
            self.why = error.to_string();
        }
    }

    /// Whether the folder has to be synced again.
    pub(super) fn is_unsynced(&self) -> bool {
        self.folder
    }

    /// The profiles to try again; none before [`EVERY`] has passed. Each one that is refused again
    /// has to be added again.
    pub(super) fn due(&mut self, now: Instant) -> BTreeSet<String> {
        let tried = self.tried.map(|at| now.saturating_duration_since(at));
        if tried.is_some_and(|since| since < EVERY) {
            return BTreeSet::new();
        }
        self.tried = Some(now);
        std::mem::take(&mut self.names)
    }

    /// The problem in words, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        match self.names.len() {
            0 if self.folder => Some(format!("the folder can't be synced: {}", self.why)),
            0 => None,
            1 => Some(format!("1 file can't be updated: {}", self.why)),
            count => Some(format!("{count} files can't be updated: {}", self.why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_a_problem_until_it_succeeds() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        assert_eq!(retry.problem(), None);
        retry.file("a", &"a: no space");
        retry.file("b", &"b: no space");
        assert_eq!(
            retry.problem().as_deref(),
            Some("2 files can't be updated: b: no space")
        );
        assert_eq!(retry.due(start).len(), 2);
        retry.file("a", &"a: no space");
        assert!(retry.due(start + EVERY / 2).is_empty(), "too soon");
        assert!(retry.problem().unwrap().starts_with("1 file can't"));
        assert_eq!(retry.due(start + EVERY).len(), 1);
        retry.folder(Some(&"no space"));
        assert!(retry.problem().unwrap().contains("synced: no space"));
        retry.folder(None::<&String>);
        assert_eq!(retry.problem(), None);
    }
}
