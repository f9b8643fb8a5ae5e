//! What the controller knows, and the status that follows from it.

use crate::{
    crd::{
        SeccompNodeSpec, SeccompProfile, SeccompProfileStatus, State as Wanted, localhost_profile,
    },
    resolve::{ResolveError, Resolved, resolve},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    runtime::watcher::{self, Event},
};
use std::collections::{BTreeMap, BTreeSet};

/// The objects of one kind, and whether all were listed.
#[derive(Debug)]
pub(super) struct Objects<T> {
    items: BTreeMap<String, T>,
    listing: BTreeMap<String, T>,
    complete: bool,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects {
            items: BTreeMap::new(),
            listing: BTreeMap::new(),
            complete: false,
        }
    }
}

impl<T> Objects<T> {
    /// Takes one change in; `keep` says under which name and what of the object is kept.
    pub(super) fn take<K: ResourceExt>(
        &mut self,
        event: Result<Event<K>, watcher::Error>,
        keep: impl Fn(K) -> Option<(String, T)>,
    ) {
        match event {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(object)) => self.listing.extend(keep(object)),
            Ok(Event::InitDone) => {
                self.items = std::mem::take(&mut self.listing);
                self.complete = true;
            }
            Ok(Event::Apply(object)) => {
                let key = key(&object);
                match keep(object) {
                    Some((key, item)) => self.items.insert(key, item),
                    None => self.items.remove(&key),
                };
            }
            Ok(Event::Delete(object)) => {
                self.items.remove(&key(&object));
            }
            Err(error) => tracing::warn!("the API server: {error}"),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.items.iter()
    }
}

fn key<K: ResourceExt>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// Everything that is watched.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) profiles: Objects<SeccompProfile>,
    pub(super) reports: Objects<SeccompNodeSpec>,
    pub(super) nodes: Objects<()>,
    pub(super) pods: Objects<BTreeSet<String>>,
}

impl State {
    pub(super) fn is_complete(&self) -> bool {
        self.profiles.complete && self.reports.complete && self.nodes.complete && self.pods.complete
    }

    /// For each profile, how many pods use it and one of them.
    pub(super) fn users(&self) -> BTreeMap<&str, (u64, Option<&str>)> {
        let mut users: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
        for (pod, names) in self.pods.iter() {
            for name in names {
                let entry = users.entry(name).or_insert((0, Some(pod)));
                entry.0 += 1;
            }
        }
        users
    }

    fn resolve(&self, profile: &SeccompProfile) -> Result<Option<Resolved>, ResolveError> {
        let find = |name: &str| self.profiles.items.get(name).map(|base| base.spec.clone());
        resolve(&profile.name_any(), &profile.spec, &find)
    }

    /// The status of one profile.
    pub(super) fn status(
        &self,
        profile: &SeccompProfile,
        used: (u64, Option<&str>),
    ) -> SeccompProfileStatus {
        let name = profile.name_any();
        let resolved = self.resolve(profile);
        let valid = match &resolved {
            Ok(_) => (true, "Valid", String::new()),
            Err(error) => (false, "Invalid", error.to_string()),
        };
        let total = self.nodes.items.len();
        let mut ready_nodes = 0;
        let mut missing = None;
        let mut failed = None;
        if let Ok(Some(resolved)) = &resolved {
            for node in self.nodes.items.keys() {
                let report = self.reports.items.get(node);
                if report.and_then(|report| report.profiles.get(&name)) == Some(&resolved.digest) {
                    ready_nodes += 1;
                    continue;
                }
                let reason = report
                    .and_then(|report| report.failures.get(&name).or(report.problem.as_ref()));
                match reason {
                    Some(reason) => {
                        failed.get_or_insert_with(|| format!("node {node}: {reason}"));
                    }
                    None => {
                        missing.get_or_insert_with(|| format!("node {node}: not there yet"));
                    }
                }
            }
        }
        let ready = match (&resolved, failed, missing) {
            (Err(_), ..) => (false, "Invalid", "it has no file".to_owned()),
            _ if profile.spec.state == Wanted::Disabled => {
                (false, "Disabled", "spec.state is Disabled".to_owned())
            }
            (_, Some(failed), _) => (false, "NodeFailed", failed),
            (_, _, Some(missing)) => (false, "NodesMissing", missing),
            _ => (true, "Ready", String::new()),
        };
        let in_use = match used {
            (0, _) => (false, "NotInUse", String::new()),
            (count, pod) => (
                true,
                "InUse",
                format!("{count} pods, among them {}", pod.unwrap_or("?")),
            ),
        };
        SeccompProfileStatus {
            conditions: vec![
                condition(profile, "InUse", in_use),
                condition(profile, "Ready", ready),
                condition(profile, "Valid", valid),
            ],
            nodes: format!("{ready_nodes}/{total}"),
            pods: used.0,
            localhost_profile: localhost_profile(&name),
        }
    }
}

fn condition(
    profile: &SeccompProfile,
    kind: &str,
    (holds, reason, message): (bool, &str, String),
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let before = profile.status.iter().flat_map(|status| &status.conditions);
    let before = before
        .into_iter()
        .find(|condition| condition.type_ == kind && condition.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: profile.metadata.generation,
        last_transition_time: before.map_or_else(
            || Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()),
            |condition| condition.last_transition_time.clone(),
        ),
    }
}
