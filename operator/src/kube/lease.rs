//! Leader election: the controller that holds the lease works, and the others wait.
//!
//! Clocks of different machines are never compared. A lease is free once it has not changed for its
//! whole duration. Its holder stops well before that if it can't renew it.
//!
//! A lease that was deleted says nothing about its holder, who may still work. Its holder creates it
//! again at the next renewal; the others wait as long as if it had not changed.

use super::{
    health::Health,
    metrics::ControllerMetrics,
    request::{RequestError, request},
};
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{fs, process, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The lease's name. The manifests create it; a controller that finds it deleted creates it again.
const NAME: &str = "portcullis-controller";
/// How long releasing the lease may take when the program ends.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The lease's namespace and duration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its namespace.
    pub namespace: String,
    /// How long it is valid after being renewed.
    pub duration: Duration,
}

/// Why a controller no longer leads.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another controller holds the lease.
    #[error("{0} holds it")]
    Taken(String),
    /// It was not renewed in time.
    #[error("it was not renewed for {0:?}: {1}")]
    Late(Duration, String),
}

/// What a controller that waits sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The lease is now its own.
    Acquired,
    /// This one holds it.
    Held(String),
    /// It was deleted, and may have a holder.
    Deleted,
}

/// Another controller's lease, as last seen.
#[derive(Debug)]
struct Observed {
    holder: String,
    duration: Duration,
    renewed: Option<MicroTime>,
    since: Instant,
}

/// The lease.
pub struct Lease {
    api: Api<Object>,
    name: String,
    identity: String,
    duration: Duration,
    observed: Option<Observed>,
    /// Since when there is none.
    deleted: Option<Instant>,
    held: Option<Object>,
}

impl Lease {
    /// The lease, not held yet, for a controller with this [`identity`].
    pub fn new(client: Client, settings: &Settings, identity: &str) -> Lease {
        Lease {
            api: Api::namespaced(client, &settings.namespace),
            name: format!("{}/{NAME}", settings.namespace),
            identity: identity.to_owned(),
            duration: settings.duration,
            observed: None,
            deleted: None,
            held: None,
        }
    }

    /// Waits until this controller holds it. It is ready while it can read the lease.
    pub async fn acquire(&mut self, health: &Health) {
        let heartbeat = health.heartbeat("lease");
        let mut logged = String::new();
        loop {
            heartbeat.beat();
            let line = match timeout(self.duration, self.try_acquire()).await {
                Ok(Ok(Seen::Acquired)) => {
                    health.set_ready();
                    tracing::info!("this controller leads, as {}", self.identity);
                    return;
                }
                Ok(Ok(seen)) => {
                    health.set_ready();
                    match seen {
                        Seen::Held(holder) => format!("{holder} leads; this controller waits"),
                        _ => format!("the lease {} was deleted; it is made again", self.name),
                    }
                }
                other => {
                    let why = match other {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    let line = format!("the lease {}: {why}", self.name);
                    health.set_unready(&line);
                    line
                }
            };
            if line != logged {
                tracing::info!("{line}");
                logged = line;
            }
            sleep(self.duration / 5).await;
        }
    }

    /// Takes it if it is free.
    async fn try_acquire(&mut self) -> Result<Seen, RequestError> {
        let Some(object) = request(self.api.get_opt(NAME)).await? else {
            let since = *self.deleted.get_or_insert_with(Instant::now);
            let its_own = self.observed.as_ref().map(|observed| observed.duration);
            if since.elapsed() < self.duration.max(its_own.unwrap_or_default()) {
                return Ok(Seen::Deleted);
            }
            return self.taken(Object::default()).await;
        };
        self.deleted = None;
        let spec = object.spec.clone().unwrap_or_default();
        match holder(&mut self.observed, &spec, self.duration, Instant::now()) {
            Some(holder) => Ok(Seen::Held(holder)),
            None => self.taken(object).await,
        }
    }

    /// Takes the lease, unless another controller is faster.
    async fn taken(&mut self, object: Object) -> Result<Seen, RequestError> {
        match self.write(object, true).await {
            Ok(()) => Ok(Seen::Acquired),
            Err(error) if error.is_outdated() => Ok(Seen::Held("another controller".to_owned())),
            Err(error) => Err(error),
        }
    }

    /// Writes the lease with this controller as its holder; creates it if it was never stored.
    async fn write(&mut self, mut object: Object, acquired: bool) -> Result<(), RequestError> {
        let spec = object.spec.get_or_insert_default();
        let now = MicroTime(Timestamp::now());
        if acquired {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        let parameters = PostParams::default();
        let written = if object.metadata.resource_version.is_some() {
            request(self.api.replace(NAME, &parameters, &object)).await?
        } else {
            object.metadata.name = Some(NAME.to_owned());
            request(self.api.create(&parameters, &object)).await?
        };
        self.held = Some(written);
        Ok(())
    }

    /// Renews it until it is lost.
    pub async fn keep(&mut self, metrics: &ControllerMetrics) -> Lost {
        let patience = self.duration * 2 / 3;
        let mut renewed = Instant::now();
        loop {
            sleep(self.duration / 5).await;
            let start = Instant::now();
            let why = match timeout_at(renewed + patience, self.renew()).await {
                Ok(Ok(None)) => {
                    metrics.lease_renewal.observe(start.elapsed());
                    renewed = start;
                    continue;
                }
                Ok(Ok(Some(holder))) => {
                    self.held = None;
                    return Lost::Taken(holder);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            // If it has changed meanwhile, the next attempt reads it again.
            self.held = None;
            tracing::warn!("the lease {}: {why}", self.name);
            if renewed.elapsed() >= patience {
                return Lost::Late(patience, why);
            }
        }
    }

    /// Renews it. Returns the other holder, if there is one now.
    async fn renew(&mut self) -> Result<Option<String>, RequestError> {
        let stored = match self.held.clone() {
            Some(held) => Some(held),
            None => request(self.api.get_opt(NAME)).await?,
        };
        let Some(object) = stored else {
            tracing::warn!("the lease {} was deleted; it is made again", self.name);
            // Nobody else takes it before this controller's time is over.
            return self.write(Object::default(), true).await.map(|()| None);
        };
        let spec = object.spec.as_ref();
        match spec.and_then(|spec| spec.holder_identity.as_deref()) {
            Some(holder) if holder == self.identity => {}
            other => return Ok(Some(other.unwrap_or("nobody").to_owned())),
        }
        self.write(object, false).await.map(|()| None)
    }

    /// Releases it, so that nobody has to wait until it expires.
    pub async fn release(mut self) {
        let Some(mut object) = self.held.take() else {
            return;
        };
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
        }
        let parameters = PostParams::default();
        let request = self.api.replace(NAME, &parameters, &object);
        if let Ok(Err(error)) = timeout(RELEASE_TIMEOUT, request).await {
            tracing::info!("the lease could not be released and has to expire: {error}");
        }
    }
}

/// The holder of a lease, or `None` if unset or expired.
fn holder(
    observed: &mut Option<Observed>,
    spec: &LeaseSpec,
    own_duration: Duration,
    now: Instant,
) -> Option<String> {
    let holder = spec.holder_identity.clone().unwrap_or_default();
    if holder.is_empty() {
        return None;
    }
    let its_own = spec.lease_duration_seconds.unwrap_or(0);
    let duration = own_duration.max(Duration::from_secs(u64::try_from(its_own).unwrap_or(0)));
    match observed {
        Some(observed) if observed.holder == holder && observed.renewed == spec.renew_time => {
            (now.saturating_duration_since(observed.since) < duration).then_some(holder)
        }
        _ => {
            *observed = Some(Observed {
                holder: holder.clone(),
                duration,
                renewed: spec.renew_time.clone(),
                since: now,
            });
            Some(holder)
        }
    }
}

/// The name of the host (in a pod, the pod's name) plus something unique to this process.
pub fn identity() -> String {
    let line = |path| fs::read_to_string(path).map(|text: String| text.trim().to_owned());
    let host = line("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    let unique = line("/proc/sys/kernel/random/uuid").unwrap_or_else(|_| process::id().to_string());
    format!("{host}_{unique}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, renewed: i64, duration: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            lease_duration_seconds: Some(duration),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_free_once_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ten = Duration::from_secs(10);
        let mut observed = None;
        assert_eq!(
            holder(&mut observed, &LeaseSpec::default(), ten, start),
            None
        );
        assert_eq!(holder(&mut observed, &spec("", 1, 10), ten, start), None);
        let mut held = |renewed, now| holder(&mut observed, &spec("a", renewed, 10), ten, at(now));
        assert!(held(1, 0).is_some(), "however old it is, it was just seen");
        assert!(held(1, 9).is_some());
        assert!(held(2, 10).is_some(), "renewed");
        assert!(held(2, 19).is_some());
        assert!(held(2, 20).is_none());
    }

    #[test]
    fn a_holder_that_asks_for_a_longer_lease_has_a_longer_one() {
        let start = Instant::now();
        let mut observed = None;
        let ten = Duration::from_secs(10);
        let mut held = |now| {
            let now = start + Duration::from_secs(now);
            holder(&mut observed, &spec("a", 1, 60), ten, now)
        };
        assert!(held(0).is_some() && held(59).is_some() && held(60).is_none());
    }
}
