//! Keeps the files of a node as the profiles say.
//!
//! Changes only mark names; [`Installer::settle`] does the work, so that a burst is one batch.

use super::{
    folder::{Folder, FolderError, Found},
    ledger::Ledger,
    report,
    saved::Saved,
};
use crate::{
    crd::SeccompNodeSpec,
    resolve::{ResolveError, Resolved, has_base, resolve},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

/// How many files are prepared at once.
const BATCH: usize = 64;

/// Why a profile has no file on this node.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{} is there already and is not the operator's; it is left alone", .0.display())]
    Foreign(PathBuf),
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Files written for the first time or anew.
    pub written: u64,
    /// Of them those that someone else had changed or removed.
    pub repaired: u64,
    /// Files taken away.
    pub removed: u64,
}

/// The node's files, and what they should be.
#[derive(Debug)]
pub struct Installer {
    root: PathBuf,
    folder: Option<Folder>,
    ledger: Ledger,
    saved: Saved,
    /// Whether the specifications are all that there are.
    complete: bool,
    /// Names whose files may not be as they were saved, as long as they are not.
    disturbed: BTreeSet<String>,
    /// Specifications as JSON: small in memory.
    specs: BTreeMap<String, Box<str>>,
    /// Which of them have a base.
    based: BTreeSet<String>,
    installed: BTreeMap<String, String>,
    failures: BTreeMap<String, String>,
    problem: Option<String>,
    dirty: BTreeSet<String>,
}

impl Installer {
    /// Opens the ledger and the folder.
    ///
    /// # Errors
    /// Where the ledger can't be read or written.
    pub fn open(root: &Path, state: &Path) -> io::Result<Installer> {
        let ledger = Ledger::open(state)?;
        let mut installer = Installer {
            root: root.to_owned(),
            folder: None,
            saved: Saved::open(state)?,
            complete: false,
            disturbed: ledger.names().cloned().collect(),
            ledger,
            specs: BTreeMap::new(),
            based: BTreeSet::new(),
            installed: BTreeMap::new(),
            failures: BTreeMap::new(),
            problem: None,
            dirty: BTreeSet::new(),
        };
        installer.reopen();
        Ok(installer)
    }

    /// Opens the folder again where it is no longer the one at its path; true where that made a
    /// difference.
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

    /// A profile is there or has changed; its specification as JSON.
    pub fn set(&mut self, name: &str, text: Box<str>) {
        if self.specs.get(name) != Some(&text) {
            if has_base(&text) {
                self.based.insert(name.to_owned());
            } else {
                self.based.remove(name);
            }
            self.specs.insert(name.to_owned(), text);
            self.mark(name);
        }
    }

    /// A profile is gone.
    pub fn unset(&mut self, name: &str) {
        self.specs.remove(name);
        self.based.remove(name);
        self.mark(name);
    }

    /// These profiles are all that there are: what else is ours goes.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        self.complete = true;
        self.disturbed.clear();
        let gone: Vec<String> = self
            .specs
            .keys()
            .chain(self.ledger.names())
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.unset(&name);
        }
    }

    /// A file of the folder was touched.
    pub fn touched(&mut self, file: &str) {
        if let Some(name) = file.strip_suffix(".json")
            && (self.specs.contains_key(name) || self.ledger.has(name))
        {
            self.dirty.insert(name.to_owned());
            if !self.complete {
                self.disturbed.insert(name.to_owned());
            }
        }
    }

    /// Every file is looked at again.
    pub fn check_all(&mut self) {
        self.dirty.extend(self.specs.keys().cloned());
        self.dirty.extend(self.ledger.names().cloned());
        if !self.complete {
            self.disturbed.extend(self.ledger.names().cloned());
        }
    }

    /// Whether all that is wanted is known. Before that, a file whose profile or base is missing
    /// may be right: it is kept as it was.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Marks a profile and all that have a base, which may be this one.
    fn mark(&mut self, name: &str) {
        self.dirty.insert(name.to_owned());
        self.dirty.extend(self.based.iter().cloned());
    }

    /// Makes the marked files right; nothing where there is nothing to do.
    pub fn settle(&mut self) -> Option<Done> {
        let idle = if self.complete {
            self.dirty.is_empty()
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
            let rest = self.dirty.iter().nth(BATCH).cloned();
            let later = rest.map_or_else(BTreeSet::new, |name| self.dirty.split_off(&name));
            let batch = std::mem::replace(&mut self.dirty, later);
            self.settle_batch(batch, &mut done);
        }
        if done != Done::default()
            && let Some(Err(error)) = self.folder.as_ref().map(Folder::sync)
        {
            self.problem = Some(error.to_string());
        }
        Some(done)
    }

    /// Makes files that were disturbed as they were when the agent last knew what they should be.
    fn restore(&mut self, done: &mut Done) {
        let Some(folder) = &self.folder else {
            return;
        };
        for name in std::mem::take(&mut self.disturbed) {
            let Some(text) = self.saved.load(&name).filter(|_| self.ledger.has(&name)) else {
                continue;
            };
            let file = format!("{name}.json");
            match folder.compare(&file, &text) {
                Ok(Found::Same) => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(name, "{error}");
                    continue;
                }
            }
            match folder.put(&file, &text) {
                Ok(()) => {
                    done.written += 1;
                    done.repaired += 1;
                    tracing::warn!(name, "the file was changed by someone else; restored");
                }
                Err(error) => tracing::warn!(name, "not restored: {error}"),
            }
        }
    }

    fn settle_batch(&mut self, batch: BTreeSet<String>, done: &mut Done) {
        let Some(folder) = self.folder.take() else {
            return;
        };
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        let mut new = Vec::new();
        for name in batch {
            match self.wanted(&name) {
                Ok(Some(resolved)) => {
                    let file = format!("{name}.json");
                    if !self.ledger.has(&name) {
                        if folder.has(&file) {
                            self.fail(&name, &InstallError::Foreign(folder.path().join(file)));
                            continue;
                        }
                        new.push(name.clone());
                    }
                    wanted.push((name, resolved));
                }
                Ok(None) => {
                    self.failures.remove(&name);
                    unwanted.push(name);
                }
                Err(error) => {
                    self.fail(&name, &error);
                    unwanted.push(name);
                }
            }
        }
        if let Err(error) = self.ledger.add(&new) {
            let error = InstallError::Ledger(error);
            for name in &new {
                self.fail(name, &error);
            }
            wanted.retain(|(name, _)| !new.contains(name));
        }
        let mut texts = Vec::new();
        for (name, resolved) in wanted {
            match self.install(&folder, &name, &resolved, done) {
                Ok(()) => {
                    self.failures.remove(&name);
                    self.installed.insert(name.clone(), resolved.digest);
                    texts.push((name, resolved.text));
                }
                Err(error) => self.fail(&name, &error),
            }
        }
        // Afterwards: no file waits for a copy.
        for (name, text) in texts {
            if let Err(error) = self.saved.save(&name, &text) {
                tracing::warn!(name, "not saved: {error}");
            }
        }
        let mut gone = Vec::new();
        unwanted.retain(|name| self.ledger.has(name));
        for name in unwanted {
            self.installed.remove(&name);
            self.saved.remove(&name);
            match folder.remove(&format!("{name}.json")) {
                Ok(()) => {
                    done.removed += 1;
                    gone.push(name);
                }
                Err(error) => self.fail(&name, &error.into()),
            }
        }
        if let Err(error) = self.ledger.remove(&gone) {
            self.problem = Some(format!("the ledger: {error}"));
        }
        self.folder = Some(folder);
    }

    fn install(
        &self,
        folder: &Folder,
        name: &str,
        resolved: &Resolved,
        done: &mut Done,
    ) -> Result<(), InstallError> {
        let file = format!("{name}.json");
        if folder.compare(&file, &resolved.text)? != Found::Same {
            // What is restored must never be older than the file.
            self.saved.remove_other(name, &resolved.text);
            folder.put(&file, &resolved.text)?;
            done.written += 1;
            if self.installed.get(name) == Some(&resolved.digest) {
                done.repaired += 1;
                tracing::warn!(name, "the file was changed by someone else; repaired");
            }
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> Result<Option<Resolved>, InstallError> {
        let Some(text) = self.specs.get(name) else {
            return Ok(None);
        };
        let find = |base: &str| self.specs.get(base).map(|text| &**text);
        Ok(resolve(name, text, &find)?)
    }

    fn fail(&mut self, name: &str, error: &InstallError) {
        let message = portcullis_profile::gate::decision::plain(&error.to_string());
        tracing::warn!(name, "no file: {message}");
        self.installed.remove(name);
        self.failures.insert(name.to_owned(), message);
    }

    /// What the node has, for its `SeccompNode`.
    pub fn report(&self) -> SeccompNodeSpec {
        report::report(&self.installed, &self.failures, self.problem.as_deref())
    }

    /// How many profiles are installed, and how many are not.
    pub fn counts(&self) -> (usize, usize) {
        (self.installed.len(), self.failures.len())
    }

    /// Whether the folder can be used.
    pub fn has_problem(&self) -> bool {
        self.problem.is_some()
    }
}

#[cfg(test)]
mod tests;
