//! The controller: what becomes of each profile on all nodes and pods, as its status, and a
//! finalizer that keeps those in use.

mod lease;
mod notices;
mod state;
mod usage;

use crate::{
    crd::{SeccompNode, SeccompProfile},
    events::Publisher,
    health::Health,
};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{Config, watcher},
    },
};
use lease::Lease;
pub use lease::Lost;
use notices::Notices;
use serde_json::json;
use state::State;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, interval, sleep_until},
};

/// What keeps a profile that is in use.
pub const FINALIZER: &str = "portcullis.dev/in-use";
/// How long changes are gathered: one status write for all that an agent reports at once.
const QUIET: Duration = Duration::from_millis(700);
const PAGE: u32 = 50;

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
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
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
    lease.acquire().await;
    health.add("portcullis_controller_elected_total", 1);
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

async fn follow(client: Client, mut notices: Notices, health: &Health) {
    let config = || Config::default().page_size(PAGE);
    let api = Api::<SeccompProfile>::all(client.clone());
    let mut profiles = watcher(api.clone(), config()).default_backoff().boxed();
    let mut reports = watcher(Api::<SeccompNode>::all(client.clone()), config())
        .default_backoff()
        .boxed();
    let mut nodes = watcher(
        Api::<PartialObjectMeta<Node>>::all(client.clone()),
        config(),
    )
    .default_backoff()
    .boxed();
    let mut pods = watcher(Api::<Pod>::all(client), config())
        .default_backoff()
        .boxed();
    let mut state = State::default();
    let mut due: Option<Instant> = None;
    let mut again = interval(notices::PATIENCE);
    loop {
        let at = due.unwrap_or_else(|| Instant::now() + QUIET);
        tokio::select! {
            Some(event) = profiles.next() => state.profiles.take(event, |profile| Some((profile.name_any(), profile))),
            Some(event) = reports.next() => state.reports.take(event, |report| Some((report.name_any(), report.spec))),
            Some(event) = nodes.next() => state.nodes.take(event, |node| Some((node.name_any(), ()))),
            Some(event) = pods.next() => state.pods.take(event, |pod| {
                let key = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
                let used = usage::profiles(&pod);
                (!used.is_empty()).then_some((key, used))
            }),
            () = sleep_until(at), if due.is_some() && state.is_complete() => {
                due = None;
                health.set_ready();
                if !reconcile(&api, &state, &mut notices, health).await {
                    due = Some(Instant::now() + Duration::from_secs(2));
                }
                continue;
            }
            _ = again.tick() => if !notices.are_due() {
                continue;
            }
        }
        due.get_or_insert_with(|| Instant::now() + QUIET);
    }
}

/// Brings every profile's finalizer and status up to date; false where something has to be tried
/// again. A failure holds up no other profile.
async fn reconcile(
    api: &Api<SeccompProfile>,
    state: &State,
    notices: &mut Notices,
    health: &Health,
) -> bool {
    let mut good = true;
    notices.keep_only(
        &state
            .profiles
            .iter()
            .map(|(name, _)| name.as_str())
            .collect(),
    );
    let users = state.users();
    for (name, profile) in state.profiles.iter() {
        let used = users.get(name.as_str()).copied().unwrap_or_default();
        let result = one(api, state, notices, profile, used).boxed().await;
        match result {
            Ok(writes) => health.add("portcullis_controller_writes_total", writes),
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            Err(error) => {
                tracing::warn!(name, "{error}");
                health.add("portcullis_controller_errors_total", 1);
                good = false;
            }
        }
    }
    good
}

async fn one(
    api: &Api<SeccompProfile>,
    state: &State,
    notices: &mut Notices,
    profile: &SeccompProfile,
    used: (u64, Option<&str>),
) -> Result<u64, kube::Error> {
    let name = profile.name_any();
    let deleted = profile.metadata.deletion_timestamp.is_some();
    let held = profile
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER);
    let mut writes = 0;
    if !deleted && !held {
        set_finalizer(api, profile, true).await?;
        writes += 1;
    } else if deleted && held && used.0 == 0 {
        set_finalizer(api, profile, false).await?;
        return Ok(1);
    }
    let status = state.status(profile, used);
    let held_by = used.1.filter(|_| deleted && held).map(|pod| (used.0, pod));
    notices.tell(profile, &status, held_by, std::time::Instant::now());
    if profile.status.as_ref() != Some(&status) {
        let patch = json!({"status": status});
        let parameters = PatchParams::default();
        api.patch_status(&name, &parameters, &Patch::Merge(&patch))
            .await?;
        writes += 1;
    }
    Ok(writes)
}

async fn set_finalizer(
    api: &Api<SeccompProfile>,
    profile: &SeccompProfile,
    held: bool,
) -> Result<(), kube::Error> {
    let mut finalizers = profile.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if held {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"finalizers": finalizers,
        "resourceVersion": profile.resource_version()}});
    api.patch_metadata(
        &profile.name_any(),
        &PatchParams::default(),
        &Patch::Merge(&patch),
    )
    .await
    .map(|_| ())
}
