//! Brings profiles' finalizers and status up to date, with as few writes as that takes.

use super::{
    notices::Notices,
    profile::{FINALIZER, Profile},
    state::{State, status},
    usage::{self, Pod, Users},
};
use crate::{
    crd::SeccompProfileStatus,
    health::{Health, Metric},
    stored::StoredProfile,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long a status may be behind in what is only progress (on how many nodes, in how many pods),
/// at first and, as it goes on, at most. So that there are not as many writes as nodes times
/// profiles.
const PROGRESS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(48));
/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long until what failed is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

const WRITES: Metric = Metric::counter(
    "portcullis_controller_writes_total",
    "Writes of profiles' finalizers and status.",
);
const ERRORS: Metric = Metric::counter(
    "portcullis_controller_errors_total",
    "Writes and lists that failed.",
);
const PROFILES: Metric = Metric::gauge(
    "portcullis_controller_profiles",
    "Profiles, by whether they are on the nodes as they should be.",
);
const NODES: Metric = Metric::gauge("portcullis_controller_nodes", "Nodes.");
const PODS: Metric = Metric::gauge(
    "portcullis_controller_pods_using",
    "Unfinished pods that use a profile.",
);
/// The reasons of `Ready`, which label profiles.
const REASONS: [&str; 6] = [
    "Ready",
    "NodesMissing",
    "NodeFailed",
    "NodeReportFull",
    "Disabled",
    "Invalid",
];

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(kube::Error),
    #[error("no answer within {PATIENCE:?}")]
    Late,
}

impl Failure {
    /// Whether it is about the one object, and not about the way to the API server.
    fn is_about_the_object(&self) -> bool {
        matches!(self, Failure::Refused(kube::Error::Api(_)))
    }

    /// Whether the object is gone or was changed meanwhile, which will be seen.
    fn passes(&self) -> bool {
        matches!(self, Failure::Refused(kube::Error::Api(error)) if matches!(error.code, 404 | 409))
    }
}

async fn answer<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::Refused(error)),
        Err(_) => Err(Failure::Late),
    }
}

/// A profile that could not be written.
#[derive(Debug)]
struct Failing {
    version: Option<String>,
    next: Instant,
    pause: Duration,
    said: String,
}

/// Does it, and remembers what it has put off.
pub(super) struct Reconciler<'a> {
    profiles: Api<StoredProfile>,
    pods: Api<Pod>,
    notices: Notices,
    /// Until when each status may be behind, and how long it was that it may.
    behind: BTreeMap<String, (Instant, Duration)>,
    failing: BTreeMap<String, Failing>,
    health: &'a Health,
}

impl Reconciler<'_> {
    pub(super) fn new(client: Client, notices: Notices, health: &Health) -> Reconciler<'_> {
        Reconciler {
            profiles: Api::all(client.clone()),
            pods: Api::all(client),
            notices,
            behind: BTreeMap::new(),
            failing: BTreeMap::new(),
            health,
        }
    }

    /// Whether there is something that has waited to be said.
    pub(super) fn has_to_say(&self) -> bool {
        self.notices.are_due()
    }

    /// Looks at every profile; what is returned is when it has to be done again, at the latest. A
    /// failure holds up no other profile.
    pub(super) async fn all(&mut self, state: &mut State) -> Option<Instant> {
        state.judge();
        let names: BTreeSet<&str> = state.profiles.iter().map(|(name, _)| &**name).collect();
        self.notices.keep_only(&names);
        self.behind.retain(|name, _| names.contains(name.as_str()));
        self.failing.retain(|name, _| names.contains(name.as_str()));
        let users = state.users();
        let usage = |name: &str| users.get(name).copied().unwrap_or_default();
        let releasing: BTreeSet<String> = state
            .profiles
            .iter()
            .filter(|(name, profile)| profile.deleted && profile.is_held() && usage(name).0 == 0)
            .map(|(name, _)| name.clone())
            .collect();
        let released = self.still_used(&releasing).await;
        let mut again: Option<Instant> = None;
        let mut later = |at: Option<Instant>| again = again.into_iter().chain(at).min();
        if released.is_none() {
            later(Some(Instant::now() + AGAIN.0));
        }
        let nodes = state.nodes();
        let mut tally = BTreeMap::from(REASONS.map(|reason| (reason, 0)));
        for (name, profile) in state.profiles.iter() {
            self.health.beat();
            let mut used = usage(name);
            let mut release = false;
            if releasing.contains(name)
                && let Some(released) = &released
            {
                match released.get(name) {
                    Some((count, pod)) => used = (*count, pod.as_deref()),
                    None => release = true,
                }
            }
            let status = status(profile, &nodes, used);
            let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
            if let Some(count) = ready.and_then(|ready| tally.get_mut(&*ready.reason)) {
                *count += 1;
            }
            match self.one(profile, &status, used, release).await {
                Ok(at) => later(at),
                Err(failure) => {
                    // The next one would wait as long.
                    tracing::warn!(name, "{failure}");
                    self.health.add(ERRORS, 1);
                    return Some(Instant::now() + AGAIN.0);
                }
            }
        }
        for (reason, count) in tally {
            self.health
                .set_labelled(PROFILES, vec![("state", reason)], count);
        }
        self.health.set(NODES, nodes.len());
        self.health.set(PODS, state.pods.len());
        again
    }

    /// Who uses the profiles that are to go, as the API server knows it now: the deletion was seen
    /// already, so that every pod that was there before it counts.
    async fn still_used(&self, names: &BTreeSet<String>) -> Option<BTreeMap<String, Users>> {
        if names.is_empty() {
            return Some(BTreeMap::new());
        }
        match answer(usage::now(&self.pods, names)).await {
            Ok(users) => Some(users),
            Err(error) => {
                tracing::warn!("nothing is released, the pods can't be listed: {error}");
                self.health.add(ERRORS, 1);
                None
            }
        }
    }

    /// Brings one profile up to date; an error where the API server can't be reached.
    async fn one(
        &mut self,
        profile: &Profile,
        status: &SeccompProfileStatus,
        used: (u64, Option<&str>),
        release: bool,
    ) -> Result<Option<Instant>, Failure> {
        let now = Instant::now();
        let holds = profile.deleted && profile.is_held();
        let held_by = used.1.filter(|_| holds).map(|pod| (used.0, pod));
        self.notices.tell(profile, status, held_by, now);
        if let Some(failing) = self.failing.get(&profile.name)
            && failing.version == profile.resource_version
            && now < failing.next
        {
            return Ok(Some(failing.next));
        }
        let mut failures = Vec::new();
        if !profile.deleted && !profile.is_held() {
            failures.extend(self.finalizer(profile, true).await.err());
        } else if release {
            failures.extend(self.finalizer(profile, false).await.err());
            return self.after(profile, failures);
        }
        if profile.status.as_ref() != Some(status) {
            if may_wait(profile.status.as_ref(), status) {
                let first = (now + PROGRESS.0, PROGRESS.0);
                let (until, pause) = self.behind.entry(profile.name.clone()).or_insert(first);
                if now < *until {
                    let until = *until;
                    let at = self.after(profile, failures)?;
                    return Ok(at.into_iter().chain([until]).min());
                }
                *pause = (*pause * 2).min(PROGRESS.1);
                *until = now + *pause;
            } else {
                self.behind.remove(&profile.name);
            }
            failures.extend(self.status(profile, status).await.err());
        } else if self
            .behind
            .get(&profile.name)
            .is_some_and(|(until, _)| *until <= now)
        {
            // It has caught up, and stayed so.
            self.behind.remove(&profile.name);
        }
        self.after(profile, failures)
    }

    /// What follows from what failed.
    fn after(
        &mut self,
        profile: &Profile,
        failures: Vec<Failure>,
    ) -> Result<Option<Instant>, Failure> {
        let mut serious = Vec::new();
        for failure in failures {
            if !failure.is_about_the_object() {
                return Err(failure);
            }
            if !failure.passes() {
                serious.push(failure.to_string());
            }
        }
        let name = &profile.name;
        if serious.is_empty() {
            self.failing.remove(name);
            return Ok(None);
        }
        self.health.add(ERRORS, serious.len() as u64);
        let said = serious.join("; ");
        let before = self.failing.remove(name);
        if before.as_ref().is_none_or(|before| before.said != said) {
            tracing::warn!(name, "{said}");
        }
        let pause = before.map_or(AGAIN.0, |before| (before.pause * 2).min(AGAIN.1));
        let next = Instant::now() + pause;
        self.failing.insert(
            name.clone(),
            Failing {
                version: profile.resource_version.clone(),
                next,
                pause,
                said,
            },
        );
        Ok(Some(next))
    }

    async fn status(
        &self,
        profile: &Profile,
        status: &SeccompProfileStatus,
    ) -> Result<(), Failure> {
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        let request = self
            .profiles
            .patch_status(&profile.name, &parameters, &patch);
        answer(request).await?;
        self.health.add(WRITES, 1);
        Ok(())
    }

    async fn finalizer(&self, profile: &Profile, held: bool) -> Result<(), Failure> {
        let mut finalizers = profile.finalizers.clone();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if held {
            finalizers.push(FINALIZER.to_owned());
        }
        let mut patch = json!({"metadata": {"finalizers": finalizers,
            "resourceVersion": profile.resource_version}});
        let result = self.metadata(profile, &patch).await;
        match result {
            // What was stored under a laxer schema has to follow the present one before it can go.
            Err(Failure::Refused(kube::Error::Api(error))) if error.code == 422 && !held => {
                tracing::warn!(profile.name, "emptied, since it can't go as it is: {error}");
                patch["spec"] = emptied(&profile.spec);
                self.metadata(profile, &patch).await
            }
            other => other,
        }
    }

    async fn metadata(&self, profile: &Profile, patch: &serde_json::Value) -> Result<(), Failure> {
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch);
        let request = self
            .profiles
            .patch_metadata(&profile.name, &parameters, &patch);
        answer(request).await?;
        self.health.add(WRITES, 1);
        Ok(())
    }
}

/// A merge patch that takes everything out of a specification.
fn emptied(spec: &str) -> serde_json::Value {
    let mut fields: serde_json::Map<_, _> = serde_json::from_str(spec).unwrap_or_default();
    fields.values_mut().for_each(|value| *value = json!(null));
    fields.into()
}

/// Whether what is new in a status is only progress. What is final is written at once.
fn may_wait(before: Option<&SeccompProfileStatus>, after: &SeccompProfileStatus) -> bool {
    let find = |status: &SeccompProfileStatus, kind: &str| -> Option<Condition> {
        let mut conditions = status.conditions.iter();
        conditions
            .find(|condition| condition.type_ == kind)
            .cloned()
    };
    let Some(ready) = find(after, "Ready") else {
        return false;
    };
    let on_its_way = ready.reason == "NodesMissing";
    let Some(before) = before else {
        let valid = find(after, "Valid").is_some_and(|valid| valid.status == "True");
        return on_its_way && valid && after.pods == 0;
    };
    let same = |kind: &str, words: bool| match (find(before, kind), find(after, kind)) {
        (Some(old), Some(new)) => {
            (old.status, old.reason) == (new.status, new.reason)
                && (!words || old.message == new.message)
                && (on_its_way || old.observed_generation == new.observed_generation)
        }
        _ => false,
    };
    same("Valid", true) && same("InUse", false) && (on_its_way || same("Ready", true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(
        nodes: &str,
        pods: u64,
        generation: u64,
        ready: (&str, &str, &str),
    ) -> SeccompProfileStatus {
        let condition = |kind: &str, (status, reason, message): (&str, &str, &str)| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let used = if pods > 0 {
            ("True", "InUse", "so many")
        } else {
            ("False", "NotInUse", "")
        };
        serde_json::from_value(
            json!({"nodes": nodes, "pods": pods, "localhostProfile": "x",
            "conditions": [condition("InUse", used), condition("Ready", ready),
                condition("Valid", ("True", "Valid", ""))]}),
        )
        .unwrap()
    }

    const READY: (&str, &str, &str) = ("True", "Ready", "");
    const MISSING: (&str, &str, &str) = ("False", "NodesMissing", "node n: not there yet");
    const FAILED: (&str, &str, &str) = ("False", "NodeFailed", "node n: a foreign file");

    #[test]
    fn progress_may_wait_and_what_is_final_may_not() {
        let waits = |before: Option<&SeccompProfileStatus>, after: &SeccompProfileStatus| {
            may_wait(before, after)
        };
        let first = status("1/2", 0, 1, MISSING);
        assert!(waits(None, &first));
        assert!(waits(Some(&status("0/2", 0, 1, MISSING)), &first));
        let ready = status("2/2", 0, 1, READY);
        assert!(!waits(None, &ready));
        assert!(!waits(Some(&first), &ready));
        assert!(
            waits(Some(&ready), &status("0/2", 0, 2, MISSING)),
            "an edit"
        );
        assert!(
            !waits(Some(&ready), &status("2/2", 0, 2, READY)),
            "is there"
        );
        assert!(
            waits(Some(&ready), &status("3/3", 0, 1, READY)),
            "a new node"
        );
        assert!(!waits(Some(&first), &status("1/2", 0, 1, FAILED)));
        assert!(!waits(None, &status("1/2", 0, 1, FAILED)));
        assert!(
            !waits(None, &status("1/2", 1, 1, MISSING)),
            "in use at once"
        );
        assert!(!waits(Some(&first), &status("1/2", 1, 1, MISSING)));
        let used = status("2/2", 1, 1, READY);
        assert!(
            waits(Some(&used), &status("2/2", 2, 1, READY)),
            "one more pod"
        );
        assert!(!waits(Some(&used), &ready), "the last one is gone");
    }
}
