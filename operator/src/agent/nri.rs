//! The NRI plugin: sets the filter that a container selects while the runtime creates it, or refuses
//! the container. Off by default: whoever has the runtime's NRI socket can do anything on the node.
//!
//! [`settings`] are the node's, [`container`] turns what the runtime tells into the evaluator's input, [`gate`]
//! decides, [`policy`] and [`hook`] make the answer, [`known`] remembers what was found out for that, [`ledger`]
//! remembers on which containers was decided, and [`plugin`] speaks with the runtime.

mod container;
mod gate;
mod hook;
mod known;
mod ledger;
mod plugin;
mod policy;
mod settings;

use crate::crd::nri::{NodeNri, NriState};
use gate::Gate;
use ledger::Ledger;
use plugin::Connection;
use portcullis_nri::Client;
use portcullis_profile::{gate::decision::Decision, program::Memo};
use std::{io, path::PathBuf, sync::Arc};
use tokio::sync::{mpsc, watch};

/// The plugin's name, as in the default validator's `required_plugins`.
pub const NAME: &str = "portcullis";
/// Its place among the plugins. Later ones see what it did.
const INDEX: &str = "50";

/// The plugin's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime's socket.
    pub socket: PathBuf,
    /// The settings of the node parts, `hook.toml`.
    pub settings: PathBuf,
    /// `portcullis-hook` on the node; it is put into containers where it exists.
    pub hook: PathBuf,
    /// The folder below which the agent sees the node's files.
    pub host: PathBuf,
}

/// What the plugin has in common with the rest of the agent.
pub(super) struct Shared {
    /// The seccomp root.
    pub(super) root: PathBuf,
    /// The folder of the gate's stamps. What the plugin remembers is beside it.
    pub(super) decided: PathBuf,
    /// The cache of checked programs.
    pub(super) memo: Memo,
    /// Where decisions are counted and published.
    pub(super) decisions: mpsc::Sender<Decision>,
}

/// Runs the plugin, and connects it again whenever the runtime ends the connection. `report` is told
/// how it is.
///
/// # Errors
/// The ledger's folder can't be used.
pub(super) async fn run(
    options: &Options,
    shared: Shared,
    report: watch::Sender<Option<NodeNri>>,
) -> io::Result<()> {
    let run = shared.decided.parent().unwrap_or(&shared.decided);
    let ledger = Ledger::open(run)?;
    report.send_replace(Some(NodeNri::disconnected("not connected yet".to_owned())));
    let gate = Arc::new(Gate::new(options.clone(), shared, ledger));
    let client = Client::new(NAME, INDEX).map_err(io::Error::other)?;
    let lost = report.clone();
    let client = client
        .socket(&options.socket)
        .on_disconnect(move |error, _| {
            let problem = error.to_string();
            let is_news = lost.send_if_modified(|report| {
                let before = report.get_or_insert_default();
                let is_news = before.state != NriState::Disconnected.as_str()
                    || before.problem.as_ref() != Some(&problem);
                *before = NodeNri {
                    gaps: std::mem::take(&mut before.gaps),
                    gap_count: before.gap_count,
                    ..NodeNri::disconnected(problem.clone())
                };
                is_news
            });
            if is_news {
                tracing::warn!("NRI: {problem}; containers start without the plugin meanwhile");
            }
        });
    let ended = client.run(Connection::new(gate, report)).await;
    ended.map_err(io::Error::other)
}
