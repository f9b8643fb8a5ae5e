//! Puts our finalizer on new profiles, at once and beside the passes: agents write no file before,
//! so that a profile can't go, and its file with it, before anybody has looked for its pods.

use super::{
    failures::{Failures, RETRY_DELAY},
    writer::Writer,
};
use crate::kube::{
    health::{HEARTBEAT, Health},
    metrics::ControllerMetrics,
    request::RequestError,
    store::Items,
    stores::{Stores, profile::Profile},
};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use tokio::time::{interval, sleep_until};

/// How many profiles are written at a time.
const AT_ONCE: usize = 8;

/// Holds every profile until the future is dropped.
pub(super) async fn run(
    stores: &Stores,
    writer: Writer,
    health: &Health,
    metrics: &ControllerMetrics,
) {
    let mut profiles = stores.profiles.changes();
    let heartbeat = health.heartbeat("finalizers");
    let mut idle = interval(HEARTBEAT);
    let mut holder = Holder::default();
    let mut retry_at = Some(Instant::now());
    loop {
        heartbeat.beat();
        let at = retry_at.unwrap_or_else(|| Instant::now() + HEARTBEAT);
        tokio::select! {
            () = profiles.next() => {}
            () = sleep_until(at.into()), if retry_at.is_some() => {}
            _ = idle.tick() => continue,
        }
        retry_at = holder
            .hold(&stores.profiles.snapshot(), &writer, metrics)
            .await;
    }
}

/// What is known of the profiles that have no finalizer of ours.
#[derive(Default)]
struct Holder {
    /// Those that were written, and the version that this was made from: the watch may not have
    /// reported it yet.
    written: BTreeMap<String, Option<String>>,
    failures: Failures,
}

impl Holder {
    /// Holds every profile that is not held. Returns when to retry, if necessary.
    async fn hold(
        &mut self,
        profiles: &Items<Arc<Profile>>,
        writer: &Writer,
        metrics: &ControllerMetrics,
    ) -> Option<Instant> {
        let (new, mut retry_at) = self.new_ones(profiles, Instant::now());
        let mut results = stream::iter(new)
            .map(|profile| async move {
                let result = writer.hold(&profile).await;
                (profile, result)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((profile, result)) = results.next().await {
            let now = Instant::now();
            match self.record(&profile, result, metrics, now) {
                Ok(at) => retry_at = retry_at.into_iter().chain(at).min(),
                Err(error) => {
                    tracing::warn!("new profiles are not held yet: {error}");
                    metrics.errors.inc();
                    return Some(now + RETRY_DELAY);
                }
            }
        }
        retry_at
    }

    /// The profiles to hold now, and when the next one is due that was refused.
    fn new_ones(
        &mut self,
        profiles: &Items<Arc<Profile>>,
        now: Instant,
    ) -> (Vec<Arc<Profile>>, Option<Instant>) {
        let unheld: BTreeMap<&str, &Arc<Profile>> = profiles
            .values()
            // None can be added to one that is being deleted.
            .filter(|profile| !profile.deleted && !profile.has_finalizer())
            .map(|profile| (profile.name.as_str(), profile))
            .collect();
        self.written
            .retain(|name, _| unheld.contains_key(name.as_str()));
        let names: BTreeSet<&str> = unheld.keys().copied().collect();
        self.failures.keep_only(&names);
        let mut retry_at: Option<Instant> = None;
        let mut new = Vec::new();
        for (name, profile) in unheld {
            if self.written.get(name) == Some(&profile.resource_version) {
                continue;
            }
            match self.failures.retry_at(profile, now) {
                Some(at) => retry_at = retry_at.into_iter().chain([at]).min(),
                None => new.push(Arc::clone(profile)),
            }
        }
        (new, retry_at)
    }

    fn record(
        &mut self,
        profile: &Profile,
        result: Result<(), RequestError>,
        metrics: &ControllerMetrics,
        now: Instant,
    ) -> Result<Option<Instant>, RequestError> {
        // One that has changed meanwhile comes again by itself.
        let is_done = result.as_ref().err().is_none_or(RequestError::is_outdated);
        let errors = result.err().into_iter().collect();
        let retry_at = self.failures.record(profile, errors, metrics, now)?;
        if is_done {
            let version = profile.resource_version.clone();
            self.written.insert(profile.name.clone(), version);
        }
        Ok(retry_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use prometheus_client::registry::Registry;
    use serde_json::json;

    fn profile(version: &str) -> Arc<Profile> {
        let mut profile = Profile::of("a", &json!({}));
        profile.resource_version = Some(version.to_owned());
        Arc::new(profile)
    }

    fn items(profile: &Arc<Profile>) -> Items<Arc<Profile>> {
        [("a".to_owned(), Arc::clone(profile))].into()
    }

    fn refused(code: u16) -> Result<(), RequestError> {
        let status = Status::failure("no", "Reason").with_code(code).boxed();
        Err(RequestError::Refused(kube::Error::Api(status)))
    }

    #[test]
    fn a_version_is_written_once_and_a_refused_one_again_later() {
        let metrics = ControllerMetrics::register(&mut Registry::default());
        let mut holder = Holder::default();
        let now = Instant::now();
        let first = profile("1");
        for result in [Ok(()), refused(409)] {
            assert_eq!(holder.new_ones(&items(&first), now).0.len(), 1);
            assert_eq!(holder.record(&first, result, &metrics, now).unwrap(), None);
            assert!(holder.new_ones(&items(&first), now).0.is_empty());
            holder.written.clear();
        }
        let at = holder.record(&first, refused(422), &metrics, now).unwrap();
        assert!(at.is_some());
        let (new, retry_at) = holder.new_ones(&items(&first), now);
        assert!(new.is_empty() && retry_at == at);
        assert_eq!(holder.new_ones(&items(&first), at.unwrap()).0.len(), 1);
        assert_eq!(holder.new_ones(&items(&profile("2")), now).0.len(), 1);
        let late = Err(RequestError::Late);
        assert!(holder.record(&first, late, &metrics, now).is_err());
    }

    #[test]
    fn what_is_held_or_going_is_left_alone() {
        let mut holder = Holder::default();
        let mut going = Profile::of("a", &json!({}));
        going.deleted = true;
        let mut held = Profile::of("a", &json!({}));
        held.finalizers = vec![crate::kube::stores::profile::FINALIZER.to_owned()];
        for profile in [going, held] {
            let (new, retry_at) = holder.new_ones(&items(&Arc::new(profile)), Instant::now());
            assert!(new.is_empty() && retry_at.is_none());
        }
    }
}
