//! The file that each profile should have, cached until something that it depends on changes.

use crate::{
    crd::profile::ValidReason,
    file_name::holder,
    kube::{
        store::Items,
        stores::{node_report::digest_number, profile::Profile},
    },
    resolve::{ResolveError, Resolved, resolve},
};
use std::{collections::BTreeMap, sync::Arc};

/// The file that a profile must have, or why it has none.
pub(super) type Resolution = Result<Expected, Refusal>;

/// Why a profile has no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: ValidReason,
    pub(super) message: String,
    /// The profile of the base in a registry that is missing, if it is that.
    pub(super) artifact: Option<String>,
}

impl From<ResolveError> for Refusal {
    fn from(error: ResolveError) -> Refusal {
        let reason = match error {
            ResolveError::FileNameTaken { .. } => ValidReason::FileNameTaken,
            ResolveError::MissingArtifact { .. } => ValidReason::BaseNotPulled,
            _ => ValidReason::Invalid,
        };
        let message = error.to_string();
        let artifact = match error {
            ResolveError::MissingArtifact { profile, .. } => Some(profile),
            _ => None,
        };
        Refusal {
            reason,
            message,
            artifact,
        }
    }
}

/// The file that a profile must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its digest; `None` if there must be no file.
    pub(super) digest: Option<u64>,
    /// The checksum of its text, if there must be a file.
    pub(super) sum: Option<[u8; 32]>,
    /// Warnings about the profile; empty if there are none.
    pub(super) warning: String,
}

impl From<Option<Resolved>> for Expected {
    fn from(resolved: Option<Resolved>) -> Expected {
        resolved.map_or_else(Expected::default, |resolved| Expected {
            digest: digest_number(&resolved.digest),
            sum: Some(resolved.sum),
            warning: resolved.warnings.join("; "),
        })
    }
}

#[derive(Debug)]
struct Remembered {
    spec: Arc<str>,
    resolution: Resolution,
}

/// The resolution of every profile.
#[derive(Debug, Default)]
pub(super) struct Resolutions {
    remembered: BTreeMap<String, Remembered>,
    /// The profiles whose file an older profile has.
    refused: BTreeMap<String, Resolution>,
}

impl Resolutions {
    /// Resolves the profiles whose specification has changed. If any has, also resolves those with
    /// a base, which may be the changed one.
    pub(super) fn update(&mut self, profiles: &Items<Arc<Profile>>) {
        let created = |name: &str| profiles.get(name).map(|profile| profile.created);
        let refused = profiles.keys().filter_map(|name| {
            let by = holder(name, created)?;
            let error = ResolveError::FileNameTaken { by };
            Some((name.clone(), Err(error.into())))
        });
        self.refused = refused.collect();
        let known = self.remembered.len();
        self.remembered.retain(|name, remembered| {
            let profile = profiles.get(name);
            profile.is_some_and(|profile| profile.spec == remembered.spec)
        });
        let changed = self.remembered.len() < known || self.remembered.len() < profiles.len();
        if !changed {
            return;
        }
        for (name, profile) in profiles {
            if profile.base.is_none() && self.remembered.contains_key(name) {
                continue;
            }
            let resolution = file_of(profiles, profile)
                .map(Expected::from)
                .map_err(Refusal::from);
            let spec = Arc::clone(&profile.spec);
            let remembered = Remembered { spec, resolution };
            self.remembered.insert(name.clone(), remembered);
        }
    }

    /// The resolution of a profile that existed at the last update.
    pub(super) fn of(&self, name: &str) -> Option<&Resolution> {
        let remembered = || self.remembered.get(name);
        let refused = self.refused.get(name);
        refused.or_else(|| remembered().map(|remembered| &remembered.resolution))
    }

    /// Whether a profile has no file because an older one has it.
    pub(super) fn is_file_taken(&self, name: &str) -> bool {
        self.refused.contains_key(name)
    }
}

/// The file of a profile; `None` if there must be none.
pub(super) fn file_of(
    profiles: &Items<Arc<Profile>>,
    profile: &Profile,
) -> Result<Option<Resolved>, ResolveError> {
    let find = |name: &str| profiles.get(name).map(|base| &*base.spec);
    resolve(&profile.name, &profile.spec, &find)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    struct Cluster {
        profiles: Items<Arc<Profile>>,
        resolutions: Resolutions,
    }

    impl Cluster {
        fn new() -> Cluster {
            Cluster {
                profiles: Items::new(),
                resolutions: Resolutions::default(),
            }
        }

        fn set(&mut self, name: &str, spec: &Value) {
            let profile = Arc::new(Profile::of(name, spec));
            self.profiles.insert(name.to_owned(), profile);
            self.resolutions.update(&self.profiles);
        }

        fn of(&self, name: &str) -> Resolution {
            self.resolutions.of(name).unwrap().clone()
        }

        /// What [`Cluster::mark`] leaves.
        fn marked() -> Expected {
            Expected {
                digest: Some(7),
                ..Expected::default()
            }
        }

        /// Replaces a resolution by a mark, which stays until the profile is resolved again.
        fn mark(&mut self, name: &str) {
            let remembered = self.resolutions.remembered.get_mut(name).unwrap();
            remembered.resolution = Ok(Cluster::marked());
        }
    }

    #[test]
    fn a_specification_that_can_not_be_understood_is_an_error_and_so_is_what_builds_on_it() {
        let mut cluster = Cluster::new();
        cluster.set("good", &json!({"allow": ["mkdir"]}));
        cluster.set("bad", &json!({"allow": "text"}));
        cluster.set("top", &json!({"baseProfileName": "bad"}));
        assert!(cluster.of("good").unwrap().digest.is_some());
        let error = cluster.of("bad").unwrap_err().message;
        assert!(error.contains("invalid type: string"), "{error}");
        let error = cluster.of("top").unwrap_err().message;
        assert!(error.starts_with("base bad: "), "{error}");
    }

    #[test]
    fn a_changed_base_changes_what_builds_on_it_and_an_unchanged_one_nothing() {
        let mut cluster = Cluster::new();
        cluster.set("base", &json!({"allow": ["rmdir"]}));
        cluster.set("alone", &json!({"allow": ["rmdir"]}));
        let top = json!({"baseProfileName": "base", "allow": ["mkdir"]});
        cluster.set("top", &top);
        let before = cluster.of("top");
        cluster.mark("top");
        cluster.mark("alone");
        cluster.set("base", &json!({"allow": ["rmdir"]}));
        assert_eq!(
            cluster.of("top"),
            Ok(Cluster::marked()),
            "it was resolved again"
        );
        cluster.set("base", &json!({"allow": ["unlink"]}));
        assert!(![Ok(Cluster::marked()), before].contains(&cluster.of("top")));
        assert_eq!(cluster.of("alone"), Ok(Cluster::marked()), "it has no base");
    }

    #[test]
    fn a_base_that_goes_is_missed_and_a_profile_that_goes_is_forgotten() {
        let mut cluster = Cluster::new();
        cluster.set("base", &json!({"allow": ["rmdir"]}));
        cluster.set("top", &json!({"baseProfileName": "base"}));
        cluster.profiles.remove("base");
        cluster.resolutions.update(&cluster.profiles);
        assert!(cluster.of("top").unwrap_err().message.contains("\"base\""));
        assert!(cluster.resolutions.of("base").is_none());
    }

    #[test]
    fn the_newer_of_two_that_want_one_file_is_refused_until_the_older_one_is_gone() {
        let mut cluster = Cluster::new();
        let spec = json!({"allow": ["mkdir"]});
        cluster.set("a", &spec);
        cluster.set("a.json", &spec);
        let mut create = |name: &str, second: i64| {
            let mut profile = Profile::of(name, &spec);
            profile.created = k8s_openapi::jiff::Timestamp::from_second(second).ok();
            cluster.profiles.insert(name.to_owned(), Arc::new(profile));
            cluster.resolutions.update(&cluster.profiles);
            ["a", "a.json"].map(|name| match cluster.resolutions.of(name) {
                Some(Err(refusal)) => refusal.message.clone(),
                _ => String::new(),
            })
        };
        create("a", 2);
        let [short, long] = create("a.json", 1);
        assert!(
            short.contains("the older SeccompProfile \"a.json\""),
            "{short}"
        );
        assert_eq!(long, "");
        let [short, long] = create("a.json", 3);
        assert_eq!(short, "");
        assert!(long.contains("the file a.json belongs to the older SeccompProfile \"a\""));
        let refusal = cluster.of("a.json").unwrap_err();
        assert_eq!(refusal.reason, ValidReason::FileNameTaken);
        assert!(cluster.resolutions.is_file_taken("a.json"));
        cluster.profiles.remove("a");
        cluster.resolutions.update(&cluster.profiles);
        assert!(cluster.of("a.json").is_ok());
    }
}
