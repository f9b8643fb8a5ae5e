//! Which pods use which profiles: those that select one, and those that select one that is based on
//! it.

use crate::{
    file_name::file_name,
    kube::{store::Items, stores::profile::Profile},
    resolve::MAX_DEPTH,
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::Arc,
};

/// The pods that use one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    /// How many there are.
    pub(super) count: u64,
    /// How many of them select the profile itself.
    pub(super) direct: u64,
    /// One of them; if possible, one that selects the profile itself.
    example: Option<Example>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Example {
    /// The pod, as `namespace/name`.
    pod: String,
    /// The profile that it selects, if it is another one.
    through: Option<String>,
}

impl Users {
    fn add(&mut self, pod: &str, through: Option<&str>) {
        self.count += 1;
        if through.is_none() {
            self.direct += 1;
        }
        let is_better = |example: &Example| example.through.is_some() && through.is_none();
        if self.example.as_ref().is_none_or(is_better) {
            self.example = Some(Example {
                pod: pod.to_owned(),
                through: through.map(str::to_owned),
            });
        }
    }
}

/// For example `the pod shop/till`, or `2 pods, for example shop/till`.
impl fmt::Display for Users {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(example) = &self.example else {
            return to.write_str("no pod");
        };
        match self.count {
            1 => write!(to, "the pod {}", example.pod)?,
            count => write!(to, "{count} pods, for example {}", example.pod)?,
        }
        match &example.through {
            Some(profile) => write!(to, " (through the profile {profile}, which is based on it)"),
            None => Ok(()),
        }
    }
}

/// The profiles that a pod uses if it selects a file.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// By the name of the file: the profile that has it, and that profile's bases.
    of_file: BTreeMap<String, Used>,
}

#[derive(Debug)]
struct Used {
    profile: String,
    bases: BTreeSet<String>,
}

impl Uses {
    /// Of these profiles, without those whose file an older profile has.
    pub(super) fn of(profiles: &Items<Arc<Profile>>, is_file_taken: impl Fn(&str) -> bool) -> Uses {
        let having = profiles.keys().filter(|name| !is_file_taken(name));
        let of_file = having.map(|name| {
            let used = Used {
                profile: name.clone(),
                bases: bases(profiles, name),
            };
            (file_name(name), used)
        });
        Uses {
            of_file: of_file.collect(),
        }
    }

    /// The users of each profile, not yet counted.
    pub(super) fn tally(&self) -> Tally<'_> {
        Tally {
            uses: self,
            users: BTreeMap::new(),
        }
    }
}

/// The bases of a profile: its own, that one's, and so on.
fn bases(profiles: &Items<Arc<Profile>>, name: &str) -> BTreeSet<String> {
    let mut bases = BTreeSet::new();
    let mut next = profiles.get(name).and_then(|profile| profile.base.clone());
    while let Some(base) = next {
        next = profiles.get(&base).and_then(|base| base.base.clone());
        if base == name || bases.len() == MAX_DEPTH || !bases.insert(base) {
            break;
        }
    }
    bases
}

/// Counts the users of each profile.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    uses: &'a Uses,
    users: BTreeMap<&'a str, Users>,
}

impl<'a> Tally<'a> {
    /// Counts a pod, which selects these files. It counts once for each profile.
    pub(super) fn add(&mut self, pod: &str, files: impl IntoIterator<Item = impl AsRef<str>>) {
        let by_file: &'a _ = &self.uses.of_file;
        let mut profiles: BTreeMap<&'a str, Option<&'a str>> = BTreeMap::new();
        for file in files {
            let Some(of_file) = by_file.get(file.as_ref()) else {
                continue;
            };
            profiles.insert(&of_file.profile, None);
            for base in &of_file.bases {
                if let Entry::Vacant(entry) = profiles.entry(base) {
                    entry.insert(Some(&of_file.profile));
                }
            }
        }
        for (profile, through) in profiles {
            self.users.entry(profile).or_default().add(pod, through);
        }
    }

    /// The users of a profile.
    pub(super) fn of(&self, profile: &str) -> Users {
        self.users.get(profile).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(profiles: &[(&str, serde_json::Value)]) -> Uses {
        let profiles = profiles.iter().map(|(name, spec)| {
            let profile = Arc::new(Profile::of(name, spec));
            ((*name).to_owned(), profile)
        });
        Uses::of(&profiles.collect(), |name| name == "taken")
    }

    #[test]
    fn a_pod_uses_the_profile_that_it_selects_and_each_of_its_bases_once() {
        let on = |base: &str| json!({"baseProfileName": base});
        let by_file = uses(&[
            ("base", json!({"allow": ["mkdir"]})),
            ("middle", on("base")),
            // It is not valid, and its pods need its last file all the same.
            ("top", json!({"baseProfileName": "middle", "allow": "text"})),
            ("other", json!({})),
        ]);
        let mut tally = by_file.tally();
        tally.add("shop/till", ["top.json", "middle.json", "none.json"]);
        assert_eq!(tally.of("top").to_string(), "the pod shop/till");
        assert_eq!(tally.of("middle").to_string(), "the pod shop/till");
        let of_base = tally.of("base");
        assert_eq!((of_base.count, of_base.direct), (1, 0));
        let through = of_base.to_string();
        assert!(
            through.starts_with("the pod shop/till (through the profile "),
            "{through}"
        );
        tally.add("shop/web", ["base.json"]);
        let of_base = tally.of("base");
        assert_eq!((of_base.count, of_base.direct), (2, 1));
        assert_eq!(of_base.to_string(), "2 pods, for example shop/web");
        assert_eq!(tally.of("other"), Users::default());
        assert_eq!(tally.of("other").to_string(), "no pod");
    }

    #[test]
    fn a_cycle_ends_and_a_file_has_one_profile() {
        let on = |base: &str| json!({"baseProfileName": base});
        let by_file = uses(&[
            ("a", on("b")),
            ("b", on("a")),
            ("self", on("self")),
            ("taken", on("c")),
            ("c", on("missing")),
        ]);
        let mut tally = by_file.tally();
        tally.add("p", ["a.json", "self.json", "taken.json"]);
        for (profile, direct) in [("a", 1), ("b", 0), ("self", 1)] {
            let users = tally.of(profile);
            assert_eq!((users.count, users.direct), (1, direct), "{profile}");
        }
        assert_eq!(tally.of("c").count, 0);
        tally.add("q", ["c.json"]);
        assert_eq!(tally.of("missing").count, 1);
    }
}
