//! Profiles from a folder of manifests, for hosts without a cluster.
//!
//! If a manifest contains a mistake, its valid objects take effect, and the others keep their last
//! valid version, even from before the agent was started.

mod last_good;

use super::packed_spec::PackedSpec;
use crate::{
    manifest::{Parsed, parse},
    resolve::digest,
};
use last_good::LastGood;
use portcullis_profile::root::{ReadError, read_named};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs, io,
    path::{Path, PathBuf},
};

/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// How many problems of a manifest are logged.
const MAX_LOGGED: usize = 20;

/// Profiles by name, with their specifications.
type Profiles = BTreeMap<String, PackedSpec>;

/// What is known about one manifest.
#[derive(Debug, Default)]
struct Manifest {
    /// The digest of its text, or of the reason why it can't be read.
    digest: String,
    /// The profiles that it has now.
    said: Profiles,
    /// The profiles that take effect: while it contains a mistake, also its earlier ones.
    counting: Profiles,
    is_right: bool,
    /// Whether nothing else can count: not so where something is wrong and it is not known what it
    /// said before.
    is_known: bool,
}

/// What a folder says.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The profiles that count.
    pub(super) profiles: Profiles,
    /// Whether these are all: not so where a manifest is wrong that was never right before.
    pub(super) is_complete: bool,
}

/// A folder of manifests.
#[derive(Debug)]
pub(super) struct Manifests {
    last_good: LastGood,
    known: BTreeMap<PathBuf, Manifest>,
    /// The profiles that were logged as duplicates, each with its second manifest.
    repeated: BTreeSet<(PathBuf, String)>,
}

impl Manifests {
    /// Opens the copies in the agent's state.
    ///
    /// # Errors
    /// If these can't be read or created.
    pub(super) fn open(state: &Path) -> io::Result<Manifests> {
        Ok(Manifests {
            last_good: LastGood::open(state)?,
            known: BTreeMap::new(),
            repeated: BTreeSet::new(),
        })
    }

    /// Reads every `.yaml`, `.yml` and `.json` file in a folder. Problems are logged once for each
    /// change. If two manifests have the same profile, the first one by name counts.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub(super) fn read(&mut self, folder: &Path) -> io::Result<Listing> {
        let mut files = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| is_manifest(file));
        files.sort();
        self.known.retain(|file, _| files.contains(file));
        for file in &files {
            self.look_at(file);
        }
        if let Err(error) = self.last_good.keep_only(&files) {
            tracing::warn!("the copies of manifests: {error}");
        }
        Ok(Listing {
            profiles: self.counting(),
            is_complete: self.known.values().all(|manifest| manifest.is_known),
        })
    }

    /// Reads a manifest if it has changed.
    fn look_at(&mut self, file: &Path) {
        let text = text(file);
        let digest = match &text {
            Ok(text) => digest(text),
            Err(error) => error.clone(),
        };
        let before = match self.known.remove(file) {
            Some(same) if same.digest == digest => {
                self.known.insert(file.to_owned(), same);
                return;
            }
            before => before,
        };
        let mut parsed = text.map_or_else(
            |error| Parsed {
                problems: vec![error],
                ..Parsed::default()
            },
            |text| parse(&text),
        );
        let mut said = Profiles::new();
        for profile in parsed.profiles {
            match said.entry(profile.name) {
                Entry::Vacant(entry) => drop(entry.insert(PackedSpec::of(&profile.spec))),
                Entry::Occupied(entry) => {
                    let problem = format!(
                        "SeccompProfile {:?} is defined twice in this file; the first definition counts",
                        entry.key()
                    );
                    parsed.problems.push(problem);
                }
            }
        }
        let is_right = parsed.problems.is_empty();
        let was_right = before.as_ref().is_none_or(|before| before.is_right);
        let counted = match before {
            Some(before) => before.is_known.then_some(before.counting),
            None => self.last_good.load(file),
        };
        let is_known = is_right || counted.is_some();
        let mut counting = said.clone();
        if is_right {
            if !was_right {
                tracing::info!("{}: valid again", file.display());
            }
        } else {
            let mut kept = counted.clone().unwrap_or_default();
            kept.retain(|name, _| !said.contains_key(name));
            log(file, &parsed.problems, &kept);
            if !is_known {
                tracing::error!(
                    "{}: has never been valid, so it is not known which profiles it defines; no \
                     profile's file is removed until the manifest is fixed or deleted",
                    file.display()
                );
            }
            counting.extend(kept);
        }
        // What is not known to be all must not be taken for it after a restart.
        if is_known
            && counted.as_ref() != Some(&counting)
            && let Err(error) = self.last_good.save(file, &counting)
        {
            tracing::warn!(
                "{}: no copy is kept for the next start: {error}",
                file.display()
            );
        }
        let manifest = Manifest {
            digest,
            said,
            counting,
            is_right,
            is_known,
        };
        self.known.insert(file.to_owned(), manifest);
    }

    /// The profiles that take effect. A manifest's current contents override another one's earlier
    /// contents.
    fn counting(&mut self) -> Profiles {
        let mut profiles = Profiles::new();
        let mut repeated = BTreeSet::new();
        for (file, manifest) in &self.known {
            for (name, spec) in &manifest.said {
                if profiles.contains_key(name) {
                    repeated.insert((file.clone(), name.clone()));
                } else {
                    profiles.insert(name.clone(), spec.clone());
                }
            }
        }
        for (file, name) in repeated.difference(&self.repeated) {
            let file = file.display();
            tracing::error!(
                "{file}: SeccompProfile {name:?} is already defined in an earlier manifest, which counts"
            );
        }
        self.repeated = repeated;
        for manifest in self.known.values() {
            for (name, spec) in &manifest.counting {
                profiles.entry(name.clone()).or_insert_with(|| spec.clone());
            }
        }
        profiles
    }
}

fn log(file: &Path, problems: &[String], kept: &Profiles) {
    let file = file.display();
    for problem in problems.iter().take(MAX_LOGGED) {
        tracing::error!("{file}: {problem}");
    }
    if let Some(more @ 1..) = problems.len().checked_sub(MAX_LOGGED) {
        tracing::error!("{file}: and {more} more problems");
    }
    if !kept.is_empty() {
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        tracing::error!(
            "{file}: keeping the last valid version of {}",
            names.join(", ")
        );
    }
}

fn is_manifest(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let hidden = file
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn text(file: &Path) -> Result<Vec<u8>, String> {
    read_named(file, MAX_BYTES).map_err(|error| match error {
        ReadError::TooLarge { limit } => format!("is larger than {limit} bytes"),
        ReadError::Root { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests;
