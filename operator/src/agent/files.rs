//! Keeps the profiles as files on the node: collects changes in the cluster and on the node, and
//! writes the files accordingly.

mod file_backup;
pub mod file_watcher;
pub mod folder;
pub mod installer;
pub mod ledger;
mod retry;

use super::{
    AgentError, Options,
    node_report::Debounce,
    source::{Change, Changes},
};
use crate::{
    crd::SeccompNodeSpec,
    kube::{
        health::{HEARTBEAT, Health},
        metrics::{AgentMetrics, FileLabels, FileState},
    },
};
use file_watcher::FileWatcher;
use futures::{FutureExt, StreamExt};
use installer::Installer;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// How often every file is checked, in case the kernel did not report a change.
const CHECK: Duration = Duration::from_secs(60);
/// How many pending changes are collected at once.
const BATCH: usize = 64;

/// Keeps the files.
pub(super) struct Keeper<'a> {
    root: PathBuf,
    installer: Installer,
    watcher: FileWatcher,
    /// The names in the current list so far.
    listed: BTreeSet<String>,
    report: watch::Sender<Option<SeccompNodeSpec>>,
    /// Whether every profile that was there at first has been handled.
    synced: bool,
    debounce: Debounce,
    metrics: &'a AgentMetrics,
}

impl Keeper<'_> {
    /// Opens the ledger and the folder, and starts watching the files.
    ///
    /// # Errors
    /// If the ledger can't be read or written, or the folder can't be watched.
    pub(super) fn open<'a>(
        options: &Options,
        report: watch::Sender<Option<SeccompNodeSpec>>,
        metrics: &'a AgentMetrics,
    ) -> Result<Keeper<'a>, AgentError> {
        let (root, state) = (&options.root, &options.state);
        let error = AgentError::about(state.display().to_string());
        let limits = options.limits.clone();
        let mut installer = Installer::open(root, state, limits).map_err(error)?;
        installer.remember_in(options.memo.clone());
        Ok(Keeper {
            root: root.clone(),
            installer,
            watcher: watch_files(root)?,
            listed: BTreeSet::new(),
            report,
            synced: false,
            debounce: Debounce::new(),
            metrics,
        })
    }

    /// Collects changes and updates the files, until there are no more changes.
    ///
    /// # Errors
    /// If the kernel no longer reports changes of files, or the folder was replaced behind a mount.
    pub(super) async fn run(
        &mut self,
        mut changes: Changes,
        health: &Health,
    ) -> Result<(), AgentError> {
        let heartbeat = health.heartbeat("files");
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = interval(retry::EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle = interval(HEARTBEAT);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let report_at = self.debounce.due();
            tokio::select! {
                biased;
                change = changes.next() => match change {
                    Some(Ok(change)) => {
                        self.take(change);
                        for _ in 0..BATCH {
                            let Some(Some(Ok(change))) = changes.next().now_or_never() else {
                                break;
                            };
                            self.take(change);
                        }
                    }
                    Some(Err(error)) => tracing::warn!("{error}"),
                    None => return Ok(()),
                },
                names = self.watcher.touched() => {
                    let names = names.map_err(AgentError::about("inotify"))?;
                    self.look_at(names)?;
                }
                () = self.installer.checked() => {}
                _ = check.tick() => self.look_at(None)?,
                _ = retry.tick() => {
                    self.installer.try_again(std::time::Instant::now());
                    // Nothing tells that a file system was mounted or unmounted at its path.
                    self.look_at(Some(Vec::new()))?;
                }
                _ = idle.tick() => {}
                () = sleep_until(report_at.unwrap_or_else(Instant::now)), if report_at.is_some() => {
                    self.debounce.done(Instant::now());
                    if self.report.receiver_count() > 0 {
                        let synced = self.synced;
                        let report = self.installer.report();
                        self.report.send_replace(Some(SeccompNodeSpec { synced, ..report }));
                    }
                }
            }
            heartbeat.beat();
            let settled = self.settle();
            if self.installer.is_complete() {
                let was_synced = self.synced;
                self.synced |= self.installer.is_settled();
                if settled || self.synced != was_synced || !health.is_ready() {
                    self.debounce.changed(Instant::now());
                }
                health.set_ready();
            }
        }
    }

    /// Collects a change of the wanted profiles.
    fn take(&mut self, change: Change) {
        match change {
            Change::Begin => self.listed.clear(),
            Change::Listed(profile) => {
                self.listed.insert(profile.name.clone());
                self.installer.set(profile);
            }
            Change::Set(profile) => self.installer.set(profile),
            Change::Unset(name) => self.installer.unset(&name),
            Change::Complete => {
                self.installer.keep_only(&self.listed);
                self.listed.clear();
            }
            Change::Incomplete => {
                self.installer.keep_all();
                self.listed.clear();
            }
        }
    }

    /// Marks these files, or all of them, to be checked. If the open folder was replaced by another
    /// one, that is opened and watched instead.
    fn look_at(&mut self, names: Option<Vec<String>>) -> Result<(), AgentError> {
        match names {
            Some(names) => names.iter().for_each(|name| self.installer.touched(name)),
            None => self.installer.check_all(),
        }
        if self.installer.reopen() {
            self.watcher = watch_files(&self.root)?;
        }
        Ok(())
    }

    /// Updates the marked files. Returns whether there were any.
    fn settle(&mut self) -> bool {
        let written = |duration| self.metrics.file_write.observe(duration);
        let Some(done) = self.installer.settle(&written) else {
            return false;
        };
        let metrics = self.metrics;
        metrics.files_written.inc_by(done.written);
        metrics.files_repaired.inc_by(done.repaired);
        metrics.files_removed.inc_by(done.removed);
        let (installed, failed) = self.installer.counts();
        for (state, count) in [
            (FileState::Installed, installed),
            (FileState::Failed, failed),
        ] {
            let labels = FileLabels { state };
            metrics.profiles.get_or_create(&labels).set(count as u64);
        }
        metrics
            .folder_unusable
            .set(self.installer.has_problem().into());
        true
    }
}

fn watch_files(root: &Path) -> Result<FileWatcher, AgentError> {
    // The root itself may be a link; then its target is watched.
    FileWatcher::watch(&[&root.join("."), &root.join(folder::NAME)])
        .map_err(AgentError::about(root.display().to_string()))
}

#[cfg(test)]
mod tests;
