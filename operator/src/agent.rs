//! The agent of one node. Each of its jobs has a module of its own: keeping the profiles as
//! [`files`], setting filters through [`nri`], publishing the gate's [`decisions`], looking whether
//! there is a [`gate`], and writing the [`node_report`].

mod copies;
pub mod decisions;
pub mod files;
pub mod gate;
pub mod node_report;
pub mod nri;
pub mod source;

use crate::{
    crd::{SeccompNodeSpec, nri::NodeNri},
    kube::{events::Publisher, health::Health, metrics::AgentMetrics},
};
use files::Keeper;
use kube::Client;
use node_report::Writer;
use portcullis_profile::{
    gate::decision::Decision,
    program::{Limits, Memo},
};
use source::Changes;
use std::{io, path::PathBuf, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// How long to wait before starting anew where the disk's state prevented it.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// The name under which the agent publishes events.
const COMPONENT: &str = "portcullis.dev/agent";

/// Where profiles come from.
#[derive(Clone)]
pub enum Source {
    /// A cluster.
    Cluster {
        /// This node's name in it.
        node: String,
        /// The client for its API server.
        client: Client,
    },
    /// A folder of manifests.
    Folder(PathBuf),
}

/// The agent's settings.
#[derive(Clone)]
pub struct Options {
    /// Where profiles come from.
    pub source: Source,
    /// The seccomp root. The agent manages the folder [`files::folder::NAME`] in it.
    pub root: PathBuf,
    /// The folder of the agent's ledger, which records its own files.
    pub state: PathBuf,
    /// The socket at which the gate's decisions arrive.
    pub gate_socket: PathBuf,
    /// Where the gate leaves its traces.
    pub gate_traces: gate::Traces,
    /// The cache of checked programs.
    pub memo: Memo,
    /// The operator's rules for profiles.
    pub limits: Limits,
    /// The NRI plugin's settings; `None` for an agent without one.
    pub nri: Option<nri::Options>,
}

/// Why the agent ends, or can't start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct AgentError {
    what: String,
    source: io::Error,
}

impl AgentError {
    /// Adds context to an error.
    fn about(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentError {
        let what = what.into();
        |source| AgentError { what, source }
    }

    /// Whether it is a matter of the disk's state, which somebody will mend.
    fn may_pass(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}

/// Runs the agent until the future is dropped. The files stay when it ends.
///
/// # Errors
/// [`AgentError`], if it can't start, or if the kernel no longer reports changes of files.
pub async fn run(
    options: &Options,
    health: &Health,
    metrics: &AgentMetrics,
) -> Result<(), AgentError> {
    let (report, reports) = watch::channel::<Option<SeccompNodeSpec>>(None);
    let (plugin_report, plugin_reports) = watch::channel(None);
    let (decided, own) = mpsc::channel(decisions::OWN);
    // Most agents have none, and its state is large.
    let plugin = Box::pin(set_filters(options, decided, plugin_report));
    match &options.source {
        Source::Cluster { node, client } => {
            let changes = source::cluster(client.clone());
            let publisher = Publisher::new(client.clone(), COMPONENT, node);
            let writer = Writer::new(client.clone(), node, metrics);
            let (joined, whole) = watch::channel(None);
            tokio::select! {
                result = keep(options, changes, report, health, metrics) => result,
                () = gate::join(&options.gate_traces, reports, plugin_reports, joined) => Ok(()),
                () = writer.run(whole) => Ok(()),
                () = decisions::listen(&options.gate_socket, own, Some(publisher), metrics) => Ok(()),
                result = plugin => result,
            }
        }
        Source::Folder(path) => {
            drop(reports);
            let error = AgentError::about(path.display().to_string());
            let changes = source::folder(path, &options.state).map_err(error)?;
            tokio::select! {
                result = keep(options, changes, report, health, metrics) => result,
                () = decisions::listen(&options.gate_socket, own, None, metrics) => Ok(()),
                result = plugin => result,
            }
        }
    }
}

/// Runs the NRI plugin, if there is one. It ends with an error only.
async fn set_filters(
    options: &Options,
    decisions: mpsc::Sender<Decision>,
    report: watch::Sender<Option<NodeNri>>,
) -> Result<(), AgentError> {
    if let Some(plugin) = &options.nri {
        let shared = nri::Shared {
            root: options.root.clone(),
            decided: options.gate_traces.decided.clone(),
            memo: options.memo.clone(),
            decisions,
        };
        let error = AgentError::about("the NRI plugin");
        nri::run(plugin, shared, report).await.map_err(error)?;
    }
    std::future::pending().await
}

/// Keeps the files. While the disk is too full or read-only to start, the node's report says so.
async fn keep(
    options: &Options,
    changes: Changes,
    report: watch::Sender<Option<SeccompNodeSpec>>,
    health: &Health,
    metrics: &AgentMetrics,
) -> Result<(), AgentError> {
    let mut logged = None;
    loop {
        let keeper = Keeper::open(options, report.clone(), metrics);
        let error = match keeper {
            Ok(mut keeper) => return keeper.run(changes, health).await,
            Err(error) if error.may_pass() => error.to_string(),
            Err(error) => return Err(error),
        };
        if logged.as_ref() != Some(&error) {
            tracing::warn!("not started yet: {error}");
            report.send_replace(Some(SeccompNodeSpec {
                problem: Some(error.clone()),
                ..SeccompNodeSpec::default()
            }));
            metrics.folder_unusable.set(1);
            logged = Some(error);
        }
        sleep(RETRY_DELAY).await;
    }
}
