//! The agent's loop: changes of profiles and of files come in, batches go out.

use super::{drift::Drift, folder, gate, installer::Installer, manifests};
use crate::{
    crd::{SeccompNode, SeccompNodeSpec, SeccompProfile},
    events::Publisher,
    health::Health,
};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// How long changes are gathered before the `SeccompNode` is written.
const QUIET: Duration = Duration::from_millis(300);
/// How often every file is looked at, beside what the kernel tells.
const CHECK: Duration = Duration::from_secs(60);
/// How many changes that are there already are taken in at once.
const BURST: usize = 64;
/// How many objects a list's page has.
const PAGE: u32 = 20;

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
    let mut installer = Installer::open(&options.root, &options.state)
        .map_err(io_error(options.state.display().to_string()))?;
    let health = Health::default();
    if let Some(address) = options.listen {
        health
            .serve(address)
            .await
            .map_err(io_error(address.to_string()))?;
    }
    let mut term = signal(SignalKind::terminate()).map_err(io_error("signals"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(io_error("signals"))?;
    let mut publisher = None;
    let work = match &options.source {
        Source::Cluster { node } => {
            let client = Client::try_default().await.map_err(Box::new)?;
            let agent = "portcullis.dev/agent";
            publisher = Some(Publisher::new(client.clone(), agent, node));
            let config = watcher::Config::default().page_size(PAGE);
            let stream = watcher(Api::<SeccompProfile>::all(client.clone()), config);
            let stream = stream.default_backoff().boxed();
            let reporter = Some(Reporter::new(client, node));
            follow(&mut installer, &options.root, stream, reporter, &health).left_future()
        }
        Source::Folder(path) => {
            folder_loop(&mut installer, &options.root, path, &health).right_future()
        }
    };
    tokio::select! {
        result = work => result,
        () = gate::listen(&options.gate_socket, publisher, &health) => Ok(()),
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    }
}

fn watch_files(root: &Path) -> Result<Drift, AgentError> {
    Drift::watch(&[root, &root.join(folder::NAME)]).map_err(io_error(root.display().to_string()))
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

fn settle(installer: &mut Installer, health: &Health) -> bool {
    if !installer.is_dirty() {
        return false;
    }
    let done = installer.settle();
    health.add("portcullis_agent_files_written_total", done.written);
    health.add("portcullis_agent_files_repaired_total", done.repaired);
    health.add("portcullis_agent_files_removed_total", done.removed);
    true
}

async fn follow(
    installer: &mut Installer,
    root: &Path,
    mut stream: BoxStream<'_, Result<Event<SeccompProfile>, watcher::Error>>,
    mut reporter: Option<Reporter>,
    health: &Health,
) -> Result<(), AgentError> {
    let mut drift = watch_files(root)?;
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listed = BTreeSet::new();
    let mut report_at: Option<Instant> = None;
    let mut complete = false;
    loop {
        let due = report_at.unwrap_or_else(|| Instant::now() + CHECK);
        tokio::select! {
            biased;
            event = stream.next() => match event {
                Some(Ok(event)) => {
                    complete |= take(installer, event, &mut listed);
                    for _ in 0..BURST {
                        let Some(Some(Ok(event))) = stream.next().now_or_never() else {
                            break;
                        };
                        complete |= take(installer, event, &mut listed);
                    }
                }
                Some(Err(error)) => tracing::warn!("the API server: {error}"),
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
            () = sleep_until(due), if report_at.is_some() => {
                report_at = None;
                if let Some(reporter) = &mut reporter
                    && let Err(error) = reporter.write(installer.report()).await
                {
                    tracing::warn!("the SeccompNode: {error}");
                    report_at = Some(Instant::now() + Duration::from_secs(2));
                }
            }
        }
        // Before the list is complete, a file whose profile or base is missing may be right.
        if complete {
            if settle(installer, health) || !health.is_ready() {
                report_at.get_or_insert_with(|| Instant::now() + QUIET);
            }
            health.set_ready();
        }
    }
}

/// Takes one change in; true where the list is complete.
fn take(
    installer: &mut Installer,
    event: Event<SeccompProfile>,
    listed: &mut BTreeSet<String>,
) -> bool {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(profile) => {
            listed.insert(profile.name_any());
            set(installer, &profile);
        }
        Event::InitDone => {
            installer.keep_only(listed);
            listed.clear();
            return true;
        }
        Event::Apply(profile) => set(installer, &profile),
        Event::Delete(profile) => installer.unset(&profile.name_any()),
    }
    false
}

fn set(installer: &mut Installer, profile: &SeccompProfile) {
    let name = profile.name_any();
    if let Err(error) = installer.set(&name, &profile.spec) {
        tracing::warn!(name, "{error}");
    }
}

async fn folder_loop(
    installer: &mut Installer,
    root: &Path,
    path: &Path,
    health: &Health,
) -> Result<(), AgentError> {
    let mut drift = watch_files(root)?;
    let manifests_watch = Drift::watch(&[path]).map_err(io_error(path.display().to_string()))?;
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut read = true;
    let mut complete = false;
    loop {
        if read {
            read = false;
            match manifests::read(path) {
                Ok(profiles) => {
                    for profile in profiles.values() {
                        set(installer, profile);
                    }
                    installer.keep_only(&profiles.into_keys().collect());
                    complete = true;
                    health.set_ready();
                }
                Err(error) => tracing::error!("{}: {error}", path.display()),
            }
        }
        if complete {
            settle(installer, health);
        }
        tokio::select! {
            names = drift.touched() => {
                let names = names.map_err(io_error("inotify"))?;
                take_drift(installer, names, root, &mut drift)?;
            }
            names = manifests_watch.touched() => {
                names.map_err(io_error("inotify"))?;
                read = true;
            }
            _ = check.tick() => {
                installer.reopen();
                installer.check_all();
                read = true;
            }
        }
    }
}

/// Writes this node's `SeccompNode`.
struct Reporter {
    client: Client,
    node: String,
    owner: Option<OwnerReference>,
    last: Option<SeccompNodeSpec>,
}

impl Reporter {
    fn new(client: Client, node: &str) -> Reporter {
        Reporter {
            client,
            node: node.to_owned(),
            owner: None,
            last: None,
        }
    }

    async fn write(&mut self, spec: SeccompNodeSpec) -> Result<(), kube::Error> {
        if self.last.as_ref() == Some(&spec) {
            return Ok(());
        }
        if self.owner.is_none() {
            let node = Api::<Node>::all(self.client.clone())
                .get(&self.node)
                .await?;
            self.owner = Some(OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: self.node.clone(),
                uid: node.uid().unwrap_or_default(),
                ..OwnerReference::default()
            });
        }
        let mut object = SeccompNode::new(&self.node, spec.clone());
        object.metadata.owner_references = self.owner.clone().map(|owner| vec![owner]);
        Api::<SeccompNode>::all(self.client.clone())
            .patch(
                &self.node,
                &PatchParams::apply("portcullis-agent").force(),
                &Patch::Apply(&object),
            )
            .await?;
        self.last = Some(spec);
        Ok(())
    }
}
