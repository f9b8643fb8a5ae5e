//! From `ConfigMap` objects and the profiles that exist to what has to be written.
//!
//! A profile belongs to the key that it was made of; its annotation says which. Profiles without that
//! annotation are somebody else's and are never written. Of two keys that give the same name, the one
//! that has the profile keeps it, else the older `ConfigMap` gets it.

use super::{events::About, source::SourceMap};
use crate::{
    crd::SeccompProfileSpec,
    kube::{
        metrics::KeyState,
        store::Items,
        stored,
        stores::profile::{ConfigMapKey, Profile},
    },
    manifest::object::ManifestProfile,
    resolve::digest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// A profile as a key gives it.
#[derive(Clone, Debug)]
pub(super) struct Given<'a> {
    /// The key of the `ConfigMap` in its store.
    pub(super) map: &'a str,
    /// `NAME/KEY`.
    pub(super) origin: String,
    /// The digest of the profile, with its labels and annotations.
    pub(super) digest: String,
    pub(super) profile: &'a ManifestProfile,
}

/// Something to write.
#[derive(Clone, Debug)]
pub(super) enum Step<'a> {
    /// There is no profile of this name.
    Create(Given<'a>),
    /// The profile is of a key, and is not as a key says.
    Replace(Given<'a>),
    /// The key that it was made of no longer gives it.
    Delete(&'a Profile),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Step::Create(given) | Step::Replace(given) => &given.profile.name,
            Step::Delete(profile) => &profile.name,
        };
        write!(f, "SeccompProfile {name:?}")
    }
}

/// What has to be done.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) steps: Vec<Step<'a>>,
    /// How many profiles are as a key says.
    pub(super) applied: u64,
    /// What is wrong with which `ConfigMap`.
    pub(super) said: Vec<About>,
}

/// Compares what is there with what the keys give.
pub(super) fn plan<'a>(
    maps: &'a Items<Arc<SourceMap>>,
    profiles: &'a Items<Arc<Profile>>,
) -> Plan<'a> {
    let mut plan = Plan::default();
    let mut given: BTreeMap<&str, Vec<Given>> = BTreeMap::new();
    // What these gave is not known any more, so it stays as it is.
    let mut invalid = BTreeSet::new();
    let mut oldest: Vec<_> = maps.iter().collect();
    oldest.sort_by_key(|(key, map)| (map.created, *key));
    for (map_key, map) in oldest {
        for (key, says) in &map.keys {
            let origin = format!("{}/{key}", map.name);
            match says {
                Err(problem) => {
                    let note = format!("key {key}: {problem}");
                    plan.said.push(About {
                        map: map_key.clone(),
                        state: KeyState::Invalid,
                        note,
                    });
                    invalid.insert(origin);
                }
                Ok(says) => {
                    for profile in says {
                        given.entry(&profile.name).or_default().push(Given {
                            map: map_key,
                            origin: origin.clone(),
                            digest: digest_of(profile),
                            profile,
                        });
                    }
                }
            }
        }
    }
    for (name, profile) in profiles {
        if let Some(ConfigMapKey { origin, .. }) = &profile.config_map
            && !profile.deleted
            && !invalid.contains(origin)
            && !given.contains_key(name.as_str())
        {
            plan.steps.push(Step::Delete(profile));
        }
    }
    for (name, all) in given {
        plan.decide(all, profiles.get(name), &invalid);
    }
    plan
}

impl<'a> Plan<'a> {
    /// Decides about one name that keys give.
    fn decide(
        &mut self,
        mut all: Vec<Given<'a>>,
        exists: Option<&Arc<Profile>>,
        invalid: &BTreeSet<String>,
    ) {
        let owner = exists.map(|profile| profile.config_map.as_ref());
        let origin = match owner {
            Some(None) => None,
            Some(Some(owner)) if invalid.contains(&owner.origin) => None,
            Some(Some(owner)) if all.iter().any(|it| it.origin == owner.origin) => {
                Some(owner.origin.clone())
            }
            _ => all.first().map(|first| first.origin.clone()),
        };
        let first = origin.and_then(|origin| all.iter().position(|it| it.origin == origin));
        let chosen = first.map(|first| all.remove(first));
        for other in all {
            let name = &other.profile.name;
            let why = match (&chosen, owner) {
                (Some(chosen), _) => {
                    format!(
                        "it is already given by the ConfigMap's key {}",
                        chosen.origin
                    )
                }
                (None, Some(Some(owner))) => format!(
                    "it is of the ConfigMap's key {}, which is not valid now",
                    owner.origin
                ),
                _ => "a profile of that name exists, and no ConfigMap gave it; it stays as it is"
                    .to_owned(),
            };
            self.said.push(About {
                map: other.map.to_owned(),
                state: KeyState::NameTaken,
                note: format!("{}: SeccompProfile {name:?}: {why}", other.key()),
            });
        }
        let Some(chosen) = chosen else { return };
        match exists {
            None => self.steps.push(Step::Create(chosen)),
            // Once it is gone, it is created again.
            Some(profile) if profile.deleted => {}
            Some(profile) if is_as_given(profile, &chosen) => self.applied += 1,
            Some(_) => self.steps.push(Step::Replace(chosen)),
        }
    }
}

impl Given<'_> {
    /// How notes call its key.
    fn key(&self) -> String {
        let (_, key) = self.origin.split_once('/').unwrap_or_default();
        format!("key {key}")
    }
}

fn digest_of(profile: &ManifestProfile) -> String {
    let ManifestProfile {
        spec,
        labels,
        annotations,
        ..
    } = profile;
    digest(format!("{spec}\n{labels:?}\n{annotations:?}").as_bytes())
}

/// Whether a profile is as a key says: nobody has changed either.
fn is_as_given(profile: &Profile, given: &Given) -> bool {
    let is_of_it = profile
        .config_map
        .as_ref()
        .is_some_and(|it| it.origin == given.origin && it.digest == given.digest);
    // The API server has filled in the defaults.
    let parsed = |text: &str| stored::spec::<SeccompProfileSpec>(text).ok();
    is_of_it && parsed(&profile.spec) == parsed(&given.profile.spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
    use serde_json::json;

    #[derive(Default)]
    struct Cluster {
        maps: Items<Arc<SourceMap>>,
        profiles: Items<Arc<Profile>>,
    }

    impl Cluster {
        fn map(&mut self, name: &str, second: i64, data: &[(&str, &str)]) {
            let data: BTreeMap<_, _> = data.iter().copied().collect();
            let map: ConfigMap = serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "n"}, "data": data
            }))
            .unwrap();
            let mut map = SourceMap::new(&map);
            map.created = Timestamp::from_second(second).ok();
            self.maps.insert(format!("n/{name}"), Arc::new(map));
        }

        fn profile(&mut self, name: &str, allow: &str, origin: Option<&str>) {
            let spec = json!({"allow": [allow], "state": "Enabled", "runtimeBase": "Include"});
            let mut profile = Profile::of(name, &spec);
            let given = ManifestProfile::of(name, &json!({"allow": [allow]})).unwrap();
            profile.config_map = origin.map(|origin| ConfigMapKey {
                origin: origin.to_owned(),
                digest: digest_of(&given),
            });
            self.profiles.insert(name.to_owned(), Arc::new(profile));
        }

        /// The steps, and what is said, in words.
        fn plan(&self) -> (Vec<String>, Vec<String>, u64) {
            let plan = plan(&self.maps, &self.profiles);
            let step = |step: &Step| match step {
                Step::Create(it) => format!("create {} of {}", it.profile.name, it.origin),
                Step::Replace(it) => format!("replace {} of {}", it.profile.name, it.origin),
                Step::Delete(it) => format!("delete {}", it.name),
            };
            let said = |it: &About| format!("{} {} {}", it.map, it.state, it.note);
            (
                plan.steps.iter().map(step).collect(),
                plan.said.iter().map(said).collect(),
                plan.applied,
            )
        }

        fn steps(&self) -> Vec<String> {
            self.plan().0
        }
    }

    #[test]
    fn a_key_makes_changes_and_removes_its_profile() {
        let mut cluster = Cluster::default();
        cluster.map("m", 1, &[("a.yaml", "allow: [read]")]);
        assert_eq!(cluster.steps(), ["create a of m/a.yaml"]);
        cluster.profile("a", "read", Some("m/a.yaml"));
        assert_eq!(cluster.plan(), (vec![], vec![], 1));
        cluster.profile("a", "write", Some("m/a.yaml"));
        assert_eq!(cluster.steps(), ["replace a of m/a.yaml"], "an edit of it");
        cluster.map("m", 1, &[("b.yaml", "allow: [read]")]);
        assert_eq!(cluster.steps(), ["delete a", "create b of m/b.yaml"]);
        cluster.maps.clear();
        assert_eq!(cluster.steps(), ["delete a"]);
    }

    #[test]
    fn a_foreign_profile_stays_and_that_is_said() {
        let mut cluster = Cluster::default();
        cluster.map("m", 1, &[("a.yaml", "allow: [read]")]);
        cluster.profile("a", "write", None);
        cluster.profile("b", "write", None);
        let (steps, said, applied) = cluster.plan();
        assert!(steps.is_empty() && applied == 0);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("n/m name-taken key a.yaml: SeccompProfile \"a\": "));
    }

    #[test]
    fn a_key_that_is_not_valid_keeps_its_profile_and_holds_up_no_other() {
        let mut cluster = Cluster::default();
        cluster.profile("a", "read", Some("m/a.yaml"));
        cluster.map(
            "m",
            1,
            &[("a.yaml", "alow: [read]"), ("b.yaml", "allow: [read]")],
        );
        let (steps, said, _) = cluster.plan();
        assert_eq!(steps, ["create b of m/b.yaml"]);
        assert!(said[0].starts_with("n/m invalid key a.yaml: "), "{said:?}");
        cluster.map("other", 2, &[("a.yaml", "allow: [write]")]);
        let (steps, said, _) = cluster.plan();
        assert_eq!(steps, ["create b of m/b.yaml"], "nobody else gets it");
        assert!(said[1].contains("which is not valid now"), "{said:?}");
    }

    #[test]
    fn of_two_keys_the_one_that_has_the_profile_keeps_it_and_else_the_older_gets_it() {
        let mut cluster = Cluster::default();
        cluster.map("new", 2, &[("a.yaml", "allow: [read]")]);
        cluster.map("old", 1, &[("a.yaml", "allow: [write]")]);
        let (steps, said, _) = cluster.plan();
        assert_eq!(steps, ["create a of old/a.yaml"]);
        assert!(said[0].starts_with("n/new name-taken "), "{said:?}");
        cluster.profile("a", "read", Some("new/a.yaml"));
        let (steps, said, applied) = cluster.plan();
        assert!(steps.is_empty() && applied == 1);
        assert!(said[0].starts_with("n/old name-taken "), "{said:?}");
        cluster.maps.remove("n/new");
        assert_eq!(cluster.steps(), ["replace a of old/a.yaml"]);
    }

    #[test]
    fn a_profile_that_is_being_deleted_is_waited_for() {
        let mut cluster = Cluster::default();
        cluster.map("m", 1, &[("a.yaml", "allow: [read]")]);
        cluster.profile("a", "read", Some("m/a.yaml"));
        let mut going = Profile::of("a", &json!({}));
        going.deleted = true;
        going.config_map = cluster.profiles["a"].config_map.clone();
        cluster.profiles.insert("a".to_owned(), Arc::new(going));
        assert!(cluster.steps().is_empty());
        cluster.maps.clear();
        assert!(cluster.steps().is_empty());
        cluster.profiles.clear();
        cluster.map("m", 1, &[("a.yaml", "allow: [read]")]);
        assert_eq!(cluster.steps(), ["create a of m/a.yaml"]);
    }
}
