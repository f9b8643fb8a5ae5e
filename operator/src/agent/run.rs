//! The agent's loop: changes of profiles and of files come in, batches go out.

use super::{
    drift::Drift,
    folder, gate,
    installer::Installer,
    reporter::Reporter,
    source::{self, Change, Changes},
};
use crate::{
    crd::SeccompNodeSpec,
    events::Publisher,
    health::{Health, Metric},
};
use futures::{FutureExt, StreamExt};
use kube::Client;
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// How long changes are gathered before the node is reported on, so that a burst is one report.
const QUIET: Duration = Duration::from_millis(300);
/// And at most, where there is no end of them.
const LATE: Duration = Duration::from_millis(2400);
/// How often every file is looked at, beside what the kernel tells.
const CHECK: Duration = Duration::from_secs(60);
/// How often the loop gives a sign of life.
const BEAT: Duration = Duration::from_secs(10);
/// How many changes that are there already are taken in at once.
const BURST: usize = 64;

const WRITTEN: Metric = Metric::counter(
    "portcullis_agent_files_written_total",
    "Files written, for the first time or anew.",
);
const REPAIRED: Metric = Metric::counter(
    "portcullis_agent_files_repaired_total",
    "Files that someone else had changed or removed, and that were written anew.",
);
const REMOVED: Metric =
    Metric::counter("portcullis_agent_files_removed_total", "Files taken away.");
const PROFILES: Metric = Metric::gauge(
    "portcullis_agent_profiles",
    "Profiles on this node, by whether their file is as it should be.",
);
const PROBLEM: Metric = Metric::gauge(
    "portcullis_agent_folder_unusable",
    "Whether the folder of the files can't be used.",
);

/// Where profiles come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The API server.
    Cluster {
        /// This node.
        node: String,
    },
    /// A folder of manifests.
    Folder(PathBuf),
}

/// What the agent is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where profiles come from.
    pub source: Source,
    /// The seccomp root.
    pub root: PathBuf,
    /// The ledger's folder.
    pub state: PathBuf,
    /// The socket that the gate's decisions come to.
    pub gate_socket: PathBuf,
    /// The endpoint for health and metrics.
    pub listen: Option<std::net::SocketAddr>,
}

/// Why the agent ends.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// No way to the API server.
    #[error("the API server: {0}")]
    Client(#[from] Box<kube::Error>),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentError {
    let what = what.into();
    |source| AgentError::Io { what, source }
}

/// Runs until SIGTERM or SIGINT; the files stay.
///
/// # Errors
/// [`AgentError`] where it can't start.
pub async fn run(options: Options) -> Result<(), AgentError> {
    let mut term = signal(SignalKind::terminate()).map_err(io_error("signals"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(io_error("signals"))?;
    let client = match &options.source {
        Source::Cluster { .. } => Some(Client::try_default().await.map_err(Box::new)?),
        Source::Folder(_) => None,
    };
    tokio::select! {
        result = work(&options, client) => result,
        _ = term.recv() => ended("SIGTERM"),
        _ = int.recv() => ended("SIGINT"),
    }
}

#[allow(clippy::unnecessary_wraps)]
fn ended(signal: &str) -> Result<(), AgentError> {
    tracing::info!("{signal}: the agent ends, the files stay");
    Ok(())
}

/// Runs for as long as it is polled, as the one who the client is.
///
/// # Errors
/// [`AgentError`] where it can't start.
pub async fn work(options: &Options, client: Option<Client>) -> Result<(), AgentError> {
    let mut installer = Installer::open(&options.root, &options.state)
        .map_err(io_error(options.state.display().to_string()))?;
    let health = Health::default();
    if let Some(address) = options.listen {
        health
            .serve(address)
            .await
            .map_err(io_error(address.to_string()))?;
    }
    let (report, reports) = watch::channel(None);
    let mut publisher = None;
    let (changes, reporter) = match (&options.source, client) {
        (Source::Cluster { node }, Some(client)) => {
            let agent = "portcullis.dev/agent";
            publisher = Some(Publisher::new(client.clone(), agent, node));
            let reporter = Reporter::new(client.clone(), node);
            (source::cluster(client), Some(reporter))
        }
        (Source::Cluster { node }, None) => {
            let source = io::Error::other("there is no way to the API server");
            return Err(io_error(node)(source));
        }
        (Source::Folder(path), _) => {
            let changes = source::folder(path).map_err(io_error(path.display().to_string()))?;
            (changes, None)
        }
    };
    let reporting = if let Some(reporter) = reporter {
        reporter.run(reports, &health).left_future()
    } else {
        drop(reports);
        futures::future::pending().right_future()
    };
    tokio::select! {
        result = follow(&mut installer, &options.root, changes, report, &health) => result,
        () = reporting => Ok(()),
        () = gate::listen(&options.gate_socket, publisher, &health) => Ok(()),
    }
}

fn watch_files(root: &Path) -> Result<Drift, AgentError> {
    // The root itself may be a link: what it leads to is watched.
    Drift::watch(&[&root.join("."), &root.join(folder::NAME)])
        .map_err(io_error(root.display().to_string()))
}

/// Takes in what happened to files; a folder that is another one now is opened and watched anew.
fn take_drift(
    installer: &mut Installer,
    names: Option<Vec<String>>,
    root: &Path,
    drift: &mut Drift,
) -> Result<(), AgentError> {
    match names {
        Some(names) => names.iter().for_each(|name| installer.touched(name)),
        None => installer.check_all(),
    }
    if installer.reopen() {
        *drift = watch_files(root)?;
    }
    Ok(())
}

/// Makes the files right; true where there was something to look at.
fn settle(installer: &mut Installer, health: &Health) -> bool {
    let Some(done) = installer.settle() else {
        return false;
    };
    health.add(WRITTEN, done.written);
    health.add(REPAIRED, done.repaired);
    health.add(REMOVED, done.removed);
    let (there, failed) = installer.counts();
    health.set_labelled(PROFILES, vec![("state", "installed")], there);
    health.set_labelled(PROFILES, vec![("state", "failed")], failed);
    health.set(PROBLEM, installer.has_problem().into());
    true
}

/// When the node is reported on: soon, and where changes go on and on, less and less often.
#[derive(Debug)]
struct Due {
    at: Option<Instant>,
    last: Option<Instant>,
    pause: Duration,
}

impl Due {
    const fn new() -> Due {
        Due {
            at: None,
            last: None,
            pause: QUIET,
        }
    }

    /// Something has changed.
    fn changed(&mut self, now: Instant) {
        if self.at.is_some() {
            return;
        }
        let pause = match self.last {
            Some(last) if now < last + LATE => (self.pause * 2).min(LATE),
            _ => QUIET,
        };
        self.pause = pause;
        self.at = Some(now + pause);
    }

    /// It is reported on now.
    fn done(&mut self, now: Instant) {
        self.at = None;
        self.last = Some(now);
    }
}

async fn follow(
    installer: &mut Installer,
    root: &Path,
    mut changes: Changes,
    report: watch::Sender<Option<SeccompNodeSpec>>,
    health: &Health,
) -> Result<(), AgentError> {
    let mut drift = watch_files(root)?;
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listed = BTreeSet::new();
    let mut due = Due::new();
    loop {
        let report_at = due.at.unwrap_or_else(|| Instant::now() + CHECK);
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(Ok(change)) => {
                    take(installer, change, &mut listed);
                    for _ in 0..BURST {
                        let Some(Some(Ok(change))) = changes.next().now_or_never() else {
                            break;
                        };
                        take(installer, change, &mut listed);
                    }
                }
                Some(Err(error)) => tracing::warn!("{error}"),
                None => return Ok(()),
            },
            names = drift.touched() => {
                let names = names.map_err(io_error("inotify"))?;
                take_drift(installer, names, root, &mut drift)?;
            }
            _ = check.tick() => {
                installer.reopen();
                installer.check_all();
            }
            _ = beat.tick() => {}
            () = sleep_until(report_at), if due.at.is_some() => {
                due.done(Instant::now());
                if report.receiver_count() > 0 {
                    report.send_replace(Some(installer.report()));
                }
            }
        }
        health.beat();
        let settled = settle(installer, health);
        if installer.is_complete() {
            if settled || !health.is_ready() {
                due.changed(Instant::now());
            }
            health.set_ready();
        }
    }
}

/// Takes one change in.
fn take(installer: &mut Installer, change: Change, listed: &mut BTreeSet<String>) {
    match change {
        Change::Begin => listed.clear(),
        Change::Listed(name, spec) => {
            installer.set(&name, spec);
            listed.insert(name);
        }
        Change::Set(name, spec) => installer.set(&name, spec),
        Change::Unset(name) => installer.unset(&name),
        Change::Complete => {
            installer.keep_only(listed);
            listed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_reported_soon_and_an_endless_stream_less_and_less_often() {
        let start = Instant::now();
        let mut due = Due::new();
        due.changed(start);
        assert_eq!(due.at, Some(start + QUIET));
        let mut reports = 0;
        // A change every 10 ms, for 20 seconds.
        for tick in 0..2000 {
            let now = start + Duration::from_millis(10) * tick;
            if due.at.is_some_and(|at| at <= now) {
                due.done(now);
                reports += 1;
            }
            due.changed(now);
        }
        assert!((8..=12).contains(&reports), "{reports}");
        due.done(start + Duration::from_secs(20));
        let later = start + Duration::from_secs(30);
        due.changed(later);
        assert_eq!(due.at, Some(later + QUIET));
    }
}
