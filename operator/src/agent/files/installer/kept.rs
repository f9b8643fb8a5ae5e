//! Files that stay as they were, because containers may need them, or because it is not known yet what
//! they should be. They are repaired from their copies.

use super::{Done, Installer, put_if_other};
use crate::{
    agent::files::folder::Folder,
    crd::{InstalledProfile, node::UNKNOWN_GENERATION},
    file_name::file_name,
};
use std::fmt;

/// The digest of a file of which only is known that it is there.
const UNKNOWN_DIGEST: &str = "0000000000000000";

impl Installer {
    /// Restores disturbed files from their copies.
    pub(super) fn restore(&mut self, done: &mut Done) {
        let Some(folder) = &self.folder else {
            return;
        };
        for name in std::mem::take(&mut self.disturbed) {
            self.put_back(folder, &name, done);
        }
    }

    /// Restores a file from its copy.
    pub(super) fn put_back(&self, folder: &Folder, name: &str, done: &mut Done) {
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

    /// Whether this text was the file of this profile when the agent last knew what it should be.
    pub(super) fn was_here(&self, name: &str, text: &[u8]) -> bool {
        self.ledger.has(name) && self.backup.load(name).is_some_and(|copy| copy.text == text)
    }

    /// The file of a profile stays as it is, and is repaired if necessary, because containers need
    /// it.
    pub(super) fn keep(&mut self, folder: &Folder, name: &str, done: &mut Done) {
        if !self.ledger.has(name) {
            return;
        }
        self.put_back(folder, name, done);
        if self.installed.contains_key(name) {
            return;
        }
        let of = self.backup.load(name).and_then(|copy| copy.of);
        let unknown = || InstalledProfile {
            name: name.to_owned(),
            digest: UNKNOWN_DIGEST.to_owned(),
            generation: Some(UNKNOWN_GENERATION),
        };
        let of = of.or_else(|| folder.has(&file_name(name)).then(unknown));
        self.installed
            .extend(of.map(|profile| (name.to_owned(), profile)));
    }

    /// A profile has no valid file; its previous one stays.
    pub(super) fn keep_last_good(
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
            Some(generation) if generation != UNKNOWN_GENERATION => self.fail(
                name,
                &format!("{error}; generation {generation} stays on the node"),
            ),
            _ => self.fail(name, &format!("{error}; the last valid file stays")),
        }
    }
}
