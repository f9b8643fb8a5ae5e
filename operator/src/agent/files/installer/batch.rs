//! A batch of marked profiles: which of them get a file, which lose it, and which have to wait.

use super::{Done, Installer, file_of, put_if_other};
use crate::{
    agent::{
        files::folder::{Folder, FolderError, Found},
        source::Release,
    },
    crd::InstalledProfile,
    effect::Effect,
    file_name::{file_name, holder, profiles_of},
    resolve::{ResolveError, Resolved, digest},
};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

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

impl Installer {
    pub(super) fn settle_batch(
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
            if self.wanted.get(&name).is_some_and(|it| !it.is_held) {
                // The controller will hold it soon. A file that is there is an earlier profile's.
                self.keep(&folder, &name, done);
                continue;
            }
            match file_of(&self.wanted, &name) {
                Ok(Some(resolved)) => {
                    match self.effects.of(&name, &resolved.sum).cloned() {
                        Some(Effect::Usable(_)) => {}
                        Some(Effect::Unusable(why) | Effect::NotAllowed(why)) => {
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
                    if !self.ledger.has(&name) {
                        if self.is_foreign(&folder, &name, &resolved.text) {
                            let path = folder.path().join(file_name(&name));
                            self.fail(&name, &InstallError::Foreign(path));
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
        self.write(&folder, wanted, done, written);
        unwanted.retain(|name| self.ledger.has(name));
        self.remove(&folder, unwanted, done);
        self.folder = Some(folder);
    }

    /// Writes the files of profiles that are in the ledger, then their copies.
    fn write(
        &mut self,
        folder: &Folder,
        wanted: Vec<(String, Resolved, Instant)>,
        done: &mut Done,
        written: &dyn Fn(Duration),
    ) {
        let mut texts = Vec::new();
        for (name, resolved, since) in wanted {
            match self.install(folder, &name, &resolved, done) {
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
    }

    /// Whether somebody else's file has the name of a profile's. Without a ledger, a file that is
    /// right can only be ours.
    fn is_foreign(&self, folder: &Folder, name: &str, text: &[u8]) -> bool {
        let file = file_name(name);
        let is_ours = || profiles_of(&file).any(|name| self.ledger.has(name));
        let is_right = || matches!(folder.compare(&file, text), Ok(Found::Same));
        folder.has(&file) && !is_ours() && !is_right()
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
        let mut forgotten = None;
        let forget_copy = || forgotten = self.backup.remove_other(name, &resolved.text);
        match put_if_other(folder, name, &resolved.text, forget_copy) {
            Ok(true) => {}
            other => {
                // The older file stays, and so does what is known of it.
                if let Some(copy) = forgotten {
                    self.backup.put_back(&copy);
                }
                return other.map_err(InstallError::from);
            }
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
}
