//! What the file of each profile has to be, remembered as long as nothing that it depends on
//! changes.

use crate::{
    kube::{
        store::Items,
        stores::{node_report::digest_number, profile::Profile},
    },
    resolve::{ResolveError, Resolved, resolve},
};
use std::{collections::BTreeMap, sync::Arc};

/// What a profile's file must be, or why no file can be made of the profile.
pub(super) type Resolution = Result<Expected, String>;

/// What a profile's file must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its digest; `None` if there must be no file.
    pub(super) digest: Option<u64>,
    /// The checksum of its text, if there must be a file.
    pub(super) sum: Option<[u8; 32]>,
    /// What is hardly meant in the profile; empty if nothing is.
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
pub(super) struct Resolutions(BTreeMap<String, Remembered>);

impl Resolutions {
    /// Resolves the profiles whose specification has changed, and if any has, those with a base,
    /// which may be the changed one.
    pub(super) fn update(&mut self, profiles: &Items<Arc<Profile>>) {
        let known = self.0.len();
        self.0.retain(|name, remembered| {
            let profile = profiles.get(name);
            profile.is_some_and(|profile| profile.spec == remembered.spec)
        });
        let changed = self.0.len() < known || self.0.len() < profiles.len();
        if !changed {
            return;
        }
        for (name, profile) in profiles {
            if !profile.based && self.0.contains_key(name) {
                continue;
            }
            let resolution = file_of(profiles, profile)
                .map(Expected::from)
                .map_err(|error| error.to_string());
            let spec = Arc::clone(&profile.spec);
            self.0.insert(name.clone(), Remembered { spec, resolution });
        }
    }

    /// The resolution of a profile that was there at the last update.
    pub(super) fn of(&self, name: &str) -> Option<&Resolution> {
        self.0.get(name).map(|remembered| &remembered.resolution)
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

        /// Puts a mark in the place of a resolution, which stays as long as nothing resolves anew.
        fn mark(&mut self, name: &str) {
            self.resolutions.0.get_mut(name).unwrap().resolution = Ok(Cluster::marked());
        }
    }

    #[test]
    fn a_specification_that_can_not_be_understood_is_an_error_and_so_is_what_builds_on_it() {
        let mut cluster = Cluster::new();
        cluster.set("good", &json!({"allow": ["mkdir"]}));
        cluster.set("bad", &json!({"allow": "text"}));
        cluster.set("top", &json!({"baseProfileName": "bad"}));
        assert!(cluster.of("good").unwrap().digest.is_some());
        let error = cluster.of("bad").unwrap_err();
        assert!(error.contains("invalid type: string"), "{error}");
        assert!(cluster.of("top").unwrap_err().starts_with("base bad: "));
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
        assert!(cluster.of("top").unwrap_err().contains("\"base\""));
        assert!(cluster.resolutions.of("base").is_none());
    }
}
