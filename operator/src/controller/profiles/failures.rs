//! Profiles that could not be written, and when to retry each, so that one that the API server
//! refuses does not block the others.

use crate::kube::{
    metrics::ControllerMetrics,
    request::{Backoff, RequestError},
    stores::profile::Profile,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The first delay before a failed write is retried.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The longest such delay.
const RETRY_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Failing {
    version: Option<String>,
    retry_at: Instant,
    backoff: Backoff,
    logged: String,
}

/// The profiles whose last write failed.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Failing>);

impl Failures {
    /// When to retry a profile, if that is in the future. A changed profile is retried at once.
    pub(super) fn retry_at(&self, profile: &Profile, now: Instant) -> Option<Instant> {
        let failing = self.0.get(&profile.name)?;
        let waits = failing.version == profile.resource_version && now < failing.retry_at;
        waits.then_some(failing.retry_at)
    }

    /// Takes the result of writing a profile. Returns when to retry it, if at all.
    ///
    /// # Errors
    /// An error that is not about this profile, so that the next one would fail as well.
    pub(super) fn record(
        &mut self,
        profile: &Profile,
        errors: Vec<RequestError>,
        metrics: &ControllerMetrics,
        now: Instant,
    ) -> Result<Option<Instant>, RequestError> {
        let mut messages = Vec::new();
        for error in errors {
            if !error.is_about_the_object() {
                return Err(error);
            }
            if !error.is_outdated() {
                messages.push(error.to_string());
            }
        }
        let name = &profile.name;
        let before = self.0.remove(name);
        if messages.is_empty() {
            return Ok(None);
        }
        metrics.errors.inc_by(messages.len() as u64);
        let message = messages.join("; ");
        if before
            .as_ref()
            .is_none_or(|before| before.logged != message)
        {
            tracing::warn!(name, "not written: {message}");
        }
        let mut backoff = before.map_or_else(
            || Backoff::new(RETRY_DELAY, RETRY_LIMIT),
            |before| before.backoff,
        );
        let failing = Failing {
            version: profile.resource_version.clone(),
            retry_at: now + backoff.fail(),
            backoff,
            logged: message,
        };
        let retry_at = failing.retry_at;
        self.0.insert(name.clone(), failing);
        Ok(Some(retry_at))
    }

    /// Forgets the profiles that are gone.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.0.retain(|name, _| names.contains(name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use prometheus_client::registry::Registry;
    use serde_json::json;

    fn refused(code: u16) -> RequestError {
        let status = Status::failure("no", "Reason").with_code(code).boxed();
        RequestError::Refused(kube::Error::Api(status))
    }

    struct Cluster {
        failures: Failures,
        metrics: ControllerMetrics,
        profile: Profile,
        now: Instant,
    }

    impl Cluster {
        fn new() -> Cluster {
            Cluster {
                failures: Failures::default(),
                metrics: ControllerMetrics::register(&mut Registry::default()),
                profile: Profile::of("a", &json!({})),
                now: Instant::now(),
            }
        }

        fn record(&mut self, error: RequestError) -> Result<Option<Instant>, RequestError> {
            let (profile, now) = (&self.profile, self.now);
            self.failures
                .record(profile, vec![error], &self.metrics, now)
        }
    }

    #[test]
    fn a_refused_profile_waits_longer_each_time_until_it_changes() {
        let mut cluster = Cluster::new();
        for delay in [2, 4, 8, 16, 32, 60, 60] {
            let retry_at = cluster.now + Duration::from_secs(delay);
            assert_eq!(cluster.record(refused(422)).unwrap(), Some(retry_at));
            let waits = cluster.failures.retry_at(&cluster.profile, cluster.now);
            assert_eq!(waits, Some(retry_at));
            cluster.now = retry_at;
            assert_eq!(cluster.failures.retry_at(&cluster.profile, retry_at), None);
        }
        assert_eq!(cluster.metrics.errors.get(), 7);
        cluster.record(refused(422)).unwrap();
        cluster.profile.resource_version = Some("2".to_owned());
        assert_eq!(
            cluster.failures.retry_at(&cluster.profile, cluster.now),
            None
        );
    }

    #[test]
    fn one_that_is_gone_or_has_changed_is_no_failure_and_no_answer_is_not_about_it() {
        let mut cluster = Cluster::new();
        for code in [404, 409] {
            assert_eq!(cluster.record(refused(code)).unwrap(), None);
        }
        assert!(cluster.record(RequestError::Late).is_err());
        assert_eq!(cluster.metrics.errors.get(), 0);
        assert!(cluster.failures.0.is_empty());
    }
}
