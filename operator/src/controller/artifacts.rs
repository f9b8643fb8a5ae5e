//! Bases in registries: pulls each artifact that a profile names, and keeps the `SeccompProfile` that
//! it becomes as the artifact says, until nothing names it any more.

mod settings;
mod writer;

pub use settings::{Allowed, FileError, Files, Settings};

use crate::{
    crd::SeccompProfileSpec,
    kube::{
        health::{HEARTBEAT, Health},
        metrics::ControllerMetrics,
        request::{Backoff, RequestError},
        schedule::Schedule,
        store::Items,
        stores::{Stores, profile::Profile},
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use portcullis_artifact::{ArtifactError, Base};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, interval};
use writer::Writer;

/// When an artifact is pulled again after a failure: the first time, and at the latest.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(300);
/// When the API server is asked again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// How many characters of a reason are reported.
const MAX_REASON: usize = 4000;
/// How many artifacts are pulled at a time.
const AT_ONCE: usize = 8;

/// Why there is no profile of an artifact.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Settings(#[from] settings::NotAllowed),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the profile: {0}")]
    Spec(serde_json::Error),
}

impl PullError {
    /// Whether the artifact itself is at fault.
    fn is_refusal(&self) -> bool {
        match self {
            PullError::Settings(_) => false,
            PullError::Artifact(error) => error.is_refusal(),
            PullError::Spec(_) => true,
        }
    }
}

type Outcome = (String, Result<SeccompProfileSpec, PullError>);

/// Keeps the profiles of artifacts until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    client: Client,
    settings: Settings,
    health: Health,
    metrics: ControllerMetrics,
) {
    let mut artifacts = Artifacts::new(client, settings, metrics);
    let mut profiles = stores.profiles.changes();
    let heartbeat = health.heartbeat("artifacts");
    let mut idle = interval(HEARTBEAT);
    let mut schedule = Schedule::after(Duration::ZERO);
    loop {
        heartbeat.beat();
        tokio::select! {
            () = profiles.next() => {}
            Some(outcome) = artifacts.pulls.next() => artifacts.record(&stores, outcome),
            () = schedule.reached(), if stores.profiles.is_complete() => {}
            _ = idle.tick() => continue,
        }
        if stores.profiles.is_complete() {
            let due = artifacts.pass(&stores).await;
            schedule.set(due);
        }
    }
}

/// An artifact that could not be pulled.
struct Failed {
    backoff: Backoff,
    at: Instant,
    /// Whether the artifact itself is at fault.
    is_refusal: bool,
}

struct Artifacts {
    settings: Arc<Settings>,
    writer: Writer,
    metrics: ControllerMetrics,
    pulls: FuturesUnordered<BoxFuture<'static, Outcome>>,
    under_way: BTreeSet<String>,
    /// What each artifact says, by the name of its profile, once it was pulled and checked.
    known: BTreeMap<String, Arc<SeccompProfileSpec>>,
    failed: BTreeMap<String, Failed>,
}

/// The artifacts that profiles name, by the name of their profile.
fn wanted(profiles: &Items<Arc<Profile>>) -> BTreeMap<String, Base> {
    profiles
        .values()
        .filter(|profile| !profile.deleted || profile.has_finalizer())
        .filter_map(|profile| profile.artifact.clone())
        .map(|base| (base.profile_name(), base))
        .collect()
}

impl Artifacts {
    fn new(client: Client, settings: Settings, metrics: ControllerMetrics) -> Artifacts {
        Artifacts {
            settings: Arc::new(settings),
            writer: Writer::new(client),
            metrics,
            pulls: FuturesUnordered::new(),
            under_way: BTreeSet::new(),
            known: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Pulls what is missing, and brings the profiles up to date. Returns when to go on at the latest.
    async fn pass(&mut self, stores: &Stores) -> Option<Instant> {
        let profiles = stores.profiles.snapshot();
        let wanted = wanted(&profiles);
        self.forget_all_but(&wanted, stores);
        let now = Instant::now();
        let mut next = None;
        for (name, base) in &wanted {
            if self.known.contains_key(name) || self.under_way.contains(name) {
                continue;
            }
            match self.failed.get(name).map(|failed| failed.at) {
                Some(at) if at > now => next = next.into_iter().chain([at]).min(),
                _ if self.pulls.len() < AT_ONCE => self.pull(name.clone(), base.clone()),
                // The next result makes room.
                _ => {}
            }
        }
        for (name, base) in &wanted {
            let existing = profiles.get(name).map(|profile| &**profile);
            let result = match (self.known.get(name), existing) {
                (Some(spec), existing) => self.writer.keep(base, spec, existing).await,
                (None, Some(existing)) if self.is_refused(name) && self.is_ours(existing) => {
                    self.writer.remove(existing).await
                }
                (None, _) => Ok(()),
            };
            if !self.is_done(name, result) {
                next = next.into_iter().chain([now + RETRY]).min();
            }
        }
        for (name, profile) in profiles.iter() {
            if wanted.contains_key(name) || !self.is_ours(profile) {
                continue;
            }
            let result = self.writer.remove(profile).await;
            if !self.is_done(&profile.name, result) {
                next = next.into_iter().chain([now + RETRY]).min();
            }
        }
        next
    }

    fn forget_all_but(&mut self, wanted: &BTreeMap<String, Base>, stores: &Stores) {
        self.known.retain(|name, _| wanted.contains_key(name));
        self.failed.retain(|name, _| wanted.contains_key(name));
        for name in stores.artifacts.snapshot().keys() {
            if !wanted.contains_key(name) {
                stores.artifacts.put(name, None);
            }
        }
    }

    fn pull(&mut self, name: String, base: Base) {
        self.under_way.insert(name.clone());
        let settings = Arc::clone(&self.settings);
        let pull = async move { (name, settings.pull(&base).await) };
        self.pulls.push(pull.boxed());
    }

    fn record(&mut self, stores: &Stores, (name, result): Outcome) {
        self.under_way.remove(&name);
        match result {
            Ok(spec) => {
                self.failed.remove(&name);
                self.known.insert(name.clone(), Arc::new(spec));
                stores.artifacts.put(&name, None);
            }
            Err(error) => {
                // Parts of it may be a registry's, which chooses their length.
                let text: String = error.to_string().chars().take(MAX_REASON).collect();
                let text: Arc<str> = text.into();
                if stores.artifacts.snapshot().get(&name) != Some(&text) {
                    tracing::warn!(name, "an artifact can't be pulled: {text}");
                }
                self.metrics.errors.inc();
                stores.artifacts.put(&name, Some(text));
                let failed = self.failed.entry(name).or_insert_with(|| Failed {
                    backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
                    at: Instant::now(),
                    is_refusal: false,
                });
                failed.at = Instant::now() + failed.backoff.fail();
                failed.is_refusal = error.is_refusal();
            }
        }
    }

    /// Whether the controller has made a profile, and may remove it. While a pod uses it, it stays.
    fn is_ours(&self, profile: &Profile) -> bool {
        profile.is_artifact && !profile.deleted && self.settings.is_on()
    }

    fn is_refused(&self, name: &str) -> bool {
        self.failed
            .get(name)
            .is_some_and(|failed| failed.is_refusal)
    }

    /// Whether nothing is left to do for a profile. The watch reports one that has changed meanwhile.
    fn is_done(&self, name: &str, result: Result<(), RequestError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) if error.is_outdated() => true,
            Err(error) => {
                tracing::warn!(name, "the profile of an artifact can't be written: {error}");
                self.metrics.errors.inc();
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
