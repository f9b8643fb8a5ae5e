//! Publishes the files of profiles as `ConfigMap` objects, for clusters that distribute files that way.
//!
//! Each file is a key of one of sixteen objects, by its name alone, so that it never moves from one to
//! another. Objects of these names that lack the label are somebody else's and stay as they are.

use super::{PAGE, RETRY, Work, follow};
use crate::{
    effect::{Effect, Effects},
    file_name::{file_name, holder},
    kube::{
        health::Health,
        metrics::{ControllerMetrics, Watched},
        request::{RequestError, request, unless_changed},
        store::{Items, Store, key},
        stores::{Stores, profile::Profile},
    },
    resolve::{Resolved, digest, resolve},
};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, ResourceExt, api::PostParams, runtime::watcher::Config};
use portcullis_profile::program::Limits;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The label of the objects that are published.
const LABEL: &str = "portcullis.dev/published-profiles";
/// How the names of these objects begin; a hexadecimal digit follows.
const PREFIX: &str = "portcullis-profiles-";
const DIGITS: &str = "0123456789abcdef";
/// How large the keys and values of an object may be together, in bytes. The API server accepts a
/// megabyte.
const MAX_BYTES: usize = 1_000_000;
/// The longest key that the API server accepts.
const MAX_KEY: usize = 253;
/// The field manager of what the controller writes here.
const FIELD_MANAGER: &str = "portcullis-config-maps";

/// The files of an object, by name.
type Files = BTreeMap<String, String>;

/// What is kept of an object.
#[derive(Clone, Debug, Default, PartialEq)]
struct Published {
    files: Files,
    resource_version: Option<String>,
}

/// Keeps the objects up to date until the future is dropped.
pub(super) async fn run(
    stores: &Stores,
    client: Client,
    namespace: &str,
    limits: Limits,
    health: &Health,
    metrics: &ControllerMetrics,
) {
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    let maps = Store::default();
    let labelled = Config::default()
        .labels(&format!("{LABEL}=true"))
        .page_size(PAGE);
    let watch = maps.watch(api.clone(), labelled, Watched::Published, metrics, |map| {
        let published = Published {
            resource_version: map.resource_version(),
            files: map.data.clone().unwrap_or_default(),
        };
        Some((key(&map), Arc::new(published)))
    });
    let mut publishing = Publishing {
        api,
        namespace,
        maps: &maps,
        effects: Effects::new(limits),
        left_out: BTreeSet::new(),
        metrics,
    };
    let working = follow(&mut publishing, stores, &maps, health);
    tokio::join!(watch, working);
}

struct Publishing<'a> {
    api: Api<ConfigMap>,
    namespace: &'a str,
    maps: &'a Store<Arc<Published>>,
    /// The results of checking the files. One that is not known to do what it says, and nothing that the
    /// operator's rules exclude, is not published.
    effects: Effects,
    /// What was said to have no room.
    left_out: BTreeSet<String>,
    metrics: &'a ControllerMetrics,
}

impl Work for Publishing<'_> {
    const NAME: &'static str = "published-config-maps";
    /// A pass looks at every file.
    const DEBOUNCE: Duration = Duration::from_secs(2);

    /// Writes what differs. Returns when to try again, if necessary.
    async fn pass(&mut self, stores: &Stores) -> Option<Instant> {
        let (maps, profiles) = (self.maps.snapshot(), stores.profiles.snapshot());
        let present: BTreeMap<&str, &str> = maps
            .values()
            .flat_map(|map| &map.files)
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let files = self.files(&profiles, &present);
        start_checks(&mut self.effects, &profiles);
        let (parts, left_out) = split(files);
        for name in left_out.difference(&self.left_out) {
            tracing::warn!("{name} is not published: its ConfigMap has no room for it");
            self.metrics.errors.inc();
        }
        self.left_out = left_out;
        let mut next = None;
        for digit in DIGITS.chars() {
            let name = format!("{PREFIX}{digit}");
            let present = maps.get(&format!("{}/{name}", self.namespace));
            let wanted = parts.get(&digit);
            let written = self.write(&name, wanted, present).await;
            let Err(error) = written else { continue };
            next = Some(Instant::now() + RETRY);
            let namespace = self.namespace;
            if error.code() == Some(409) && present.is_none() {
                tracing::warn!(
                    "ConfigMap {namespace}/{name} exists without the label {LABEL}; it stays as it is, and \
                     its profiles are not published"
                );
            } else if error.is_outdated() {
                continue; // The watch will tell.
            } else {
                tracing::warn!("ConfigMap {namespace}/{name} can't be written: {error}");
            }
            self.metrics.errors.inc();
            if !error.is_about_the_object() {
                break;
            }
        }
        next
    }

    async fn changed(&mut self, stores: &Stores) {
        self.effects.next().await;
        start_checks(&mut self.effects, &stores.profiles.snapshot());
    }
}

impl Publishing<'_> {
    /// The files to publish. As on the nodes, a profile that is not valid keeps its last good file, and
    /// one that is disabled keeps it as long as pods use it.
    fn files(&mut self, profiles: &Items<Arc<Profile>>, present: &BTreeMap<&str, &str>) -> Files {
        let names: BTreeSet<&str> = profiles.keys().map(String::as_str).collect();
        self.effects.keep_only(&names);
        let created = |name: &str| profiles.get(name).map(|profile| profile.created);
        let mut files = Files::new();
        for (name, profile) in profiles {
            let is_gone = profile.deleted && !profile.has_finalizer();
            if is_gone || holder(name, created).is_some() {
                continue;
            }
            let file = file_name(name);
            let text = match file_of(profiles, profile) {
                Ok(Some(resolved)) => match self.effects.of(name, &resolved.sum) {
                    Some(Effect::Usable(_)) => String::from_utf8(resolved.text).ok(),
                    _ => None,
                },
                Ok(None) if is_released(profile) => continue,
                _ => None,
            };
            let kept = || present.get(file.as_str()).map(|&text| text.to_owned());
            if let Some(text) = text.or_else(kept) {
                files.insert(file, text);
            }
        }
        files
    }

    async fn write(
        &self,
        name: &str,
        wanted: Option<&Files>,
        present: Option<&Arc<Published>>,
    ) -> Result<(), RequestError> {
        let version = present.and_then(|present| present.resource_version.clone());
        let Some(wanted) = wanted else {
            if present.is_some() {
                let parameters = unless_changed(None, version);
                request(self.api.delete(name, &parameters)).await?;
            }
            return Ok(());
        };
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(LABEL.to_owned(), "true".to_owned())].into()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            data: Some(wanted.clone()),
            ..ConfigMap::default()
        };
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match present {
            None => drop(request(self.api.create(&parameters, &map)).await?),
            Some(present) if present.files == *wanted => {}
            Some(_) => drop(request(self.api.replace(name, &parameters, &map)).await?),
        }
        Ok(())
    }
}

/// Whether no pod uses the file of a profile that is disabled.
fn is_released(profile: &Profile) -> bool {
    let released = profile
        .status
        .as_ref()
        .and_then(|it| it.released_generation);
    released.is_some() && released == profile.generation
}

fn file_of(
    profiles: &Items<Arc<Profile>>,
    profile: &Profile,
) -> Result<Option<Resolved>, crate::resolve::ResolveError> {
    let find = |name: &str| profiles.get(name).map(|base| &*base.spec);
    resolve(&profile.name, &profile.spec, &find)
}

fn start_checks(effects: &mut Effects, profiles: &Items<Arc<Profile>>) {
    effects.start(|name| file_of(profiles, profiles.get(name)?).unwrap_or_default());
}

/// The files of each object, by the last digit of its name, and the names of those that have no room.
fn split(files: Files) -> (BTreeMap<char, Files>, BTreeSet<String>) {
    let mut parts: BTreeMap<char, (usize, Files)> = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (name, text) in files {
        let digit = digest(name.as_bytes()).chars().next().unwrap_or('0');
        let (size, part) = parts.entry(digit).or_default();
        let more = name.len() + text.len();
        if name.len() > MAX_KEY || *size + more > MAX_BYTES {
            left_out.insert(name);
            continue;
        }
        *size += more;
        part.insert(name, text);
    }
    let parts = parts.into_iter().map(|(digit, (_, part))| (digit, part));
    (
        parts.filter(|(_, part)| !part.is_empty()).collect(),
        left_out,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files(count: usize, size: usize) -> Files {
        let file = |n| (format!("profile-{n}.json"), "x".repeat(size));
        (0..count).map(file).collect()
    }

    #[test]
    fn a_file_has_its_object_whatever_else_is_published() {
        let (all, left_out) = split(files(700, 10_000));
        assert!(left_out.is_empty());
        assert_eq!(all.len(), 16);
        for (digit, part) in &all {
            assert!(DIGITS.contains(*digit));
            assert!(part.values().map(String::len).sum::<usize>() <= MAX_BYTES);
        }
        let (few, _) = split(files(10, 10));
        for (digit, part) in few {
            for name in part.keys() {
                assert!(all[&digit].contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_named_and_the_others_are_published() {
        let (parts, left_out) = split(files(40, 600_000));
        let published: usize = parts.values().map(BTreeMap::len).sum();
        assert!(!left_out.is_empty() && published + left_out.len() == 40);
        let long = [(format!("{}.json", "a".repeat(249)), String::new())];
        assert_eq!(split(long.into()).1.len(), 1);
    }

    #[test]
    fn only_a_disabled_profile_whose_generation_is_released_has_no_file() {
        let mut profile = Profile::of("a", &json!({"state": "Disabled"}));
        assert!(!is_released(&profile));
        profile.status = Some(crate::crd::SeccompProfileStatus {
            released_generation: Some(1),
            ..Default::default()
        });
        assert!(is_released(&profile));
        profile.generation = Some(2);
        assert!(!is_released(&profile));
    }
}
