//! What the file of each profile has to be, remembered as long as nothing that it depends on
//! changes.

use crate::{
    kube::{
        store::Items,
        stores::{node_report::digest_number, profile::Profile},
    },
    resolve::resolve,
};
use std::{collections::BTreeMap, sync::Arc};

/// The digest that a profile's file must have, `None` if it must have no file, or why no file can be
/// made of it.
pub(super) type Resolution = Result<Option<u64>, String>;

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
        let find = |name: &str| profiles.get(name).map(|base| &*base.spec);
        for (name, profile) in profiles {
            if !profile.based && self.0.contains_key(name) {
                continue;
            }
            let resolution = match resolve(name, &profile.spec, &find) {
                Ok(resolved) => Ok(resolved.and_then(|resolved| digest_number(&resolved.digest))),
                Err(error) => Err(error.to_string()),
            };
            let spec = Arc::clone(&profile.spec);
            self.0.insert(name.clone(), Remembered { spec, resolution });
        }
    }

    /// The resolution of a profile that was there at the last update.
    pub(super) fn of(&self, name: &str) -> Option<&Resolution> {
        self.0.get(name).map(|remembered| &remembered.resolution)
    }
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

        /// Puts a mark in the place of a resolution, which stays as long as nothing resolves anew.
        fn mark(&mut self, name: &str) {
            self.resolutions.0.get_mut(name).unwrap().resolution = Ok(Some(7));
        }
    }

    #[test]
    fn a_specification_that_can_not_be_understood_is_an_error_and_so_is_what_builds_on_it() {
        let mut cluster = Cluster::new();
        cluster.set("good", &json!({"allow": ["mkdir"]}));
        cluster.set("bad", &json!({"allow": "text"}));
        cluster.set("top", &json!({"baseProfileName": "bad"}));
        assert!(cluster.of("good").unwrap().is_some());
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
        assert_eq!(cluster.of("top"), Ok(Some(7)), "it was resolved again");
        cluster.set("base", &json!({"allow": ["unlink"]}));
        assert!(![Ok(Some(7)), before].contains(&cluster.of("top")));
        assert_eq!(cluster.of("alone"), Ok(Some(7)), "it has no base");
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
