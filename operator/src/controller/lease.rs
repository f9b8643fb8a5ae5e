//! Which of several controllers works: the one that holds the lease.
//!
//! No clock is compared with another's: a lease is free once it was seen unchanged for as long as
//! it lasts. Its holder stops well before that, whatever the API server says.

use crate::health::Health;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{fs, process, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The lease's name; it is made with the rights, so that nobody needs the right to create one.
pub(super) const NAME: &str = "portcullis-controller";
/// Its namespace.
pub(super) const NAMESPACE: &str = "portcullis";

/// Why a controller does not lead any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else does.
    #[error("{0} holds it")]
    Taken(String),
    /// It was not renewed in time.
    #[error("it was not renewed for {0:?}: {1}")]
    Late(Duration, String),
}

/// What was last seen, and since when.
#[derive(Debug)]
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    since: Instant,
}

/// The lease.
pub(super) struct Lease {
    api: Api<Object>,
    identity: String,
    lasts: Duration,
    seen: Option<Seen>,
    held: Option<Object>,
}

impl Lease {
    pub(super) fn new(client: Client, lasts: Duration) -> Lease {
        Lease {
            api: Api::namespaced(client, NAMESPACE),
            identity: identity(),
            lasts,
            seen: None,
            held: None,
        }
    }

    /// Waits until it is held.
    pub(super) async fn acquire(&mut self, health: &Health) {
        let mut said = String::new();
        loop {
            health.beat();
            let what = match timeout(self.lasts, self.try_acquire()).await {
                Ok(Ok(None)) => {
                    tracing::info!("this controller leads, as {}", self.identity);
                    return;
                }
                Ok(Ok(Some(holder))) => format!("{holder} leads; this controller waits"),
                Ok(Err(error)) => format!("the lease {NAMESPACE}/{NAME}: {error}"),
                Err(_) => format!("the lease {NAMESPACE}/{NAME}: no answer"),
            };
            if what != said {
                tracing::info!("{what}");
                said = what;
            }
            sleep(self.lasts / 5).await;
        }
    }

    /// Who holds it; nobody else where it is held now.
    async fn try_acquire(&mut self) -> Result<Option<String>, kube::Error> {
        let object = self.api.get(NAME).await?;
        let spec = object.spec.clone().unwrap_or_default();
        if let Some(holder) = holder(&mut self.seen, &spec, self.lasts, Instant::now()) {
            return Ok(Some(holder));
        }
        match self.write(object, true).await {
            Ok(()) => Ok(None),
            Err(kube::Error::Api(error)) if error.code == 409 => {
                Ok(Some("another controller".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, mut object: Object, first: bool) -> Result<(), kube::Error> {
        let spec = object.spec.get_or_insert_default();
        let now = MicroTime(Timestamp::now());
        if first {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.lasts.as_secs()).ok();
        spec.renew_time = Some(now);
        let parameters = PostParams::default();
        self.held = Some(self.api.replace(NAME, &parameters, &object).await?);
        Ok(())
    }

    /// Renews it until it is lost.
    pub(super) async fn keep(&mut self) -> Lost {
        let patience = self.lasts * 2 / 3;
        let mut renewed = Instant::now();
        loop {
            sleep(self.lasts / 5).await;
            let start = Instant::now();
            let why = match timeout_at(renewed + patience, self.renew()).await {
                Ok(Ok(None)) => {
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
            // Where it was changed meanwhile the next try reads it anew.
            self.held = None;
            tracing::warn!("the lease {NAMESPACE}/{NAME}: {why}");
            if renewed.elapsed() >= patience {
                return Lost::Late(patience, why);
            }
        }
    }

    /// Who else holds it now.
    async fn renew(&mut self) -> Result<Option<String>, kube::Error> {
        let object = match self.held.clone() {
            Some(object) => object,
            None => self.api.get(NAME).await?,
        };
        let spec = object.spec.as_ref();
        match spec.and_then(|spec| spec.holder_identity.as_deref()) {
            Some(holder) if holder == self.identity => {}
            other => return Ok(Some(other.unwrap_or("nobody").to_owned())),
        }
        self.write(object, false).await.map(|()| None)
    }

    /// Gives it up, so that nobody has to wait.
    pub(super) async fn release(mut self) {
        let Some(mut object) = self.held.take() else {
            return;
        };
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
        }
        let parameters = PostParams::default();
        let request = self.api.replace(NAME, &parameters, &object);
        if let Ok(Err(error)) = timeout(Duration::from_secs(2), request).await {
            tracing::info!("the lease is not given up but runs out: {error}");
        }
    }
}

/// Who holds a lease; nobody where nobody is named or it ran out before our eyes.
fn holder(
    seen: &mut Option<Seen>,
    spec: &LeaseSpec,
    lasts: Duration,
    now: Instant,
) -> Option<String> {
    let holder = spec.holder_identity.clone().unwrap_or_default();
    if holder.is_empty() {
        return None;
    }
    let its = spec.lease_duration_seconds.unwrap_or(0);
    let lasts = lasts.max(Duration::from_secs(u64::try_from(its).unwrap_or(0)));
    match seen {
        Some(seen) if seen.holder == holder && seen.renewed == spec.renew_time => {
            (now.saturating_duration_since(seen.since) < lasts).then_some(holder)
        }
        _ => {
            *seen = Some(Seen {
                holder: holder.clone(),
                renewed: spec.renew_time.clone(),
                since: now,
            });
            Some(holder)
        }
    }
}

/// The host's (in a pod the pod's) name and something that no other process has.
pub(super) fn identity() -> String {
    let line = |path| fs::read_to_string(path).map(|text: String| text.trim().to_owned());
    let host = line("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    let unique = line("/proc/sys/kernel/random/uuid").unwrap_or_else(|_| process::id().to_string());
    format!("{host}_{unique}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, renewed: i64, lasts: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            lease_duration_seconds: Some(lasts),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_free_once_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ten = Duration::from_secs(10);
        let mut seen = None;
        assert_eq!(holder(&mut seen, &LeaseSpec::default(), ten, start), None);
        assert_eq!(holder(&mut seen, &spec("", 1, 10), ten, start), None);
        let mut held = |renewed, now| holder(&mut seen, &spec("a", renewed, 10), ten, at(now));
        assert!(held(1, 0).is_some(), "old as it may be, it was just seen");
        assert!(held(1, 9).is_some());
        assert!(held(2, 10).is_some(), "renewed");
        assert!(held(2, 19).is_some());
        assert!(held(2, 20).is_none());
    }

    #[test]
    fn a_holder_that_asks_for_longer_has_longer() {
        let start = Instant::now();
        let mut seen = None;
        let ten = Duration::from_secs(10);
        let mut held = |now| {
            let now = start + Duration::from_secs(now);
            holder(&mut seen, &spec("a", 1, 60), ten, now)
        };
        assert!(held(0).is_some() && held(59).is_some() && held(60).is_none());
    }
}
