//! The controller: what becomes of each profile on all nodes and pods, as its status, and a
//! finalizer that keeps those in use.

mod lease;
mod notices;
mod profile;
mod reconcile;
mod report;
mod state;
mod usage;

use crate::{
    events::Publisher,
    health::{Health, Metric},
    stored::{StoredNode, StoredProfile},
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{Config, watcher},
    },
};
use lease::Lease;
pub use lease::Lost;
use notices::Notices;
use reconcile::Reconciler;
use state::State;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, interval, sleep_until},
};
use usage::Pod;

/// How long changes are gathered: one status write for all that an agent reports at once.
const QUIET: Duration = Duration::from_millis(700);
/// How many objects a list's page has.
const PAGE: u32 = 50;
/// A report may have a megabyte.
const REPORTS_PAGE: u32 = 5;
/// How often the loop gives a sign of life.
const BEAT: Duration = Duration::from_secs(10);

const ELECTED: Metric = Metric::counter(
    "portcullis_controller_elected_total",
    "How often this controller came to lead.",
);

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// No way to the API server.
    #[error("the API server: {0}")]
    Client(#[from] Box<kube::Error>),
    /// The system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another controller leads, or may soon.
    #[error("the lease is lost: {0}")]
    LeaseLost(#[from] Lost),
}

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The endpoint for health and metrics.
    pub listen: Option<SocketAddr>,
    /// How long the lease of the one that leads lasts; none where nobody is elected.
    pub lease: Option<Duration>,
}

/// Runs until SIGTERM or SIGINT, or until another controller may lead.
///
/// # Errors
/// [`ControllerError`] where it can't start, or has lost its lease.
pub async fn run(options: Options) -> Result<(), ControllerError> {
    let health = Health::default();
    if let Some(address) = options.listen {
        health.serve(address).await?;
    }
    let client = Client::try_default().await.map_err(Box::new)?;
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let ended = async {
        let signal = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        tracing::info!("{signal}: the controller ends");
    };
    let Some(lasts) = options.lease else {
        tokio::select! {
            () = work(client, &health) => {}
            () = ended => {}
        }
        return Ok(());
    };
    let mut lease = Lease::new(client.clone(), lasts);
    let result = tokio::select! {
        result = lead(&mut lease, client, &health) => result,
        () = ended => Ok(()),
    };
    lease.release().await;
    result
}

/// Waits for its turn, and works while it has it.
async fn lead(lease: &mut Lease, client: Client, health: &Health) -> Result<(), ControllerError> {
    // One that waits is as ready as it can be.
    health.set_ready();
    lease.acquire(health).await;
    health.add(ELECTED, 1);
    tokio::select! {
        biased;
        lost = lease.keep() => Err(lost.into()),
        () = work(client, health) => Ok(()),
    }
}

async fn work(client: Client, health: &Health) {
    let (notices, said) = Notices::new();
    let publisher = Publisher::new(
        client.clone(),
        "portcullis.dev/controller",
        &lease::identity(),
    );
    tokio::join!(
        follow(client, notices, health),
        notices::publish(publisher, said, health)
    );
}

async fn follow(client: Client, notices: Notices, health: &Health) {
    let config = |page| Config::default().page_size(page);
    let mut profiles = watcher(Api::<StoredProfile>::all(client.clone()), config(PAGE))
        .default_backoff()
        .boxed();
    let mut reports = watcher(Api::<StoredNode>::all(client.clone()), config(REPORTS_PAGE))
        .default_backoff()
        .boxed();
    let mut nodes = watcher(
        Api::<PartialObjectMeta<Node>>::all(client.clone()),
        config(PAGE),
    )
    .default_backoff()
    .boxed();
    let mut pods = watcher(Api::<Pod>::all(client.clone()), config(PAGE))
        .default_backoff()
        .boxed();
    let mut state = State::default();
    let mut reconciler = Reconciler::new(client, notices, health);
    let mut due: Option<Instant> = None;
    let mut again = interval(notices::PATIENCE);
    let mut beat = interval(BEAT);
    loop {
        health.beat();
        let at = due.unwrap_or_else(|| Instant::now() + QUIET);
        tokio::select! {
            Some(event) = profiles.next() => state.take_profile(event),
            Some(event) = reports.next() => state.take_report(event),
            Some(event) = nodes.next() => state.nodes.take(event, |node| Some((node.name_any(), ()))),
            Some(event) = pods.next() => state.pods.take(event, Pod::usage),
            () = sleep_until(at), if due.is_some() && state.is_complete() => {
                health.set_ready();
                due = reconciler.all(&mut state).await.map(Instant::from_std);
                continue;
            }
            _ = beat.tick() => continue,
            _ = again.tick() => if !reconciler.has_to_say() {
                continue;
            }
        }
        // What is put off gives way to what is new.
        let soon = Instant::now() + QUIET;
        due = Some(due.map_or(soon, |due| due.min(soon)));
    }
}
