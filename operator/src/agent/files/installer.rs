//! Makes the files of a node what the profiles say.
//!
//! Changes only mark names; [`Installer::settle`] does the work, so that a burst is one batch.

mod batch;
mod findings;
mod kept;

use super::{
    file_backup::FileBackup,
    folder::{Folder, FolderError, Found},
    ledger::Ledger,
    retry::Retry,
};
use crate::{
    agent::source::Wanted,
    crd::InstalledProfile,
    effect::{Effect, Effects},
    file_name::{file_name, profiles_of},
    resolve::{ResolveError, Resolved, base_of, resolve},
};
use portcullis_profile::{
    gate::decision::plain,
    program::{Limits, Memo},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many files are prepared before any of them is written.
const BATCH: usize = 64;

/// How many files were written and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Files written, new or changed.
    pub written: u64,
    /// Those of them that someone else had changed or removed.
    pub repaired: u64,
    /// Files removed.
    pub removed: u64,
}

/// The node's files, and what they should be.
#[derive(Debug)]
pub struct Installer {
    root: PathBuf,
    folder: Option<Folder>,
    ledger: Ledger,
    backup: FileBackup,
    /// Whether every profile that can be known is.
    complete: bool,
    /// Whether there may be others: the files that have no profile then stay.
    has_unknown: bool,
    /// While not every profile is known: names whose files may differ from their copies.
    disturbed: BTreeSet<String>,
    /// The profiles, whose specifications are kept packed, which saves memory.
    wanted: BTreeMap<String, Wanted>,
    /// The names of those that have a base.
    based: BTreeSet<String>,
    /// The files that are on the node, where it is known what they are. Some belong to profiles that
    /// have failed since.
    installed: BTreeMap<String, InstalledProfile>,
    /// The digests of their texts.
    texts: BTreeMap<String, String>,
    /// The warnings about each profile that were logged last.
    warned: BTreeMap<String, Vec<String>>,
    /// Why profiles have no up-to-date file.
    failures: BTreeMap<String, String>,
    /// Why the folder can't be opened.
    problem: Option<String>,
    /// What the disk refused.
    retry: Retry,
    /// The results of checking what the files would do.
    effects: Effects,
    /// Names whose files have to be checked, and since when.
    dirty: BTreeMap<String, Instant>,
}

impl Installer {
    /// Opens the ledger and the folder. `limits` are the operator's rules for profiles.
    ///
    /// # Errors
    /// If the ledger can't be read or written. A folder that can't be opened is reported instead.
    pub fn open(root: &Path, state: &Path, limits: Limits) -> io::Result<Installer> {
        let ledger = Ledger::open(state)?;
        let mut installer = Installer {
            root: root.to_owned(),
            folder: None,
            backup: FileBackup::open(state)?,
            complete: false,
            has_unknown: false,
            disturbed: ledger.names().cloned().collect(),
            ledger,
            wanted: BTreeMap::new(),
            based: BTreeSet::new(),
            installed: BTreeMap::new(),
            texts: BTreeMap::new(),
            warned: BTreeMap::new(),
            failures: BTreeMap::new(),
            problem: None,
            retry: Retry::default(),
            effects: Effects::new(limits),
            dirty: BTreeMap::new(),
        };
        installer.reopen();
        Ok(installer)
    }

    /// Stores the results of checks in this cache, which outlives the process.
    pub fn remember_in(&mut self, memo: Memo) {
        self.effects.remember_in(memo);
    }

    /// Reopens the folder if it is no longer the one at its path. Returns whether it did.
    pub fn reopen(&mut self) -> bool {
        if let Some(folder) = &self.folder
            && folder.is_current(&self.root)
        {
            return false;
        }
        let before = self.problem.take();
        match Folder::open(&self.root) {
            Ok(folder) => self.folder = Some(folder),
            Err(error) => {
                self.folder = None;
                self.installed.clear();
                self.problem = Some(error.to_string());
            }
        }
        if self.folder.is_some() || before != self.problem {
            self.check_all();
            return true;
        }
        false
    }

    /// Takes a new or changed profile.
    pub fn set(&mut self, profile: Wanted) {
        let name = &profile.name;
        if self.wanted.get(name) == Some(&profile) {
            // Its source may have made the specification anew, and shares it.
            self.wanted.insert(name.clone(), profile);
            return;
        }
        if base_of(&profile.spec.text()).is_some() {
            self.based.insert(name.clone());
        } else {
            self.based.remove(name);
        }
        self.mark(name);
        self.wanted.insert(name.clone(), profile);
    }

    /// Takes note that a profile is gone.
    pub fn unset(&mut self, name: &str) {
        self.wanted.remove(name);
        self.warned.remove(name);
        self.effects.forget(name);
        self.based.remove(name);
        self.mark(name);
    }

    /// These are all the profiles; every other file of ours is removed.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        self.complete = true;
        self.has_unknown = false;
        self.disturbed.clear();
        let gone: Vec<String> = self
            .wanted
            .keys()
            .chain(self.ledger.names())
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.unset(&name);
        }
    }

    /// These are all profiles that can be known, and there may be others: no file goes.
    pub fn keep_all(&mut self) {
        self.complete = true;
        self.has_unknown = true;
        self.disturbed.clear();
        let without: Vec<String> = self
            .ledger
            .names()
            .filter(|name| !self.wanted.contains_key(*name))
            .cloned()
            .collect();
        for name in without {
            self.look_at(&name);
        }
    }

    /// A file in the folder was changed.
    pub fn touched(&mut self, file: &str) {
        for name in profiles_of(file) {
            if self.wanted.contains_key(name) || self.ledger.has(name) {
                self.look_at(name);
                if !self.complete {
                    self.disturbed.insert(name.to_owned());
                }
            }
        }
    }

    /// Marks every file to be checked again.
    pub fn check_all(&mut self) {
        let now = Instant::now();
        for name in self.wanted.keys().chain(self.ledger.names()) {
            self.dirty.entry(name.clone()).or_insert(now);
        }
        if !self.complete {
            self.disturbed.extend(self.ledger.names().cloned());
        }
    }

    /// Tries what the disk refused again, if it is time.
    pub fn try_again(&mut self, now: Instant) {
        for name in self.retry.due(now) {
            self.dirty.entry(name).or_insert(now);
        }
    }

    /// Whether all profiles are known. Until then, a file whose profile or base is missing may be
    /// right, so it is kept as it was.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether every profile is known and has been handled, and nothing is in the way.
    pub fn is_settled(&self) -> bool {
        self.complete && self.dirty.is_empty() && !self.is_checking() && !self.has_problem()
    }

    fn look_at(&mut self, name: &str) {
        let now = Instant::now();
        self.dirty.entry(name.to_owned()).or_insert(now);
    }

    /// Marks a profile, any other one that wants the same file, and all with a base, which may be
    /// this one.
    fn mark(&mut self, name: &str) {
        let now = Instant::now();
        let file = file_name(name);
        for name in profiles_of(&file) {
            self.dirty.entry(name.to_owned()).or_insert(now);
        }
        for name in &self.based {
            self.dirty.entry(name.clone()).or_insert(now);
        }
    }

    /// Updates the marked files. Returns `None` if there is nothing to do. For each written file,
    /// `written` gets the time since it was marked.
    pub fn settle(&mut self, written: &dyn Fn(Duration)) -> Option<Done> {
        let idle = if self.complete {
            self.dirty.is_empty() && !self.retry.is_unsynced()
        } else {
            self.disturbed.is_empty()
        };
        if idle {
            return None;
        }
        let mut done = Done::default();
        if self.folder.is_none() {
            return Some(done);
        }
        if !self.complete {
            self.restore(&mut done);
            return Some(done);
        }
        while !self.dirty.is_empty() {
            let rest = self.dirty.keys().nth(BATCH).cloned();
            let later = rest.map_or_else(BTreeMap::new, |name| self.dirty.split_off(&name));
            let batch = std::mem::replace(&mut self.dirty, later);
            self.settle_batch(batch, &mut done, written);
        }
        self.start_checks();
        if (done != Done::default() || self.retry.is_unsynced())
            && let Some(folder) = &self.folder
        {
            self.retry.folder(folder.sync().err().as_ref());
        }
        Some(done)
    }

    fn start_checks(&mut self) {
        let wanted = &self.wanted;
        self.effects
            .start(|name| file_of(wanted, name).unwrap_or_default());
    }

    /// Waits until a new file has been checked, and marks its profile.
    pub async fn checked(&mut self) {
        let name = self.effects.next().await;
        self.mark_checked(&name);
    }

    fn mark_checked(&mut self, name: &str) {
        if let Some(Effect::Usable(warnings)) = self.effects.known(name) {
            for warning in warnings {
                tracing::warn!(name, "{}", plain(warning));
            }
        }
        self.look_at(name);
        self.start_checks();
    }

    /// Whether files are still being checked.
    pub fn is_checking(&self) -> bool {
        self.effects.is_waiting()
    }
}

/// The file that a profile should have.
fn file_of(
    wanted: &BTreeMap<String, Wanted>,
    name: &str,
) -> Result<Option<Resolved>, ResolveError> {
    let Some(profile) = wanted.get(name) else {
        return Ok(None);
    };
    let find = |base: &str| Some(wanted.get(base)?.spec.text());
    resolve(name, &profile.spec.text(), &find)
}

/// Writes the file of a profile if it is not right, after calling `before`. Returns whether it was
/// written.
fn put_if_other(
    folder: &Folder,
    name: &str,
    text: &[u8],
    before: impl FnOnce(),
) -> Result<bool, FolderError> {
    let file = file_name(name);
    if folder.compare(&file, text)? == Found::Same {
        return Ok(false);
    }
    before();
    folder.put(&file, text)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
