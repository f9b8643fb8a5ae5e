//! The last valid contents of each manifest. They outlive the agent, so that a manifest that is
//! broken when the agent starts removes no file.

use super::Profiles;
use crate::{
    agent::{copies::Copies, source::packed_spec::PackedSpec},
    resolve::digest,
};
use portcullis_profile::root::{ReadError, read_named};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The largest copy that is read, in bytes. As JSON, a manifest takes more space.
const MAX_BYTES: u64 = 64 << 20;

/// The contents of a copy: the manifest and its profiles by name, with their specifications as JSON.
#[derive(Serialize, Deserialize)]
struct Remembered {
    manifest: PathBuf,
    profiles: BTreeMap<String, String>,
}

/// The copies, one for each manifest.
#[derive(Debug)]
pub(super) struct LastGood(Copies);

impl LastGood {
    /// Opens the folder of the copies, creating it if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<LastGood> {
        Copies::open(state, "manifests").map(LastGood)
    }

    fn file(manifest: &Path) -> String {
        digest(manifest.as_os_str().as_bytes()) + ".json"
    }

    /// The last valid contents of a manifest; `None` if it is new, or its copy can't be used, which
    /// is logged.
    pub(super) fn load(&self, manifest: &Path) -> Option<Profiles> {
        let path = self.0.path().join(LastGood::file(manifest));
        let unusable = |why: &dyn std::fmt::Display| {
            let manifest = manifest.display();
            tracing::warn!(
                "{manifest}: its saved copy {} can't be used: {why}",
                path.display()
            );
        };
        let text = match read_named(&path, MAX_BYTES) {
            Ok(text) => text,
            Err(ReadError::Root { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return None;
            }
            Err(error) => {
                unusable(&error);
                return None;
            }
        };
        match serde_json::from_slice::<Remembered>(&text) {
            Ok(copy) if copy.manifest == manifest => {
                let profiles = copy.profiles.into_iter();
                Some(
                    profiles
                        .map(|(name, spec)| (name, PackedSpec::of(&spec)))
                        .collect(),
                )
            }
            Ok(_) => {
                unusable(&"it belongs to another manifest");
                None
            }
            Err(error) => {
                unusable(&error);
                None
            }
        }
    }

    /// Stores the contents of a manifest.
    pub(super) fn save(&self, manifest: &Path, profiles: &Profiles) -> io::Result<()> {
        let profiles = profiles.iter();
        let copy = Remembered {
            manifest: manifest.to_owned(),
            profiles: profiles
                .map(|(name, spec)| (name.clone(), spec.text()))
                .collect(),
        };
        let text = serde_json::to_vec(&copy)?;
        self.0.replace(&LastGood::file(manifest), &[&text], true)
    }

    /// Forgets the manifests that are gone.
    pub(super) fn keep_only(&self, manifests: &[PathBuf]) -> io::Result<()> {
        let kept: BTreeSet<String> = manifests.iter().map(|path| LastGood::file(path)).collect();
        for entry in fs::read_dir(self.0.path())? {
            let entry = entry?;
            let is_kept = entry
                .file_name()
                .to_str()
                .is_some_and(|name| kept.contains(name));
            if !is_kept {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
