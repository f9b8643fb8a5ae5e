//! A pass over all profiles: updates their status, and lets deleted ones go, with as few writes as
//! possible.

use super::{
    deferral::Deferral,
    events::ProfileEvents,
    failures::{Failures, RETRY_DELAY},
    nodes::Nodes,
    resolutions::{Refusal, Resolution, Resolutions, file_of},
    status::{Facts, status},
    uses::{Tally, Users, Uses},
    writer::Writer,
};
use crate::{
    crd::{
        SeccompProfileStatus,
        condition::Reason,
        profile::{ReadyReason, ValidReason},
    },
    effect::{Effect, Effects},
    kube::{
        health::Heartbeat,
        metrics::{ControllerMetrics, ProfileLabels},
        request::RequestError,
        store::Items,
        stores::{
            Stores,
            pod_usage::{PodUsage, list_using},
            profile::Profile,
        },
    },
};
use kube::{Api, Client};
use portcullis_profile::program::Limits;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

/// What has to be done for one profile.
struct Task<'a> {
    profile: &'a Profile,
    status: SeccompProfileStatus,
    /// What the deletion of the profile waits for, or the removal of its file.
    waits: Option<String>,
    /// Whether it may be deleted: its deletion was requested and no pod uses it.
    release: bool,
}

/// Why a profile, or its file, is about to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Its deletion was requested, and our finalizer holds it.
    Deleted,
    /// It is disabled, and the nodes were not told yet that they may remove its file.
    Disabled,
}

impl Leaving {
    /// Whether it has to wait for these users. A disabled profile can still be a base.
    fn waits_for(self, users: &Users) -> bool {
        match self {
            Leaving::Deleted => users.count > 0,
            Leaving::Disabled => users.direct > 0,
        }
    }

    /// What it waits for, if it does.
    fn say(self, users: &Users) -> Option<String> {
        let what = match self {
            Leaving::Deleted => "its deletion",
            Leaving::Disabled => "the removal of its file (spec.state is Disabled)",
        };
        self.waits_for(users)
            .then(|| format!("{what} waits for {users}"))
    }
}

/// A resolution with what is wrong with the artifact that it depends on.
fn resolution_with(
    resolution: &Resolution,
    profile: &Profile,
    problems: &Items<Arc<str>>,
) -> Resolution {
    let problem = |name: &Option<String>| problems.get(name.as_ref()?);
    let mut resolution = resolution.clone();
    match &mut resolution {
        Ok(expected) => {
            if let Some(problem) = problem(&profile.base) {
                let text = format!("its base could not be checked again and stays: {problem}");
                let before = std::mem::take(&mut expected.warning);
                let parts = [before, text].into_iter().filter(|part| !part.is_empty());
                expected.warning = parts.collect::<Vec<_>>().join("; ");
            }
        }
        Err(refusal) => {
            if let Some(problem) = problem(&refusal.artifact) {
                refusal.message = format!("{}: {problem}", refusal.message);
            }
        }
    }
    resolution
}

/// The resolution of a profile whose file has been checked: one that does what the operator's rules for
/// profiles exclude is not valid.
fn allowed(resolution: Resolution, effect: Option<&Effect>) -> Resolution {
    match effect {
        Some(Effect::NotAllowed(why)) if resolution.is_ok() => Err(Refusal {
            reason: ValidReason::NotAllowed,
            message: why.clone(),
            artifact: None,
        }),
        _ => resolution,
    }
}

/// Makes the passes, and keeps track of what was deferred.
pub(super) struct Reconciler {
    pods: Api<PodUsage>,
    writer: Writer,
    resolutions: Resolutions,
    /// The results of checking the files with this controller's libseccomp.
    effects: Effects,
    events: ProfileEvents,
    deferral: Deferral,
    failures: Failures,
    metrics: ControllerMetrics,
}

impl Reconciler {
    pub(super) fn new(
        client: Client,
        limits: Limits,
        events: ProfileEvents,
        metrics: ControllerMetrics,
    ) -> Reconciler {
        Reconciler {
            pods: Api::all(client.clone()),
            writer: Writer::new(client, metrics.clone()),
            resolutions: Resolutions::default(),
            effects: Effects::new(limits),
            events,
            deferral: Deferral::default(),
            failures: Failures::default(),
            metrics,
        }
    }

    /// Whether there are events that wait until their cause has persisted.
    pub(super) fn has_waiting_events(&self) -> bool {
        self.events.are_waiting()
    }

    /// Waits until the file of a profile has been checked. Returns whether there is anything to
    /// report about it. Under rules for profiles there always is: its status waits for the result.
    pub(super) async fn checked(&mut self, stores: &Stores) -> bool {
        let name = self.effects.next().await;
        self.start_checks(&stores.profiles.snapshot());
        self.effects.have_limits()
            || !matches!(self.effects.known(&name), Some(Effect::Usable(warnings)) if warnings.is_empty())
    }

    fn start_checks(&mut self, profiles: &Items<Arc<Profile>>) {
        self.effects.start(|name| {
            let profile = profiles.get(name)?;
            file_of(profiles, profile).unwrap_or_default()
        });
    }

    /// Reconciles every profile. Returns when the next pass is due at the latest, if something was
    /// deferred. A profile that can't be written does not block the others.
    pub(super) async fn pass(&mut self, stores: &Stores, heartbeat: &Heartbeat) -> Option<Instant> {
        let begin = Instant::now();
        let profiles = stores.profiles.snapshot();
        self.forget_all_but(&profiles);
        self.resolutions.update(&profiles);
        let by_file = Uses::of(&profiles, |name| self.resolutions.is_file_taken(name));
        let mut watched = by_file.tally();
        for (pod, files) in stores.pods.snapshot().iter() {
            watched.add(pod, files);
        }
        let leaving: BTreeMap<&str, Leaving> = profiles
            .values()
            .filter_map(|profile| Some((profile.name.as_str(), self.leaving(profile)?)))
            .collect();
        let is_unused = |(name, leaving): (&&str, &Leaving)| !leaving.waits_for(&watched.of(name));
        // The API server is asked after the deletion or the edit was seen, so every pod that existed
        // before counts.
        let listed = if leaving.iter().any(is_unused) {
            self.list(&by_file, heartbeat).await
        } else {
            Some(by_file.tally())
        };
        let mut next = listed.is_none().then(|| Instant::now() + RETRY_DELAY);
        let nodes = Nodes::of(stores);
        let artifacts = stores.artifacts.snapshot();
        let mut tally: BTreeMap<_, u64> = ReadyReason::ALL.iter().map(|it| (*it, 0)).collect();
        for (name, profile) in profiles.iter() {
            heartbeat.beat();
            let Some(resolution) = self.resolutions.of(name) else {
                continue;
            };
            let mut users = watched.of(name);
            let leaving = leaving.get(name.as_str());
            let mut is_free = false;
            if let Some(leaving) = leaving.filter(|leaving| !leaving.waits_for(&users))
                && let Some(listed) = &listed
            {
                users = listed.of(name);
                is_free = !leaving.waits_for(&users);
            }
            let resolution = resolution_with(resolution, profile, &artifacts);
            let sum = resolution.as_ref().ok().and_then(|it| it.sum.as_ref());
            let decides = self.effects.have_limits();
            let effect = if let Some(sum) = sum {
                self.effects.of(name, sum)
            } else {
                self.effects.forget(name);
                None
            };
            if decides && sum.is_some() && effect.is_none() && !is_free {
                // Nobody knows yet whether it is valid. The result brings the next pass.
                let before = profile.status.as_ref();
                if let Some(reason) = before.and_then(|it| ReadyReason::of(&it.conditions)) {
                    *tally.entry(reason).or_default() += 1;
                }
                continue;
            }
            let resolution = &allowed(resolution, effect);
            let released = profile
                .status
                .as_ref()
                .and_then(|it| it.released_generation);
            let status = status(Facts {
                profile,
                resolution,
                effect,
                nodes: &nodes,
                users: &users,
                is_released: match leaving {
                    Some(Leaving::Disabled) => is_free,
                    // It stays released, even if a pod selects it later.
                    _ => released.is_some() && released == profile.generation,
                },
            });
            if let Some(reason) = ReadyReason::of(&status.conditions) {
                *tally.entry(reason).or_default() += 1;
            }
            let task = Task {
                profile,
                status,
                waits: leaving.and_then(|leaving| leaving.say(&users)),
                release: is_free && leaving == Some(&Leaving::Deleted),
            };
            match self.reconcile(&task).await {
                Ok(at) => next = next.into_iter().chain(at).min(),
                Err(error) => {
                    // The next one would wait just as long, in vain.
                    tracing::warn!(name, "this pass ends early: {error}");
                    self.metrics.errors.inc();
                    return Some(Instant::now() + RETRY_DELAY);
                }
            }
        }
        self.start_checks(&profiles);
        for (state, count) in tally {
            let labels = ProfileLabels { state };
            self.metrics.profiles.get_or_create(&labels).set(count);
        }
        self.metrics.nodes.set(nodes.len() as u64);
        let pods = stores.pods.snapshot();
        let using = pods.values().filter(|used| !used.is_empty()).count();
        self.metrics.pods_using.set(using as u64);
        self.metrics.reconcile.observe_since(begin);
        next
    }

    fn forget_all_but(&mut self, profiles: &Items<Arc<Profile>>) {
        let names: BTreeSet<&str> = profiles.keys().map(String::as_str).collect();
        self.events.keep_only(&names);
        self.deferral.keep_only(&names);
        self.failures.keep_only(&names);
        self.effects.keep_only(&names);
    }

    /// What a profile is about to lose, if anything.
    fn leaving(&self, profile: &Profile) -> Option<Leaving> {
        if profile.deleted {
            return profile.has_finalizer().then_some(Leaving::Deleted);
        }
        let resolution = self.resolutions.of(&profile.name)?;
        let is_disabled = resolution.as_ref().is_ok_and(|it| it.digest.is_none());
        let released = profile
            .status
            .as_ref()
            .and_then(|it| it.released_generation);
        let is_released = released.is_some() && released == profile.generation;
        (is_disabled && !is_released).then_some(Leaving::Disabled)
    }

    /// The current users of each profile; `None` if the API server did not answer.
    async fn list<'a>(&self, uses: &'a Uses, heartbeat: &Heartbeat) -> Option<Tally<'a>> {
        let mut tally = uses.tally();
        let each_pod = |pod: &str, files: &BTreeSet<String>| tally.add(pod, files);
        match list_using(&self.pods, || heartbeat.beat(), each_pod).await {
            Ok(()) => Some(tally),
            Err(error) => {
                tracing::warn!("no profile is released because the pods can't be listed: {error}");
                self.metrics.errors.inc();
                None
            }
        }
    }

    /// Updates one profile. Returns when to look at it again, if necessary.
    ///
    /// # Errors
    /// An error that is not about this profile.
    async fn reconcile(&mut self, task: &Task<'_>) -> Result<Option<Instant>, RequestError> {
        let now = Instant::now();
        let profile = task.profile;
        let waits = task.waits.clone();
        self.events.observe(profile, &task.status, waits, now);
        if let Some(retry_at) = self.failures.retry_at(profile, now) {
            return Ok(Some(retry_at));
        }
        let mut errors = Vec::new();
        let mut put_off = None;
        if task.release {
            errors.extend(self.writer.release(profile).await.err());
        } else {
            let before = profile.status.as_ref();
            if before == Some(&task.status) {
                self.deferral.unchanged(&profile.name, now);
            } else {
                put_off = self
                    .deferral
                    .until(&profile.name, before, &task.status, now);
                if put_off.is_none() {
                    errors.extend(self.writer.status(profile, &task.status).await.err());
                }
            }
        }
        let retry_at = self.failures.record(profile, errors, &self.metrics, now)?;
        Ok(retry_at.into_iter().chain(put_off).min())
    }
}
