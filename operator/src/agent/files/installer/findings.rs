//! What the agent says about its files: in its log, in the node's report, and in metrics.

use super::Installer;
use crate::{
    agent::node_report,
    crd::{FailedProfile, SeccompNodeSpec},
};
use portcullis_profile::gate::decision::plain;
use std::fmt;

impl Installer {
    /// Logs the warnings about a profile whenever they change.
    pub(super) fn warn(&mut self, name: &str, warnings: &[String]) {
        if self.warned.get(name).map_or(&[][..], Vec::as_slice) != warnings {
            for warning in warnings {
                tracing::warn!(name, "{}", plain(warning));
            }
            self.warned.insert(name.to_owned(), warnings.to_vec());
        }
    }

    pub(super) fn fail(&mut self, name: &str, error: &impl fmt::Display) {
        let message = plain(&error.to_string());
        if self.failures.get(name) != Some(&message) {
            tracing::warn!(name, "not installed: {message}");
        }
        self.failures.insert(name.to_owned(), message);
    }

    /// The disk refused a profile's file. It is tried again.
    pub(super) fn refused(&mut self, name: &str, error: &impl fmt::Display) {
        self.retry.file(name, error);
        self.fail(name, error);
    }

    pub(super) fn problem(&self) -> Option<String> {
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
