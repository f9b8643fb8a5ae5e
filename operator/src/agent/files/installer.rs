//! Makes the files of a node what the profiles say.
//!
//! Changes only mark names; [`Installer::settle`] does the work, so that a burst is one batch.

use super::{
    file_backup::FileBackup,
    folder::{Folder, FolderError, Found},
    ledger::Ledger,
    retry::Retry,
};
use crate::{
    agent::{
        node_report,
        source::{Release, Wanted},
    },
    crd::{FailedProfile, InstalledProfile, SeccompNodeSpec},
    effect::{Effect, Effects},
    file_name::{file_name, holder, profiles_of},
    resolve::{ResolveError, Resolved, base_of, digest, resolve},
};
use portcullis_profile::{gate::decision::plain, program::Memo};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many files are prepared before any of them is written.
const BATCH: usize = 64;

/// Why a profile has no file on this node.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{} already exists and does not belong to the operator; it is left alone", .0.display())]
    Foreign(PathBuf),
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
    #[error(
        "no manifest defines it, but one can't be read (see the agent's log); the last good file stays"
    )]
    Unknown,
}

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
    /// The profiles, whose specifications are kept as JSON, which saves memory.
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
    /// Opens the ledger and the folder.
    ///
    /// # Errors
    /// If the ledger can't be read or written. A folder that can't be opened is reported instead.
    pub fn open(root: &Path, state: &Path) -> io::Result<Installer> {
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
            effects: Effects::default(),
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
            return;
        }
        if base_of(&profile.spec).is_some() {
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

    /// Restores disturbed files from their copies.
    fn restore(&mut self, done: &mut Done) {
        let Some(folder) = &self.folder else {
            return;
        };
        for name in std::mem::take(&mut self.disturbed) {
            self.put_back(folder, &name, done);
        }
    }

    /// Restores a file from its copy.
    fn put_back(&self, folder: &Folder, name: &str, done: &mut Done) {
        let Some(copy) = self.backup.load(name).filter(|_| self.ledger.has(name)) else {
            return;
        };
        match put_if_other(folder, name, &copy.text, || {}) {
            Ok(false) => {}
            Ok(true) => {
                done.written += 1;
                done.repaired += 1;
                tracing::warn!(name, "the file was changed by someone else; restored");
            }
            Err(error) => tracing::warn!(name, "not restored: {error}"),
        }
    }

    fn settle_batch(
        &mut self,
        batch: BTreeMap<String, Instant>,
        done: &mut Done,
        written: &dyn Fn(Duration),
    ) {
        let Some(folder) = self.folder.take() else {
            return;
        };
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        let mut new = Vec::new();
        for (name, since) in batch {
            let release = self.wanted.get(&name).map(|profile| profile.release);
            if release == Some(Release::Now) {
                self.failures.remove(&name);
                unwanted.push(name);
                continue;
            }
            if let Some(by) = self.holder(&name) {
                // The file on the node will be the other profile's once that is installed.
                if self.ledger.has(&by) || !self.ledger.has(&name) {
                    unwanted.push(name.clone());
                }
                self.installed.remove(&name);
                self.fail(&name, &ResolveError::FileNameTaken { by });
                continue;
            }
            match file_of(&self.wanted, &name) {
                Ok(Some(resolved)) => {
                    match self.effects.of(&name, &resolved.sum).cloned() {
                        Some(Effect::Usable(_)) => {}
                        Some(Effect::Unusable(why)) => {
                            self.keep_last_good(&folder, &name, &why, done);
                            continue;
                        }
                        // The previous file is put back at once; a new one has to wait.
                        None if self.was_here(&name, &resolved.text) => {}
                        None => {
                            self.put_back(&folder, &name, done);
                            continue;
                        }
                    }
                    let file = file_name(&name);
                    if !self.ledger.has(&name) {
                        let is_ours = || profiles_of(&file).any(|name| self.ledger.has(name));
                        // Without a ledger, a file that is right can only be ours.
                        let is_right =
                            || matches!(folder.compare(&file, &resolved.text), Ok(Found::Same));
                        if folder.has(&file) && !is_ours() && !is_right() {
                            self.fail(&name, &InstallError::Foreign(folder.path().join(file)));
                            continue;
                        }
                        new.push(name.clone());
                    }
                    self.warn(&name, &resolved.warnings);
                    wanted.push((name, resolved, since));
                }
                Ok(None) if release == Some(Release::Never) => {
                    self.keep(&folder, &name, done);
                    self.failures.remove(&name);
                }
                Ok(None) if self.may_be_unknown(&name) => {
                    self.put_back(&folder, &name, done);
                    self.fail(&name, &InstallError::Unknown);
                }
                Ok(None) => {
                    self.failures.remove(&name);
                    unwanted.push(name);
                }
                Err(error) => self.keep_last_good(&folder, &name, &error, done),
            }
        }
        if let Err(error) = self.ledger.add(&new) {
            let error = InstallError::Ledger(error);
            for name in &new {
                self.refused(name, &error);
            }
            wanted.retain(|(name, ..)| !new.contains(name));
        }
        let mut texts = Vec::new();
        for (name, resolved, since) in wanted {
            match self.install(&folder, &name, &resolved, done) {
                Ok(changed) => {
                    if changed {
                        written(since.elapsed());
                    }
                    self.failures.remove(&name);
                    self.texts.insert(name.clone(), digest(&resolved.text));
                    let profile = InstalledProfile {
                        digest: resolved.digest,
                        generation: self.wanted.get(&name).and_then(|it| it.generation),
                        name: name.clone(),
                    };
                    texts.push((profile.clone(), resolved.text));
                    self.installed.insert(name, profile);
                }
                Err(error) => self.refused(&name, &error),
            }
        }
        // Only now, so that no file has to wait for a copy.
        for (profile, text) in texts {
            if let Err(error) = self.backup.save(&profile, &text) {
                let name = profile.name;
                tracing::warn!(name, "no copy is kept: {error}");
            }
        }
        unwanted.retain(|name| self.ledger.has(name));
        self.remove(&folder, unwanted, done);
        self.folder = Some(folder);
    }

    /// Removes the files of these names, which are ours.
    fn remove(&mut self, folder: &Folder, unwanted: Vec<String>, done: &mut Done) {
        let mut gone = Vec::new();
        for name in unwanted {
            self.installed.remove(&name);
            self.texts.remove(&name);
            self.backup.remove(&name);
            let file = file_name(&name);
            if profiles_of(&file).any(|other| other != name && self.ledger.has(other)) {
                gone.push(name);
                continue;
            }
            match folder.remove(&file) {
                Ok(()) => {
                    done.removed += 1;
                    gone.push(name);
                }
                Err(error) => self.refused(&name, &error),
            }
        }
        if let Err(error) = self.ledger.remove(&gone) {
            let error = InstallError::Ledger(error);
            for name in gone {
                self.retry.file(&name, &error);
            }
        }
    }

    /// Updates one file. Returns whether it was written.
    fn install(
        &self,
        folder: &Folder,
        name: &str,
        resolved: &Resolved,
        done: &mut Done,
    ) -> Result<bool, InstallError> {
        // A copy must never be older than the file.
        let forget_copy = || self.backup.remove_other(name, &resolved.text);
        if !put_if_other(folder, name, &resolved.text, forget_copy)? {
            return Ok(false);
        }
        done.written += 1;
        // The same filter in another spelling is an edit of the profile.
        if self.installed.contains_key(name)
            && self.texts.get(name) == Some(&digest(&resolved.text))
        {
            done.repaired += 1;
            tracing::warn!(name, "the file was changed by someone else; repaired");
        }
        Ok(true)
    }

    /// The other profile that has the file that this one wants, if there is one.
    fn holder(&self, name: &str) -> Option<String> {
        if !self.wanted.contains_key(name) {
            return None;
        }
        holder(name, |name| {
            let profile = self.wanted.get(name)?;
            Some(profile.created)
        })
    }

    /// Whether a file of ours that nobody is known to want may be one of an unknown profile.
    fn may_be_unknown(&self, name: &str) -> bool {
        let is_wanted = |name: &str| self.wanted.contains_key(name);
        self.has_unknown && self.ledger.has(name) && !profiles_of(&file_name(name)).any(is_wanted)
    }

    /// Whether this text was the file of this profile when the agent last knew what it should be.
    fn was_here(&self, name: &str, text: &[u8]) -> bool {
        self.ledger.has(name) && self.backup.load(name).is_some_and(|copy| copy.text == text)
    }

    /// Logs the warnings about a profile whenever they change.
    fn warn(&mut self, name: &str, warnings: &[String]) {
        if self.warned.get(name).map_or(&[][..], Vec::as_slice) != warnings {
            for warning in warnings {
                tracing::warn!(name, "{}", plain(warning));
            }
            self.warned.insert(name.to_owned(), warnings.to_vec());
        }
    }

    /// The file of a profile stays as it is, and is repaired if necessary, because containers need
    /// it.
    fn keep(&mut self, folder: &Folder, name: &str, done: &mut Done) {
        if !self.ledger.has(name) {
            return;
        }
        self.put_back(folder, name, done);
        if !self.installed.contains_key(name)
            && let Some(of) = self.backup.load(name).and_then(|copy| copy.of)
        {
            self.installed.insert(name.to_owned(), of);
        }
    }

    /// A profile has no valid file; its previous one stays.
    fn keep_last_good(
        &mut self,
        folder: &Folder,
        name: &str,
        error: &impl fmt::Display,
        done: &mut Done,
    ) {
        if !self.ledger.has(name) {
            return self.fail(name, error);
        }
        self.keep(folder, name, done);
        match self.installed.get(name).and_then(|it| it.generation) {
            Some(generation) => self.fail(
                name,
                &format!("{error}; generation {generation} stays on the node"),
            ),
            None => self.fail(name, &format!("{error}; the last valid file stays")),
        }
    }

    fn fail(&mut self, name: &str, error: &impl fmt::Display) {
        let message = plain(&error.to_string());
        if self.failures.get(name) != Some(&message) {
            tracing::warn!(name, "not installed: {message}");
        }
        self.failures.insert(name.to_owned(), message);
    }

    /// The disk refused a profile's file. It is tried again.
    fn refused(&mut self, name: &str, error: &impl fmt::Display) {
        self.retry.file(name, error);
        self.fail(name, error);
    }

    fn problem(&self) -> Option<String> {
        self.problem.clone().or_else(|| self.retry.problem())
    }

    /// The content of the node's `SeccompNode`.
    pub fn report(&self) -> SeccompNodeSpec {
        let generation = |name: &String| self.installed.get(name)?.generation;
        let failed = self.failures.iter().map(|(name, reason)| {
            let profile = FailedProfile {
                name: name.clone(),
                reason: reason.clone(),
                generation: generation(name),
            };
            (name.clone(), profile)
        });
        let mut installed = self.installed.clone();
        installed.retain(|name, _| !self.failures.contains_key(name));
        node_report::report(&installed, &failed.collect(), self.problem().as_deref())
    }

    /// How many profiles are installed, and how many have failed.
    pub fn counts(&self) -> (usize, usize) {
        let failed = self.failures.keys();
        let stale = failed.filter(|name| self.installed.contains_key(*name));
        (self.installed.len() - stale.count(), self.failures.len())
    }

    /// Whether the folder can't be opened, or the disk refused something.
    pub fn has_problem(&self) -> bool {
        self.problem().is_some()
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
    let find = |base: &str| wanted.get(base).map(|profile| &*profile.spec);
    resolve(name, &profile.spec, &find)
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
