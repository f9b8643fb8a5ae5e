//! A pass over all profiles: updates their finalizers and status with as few writes as possible.

use super::{
    deferral::Deferral,
    events::ProfileEvents,
    failures::{Failures, RETRY_DELAY},
    resolutions::{Resolutions, file_of},
    status::{Nodes, status},
    writer::Writer,
};
use crate::{
    crd::{SeccompProfileStatus, condition::Reason, profile::ReadyReason},
    effect::{Effect, Effects},
    file_name::file_name,
    kube::{
        health::Heartbeat,
        metrics::{ControllerMetrics, ProfileLabels},
        request::RequestError,
        store::Items,
        stores::{
            Stores,
            pod_usage::{PodUsage, Users, list_users, watched_users},
            profile::Profile,
        },
    },
};
use kube::{Api, Client};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

/// What has to be done for one profile.
struct Task<'a> {
    profile: &'a Profile,
    status: SeccompProfileStatus,
    users: Users,
    /// Whether it may be deleted: its deletion was requested and no pod uses it.
    release: bool,
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
        events: ProfileEvents,
        metrics: ControllerMetrics,
    ) -> Reconciler {
        Reconciler {
            pods: Api::all(client.clone()),
            writer: Writer::new(client, metrics.clone()),
            resolutions: Resolutions::default(),
            effects: Effects::default(),
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
    /// report about it.
    pub(super) async fn checked(&mut self, stores: &Stores) -> bool {
        let name = self.effects.next().await;
        self.start_checks(&stores.profiles.snapshot());
        !matches!(self.effects.known(&name), Some(Effect::Usable(warnings)) if warnings.is_empty())
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
        let users = self.users(&profiles, &watched_users(&stores.pods.snapshot()));
        let users = |name: &str| users.get(name).cloned().unwrap_or_default();
        let unused: BTreeSet<String> = profiles
            .values()
            .filter(|profile| profile.deleted && profile.has_finalizer())
            .filter(|profile| users(&profile.name).count == 0)
            .map(|profile| profile.name.clone())
            .collect();
        let still_used = self.still_used(&unused, heartbeat).await;
        let mut next = still_used.is_none().then(|| Instant::now() + RETRY_DELAY);
        let nodes = Nodes::of(stores);
        let mut tally: BTreeMap<_, u64> = ReadyReason::ALL.iter().map(|it| (*it, 0)).collect();
        for (name, profile) in profiles.iter() {
            heartbeat.beat();
            let Some(resolution) = self.resolutions.of(name) else {
                continue;
            };
            let mut users = users(name);
            let mut release = false;
            if let Some(still_used) = still_used.as_ref().filter(|_| unused.contains(name)) {
                let file = file_name(name);
                let found = still_used.get(&file);
                match found.filter(|_| !self.resolutions.is_file_taken(name)) {
                    Some(found) => users = found.clone(),
                    None => release = true,
                }
            }
            let sum = resolution.as_ref().ok().and_then(|it| it.sum.as_ref());
            let effect = if let Some(sum) = sum {
                self.effects.of(name, sum)
            } else {
                self.effects.forget(name);
                None
            };
            let status = status(profile, resolution, effect, &nodes, &users);
            if let Some(reason) = ReadyReason::of(&status.conditions) {
                *tally.entry(reason).or_default() += 1;
            }
            let task = Task {
                profile,
                status,
                users,
                release,
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

    /// The users of each profile: those of its file, unless an older profile has that file.
    fn users(
        &self,
        profiles: &Items<Arc<Profile>>,
        of_files: &BTreeMap<Arc<str>, Users>,
    ) -> BTreeMap<String, Users> {
        let having = profiles
            .keys()
            .filter(|name| !self.resolutions.is_file_taken(name));
        having
            .filter_map(|name| {
                let users = of_files.get(&*file_name(name))?;
                Some((name.clone(), users.clone()))
            })
            .collect()
    }

    /// The users, by file, of those of these profiles that are still in use. The API server is
    /// asked after their deletion was seen, so every pod that existed before the deletion counts.
    /// `None` if it did not answer.
    async fn still_used(
        &self,
        names: &BTreeSet<String>,
        heartbeat: &Heartbeat,
    ) -> Option<BTreeMap<String, Users>> {
        let files: BTreeSet<String> = names
            .iter()
            .filter(|name| !self.resolutions.is_file_taken(name))
            .map(|name| file_name(name))
            .collect();
        if files.is_empty() {
            return Some(BTreeMap::new());
        }
        match list_users(&self.pods, &files, || heartbeat.beat()).await {
            Ok(users) => Some(users),
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
        let waits = profile.deleted && profile.has_finalizer();
        let holder = waits.then_some(&task.users);
        self.events.observe(profile, &task.status, holder, now);
        if let Some(retry_at) = self.failures.retry_at(profile, now) {
            return Ok(Some(retry_at));
        }
        let mut errors = Vec::new();
        let mut put_off = None;
        if task.release {
            errors.extend(self.writer.release(profile).await.err());
        } else {
            if !profile.deleted && !profile.has_finalizer() {
                errors.extend(self.writer.hold(profile).await.err());
            }
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
