//! What each manifest said when it was last right. It outlives the agent, so that a manifest that is
//! broken when the agent starts takes no file away.

use super::Profiles;
use crate::resolve::digest;
use portcullis_profile::root::{ReadError, read_named};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

/// The largest copy that is read, in bytes: a manifest in another notation.
const MAX_BYTES: u64 = 64 << 20;
const TEMPORARY: &str = ".new";

/// What a file of the folder has.
#[derive(Serialize, Deserialize)]
struct Copy {
    manifest: PathBuf,
    profiles: Profiles,
}

/// The folder of the copies, one for each manifest.
#[derive(Debug)]
pub(super) struct LastGood {
    folder: PathBuf,
}

impl LastGood {
    /// Opens the folder below the agent's state, and makes it first if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<LastGood> {
        let folder = state.join("manifests");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(LastGood { folder })
    }

    fn file(manifest: &Path) -> String {
        digest(manifest.as_os_str().as_bytes()) + ".json"
    }

    /// What a manifest said; `None` if it was never seen right, or its copy can't be used, which is
    /// logged.
    pub(super) fn load(&self, manifest: &Path) -> Option<Profiles> {
        let path = self.folder.join(LastGood::file(manifest));
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
        match serde_json::from_slice::<Copy>(&text) {
            Ok(copy) if copy.manifest == manifest => Some(copy.profiles),
            Ok(_) => {
                unusable(&"it is of another manifest");
                None
            }
            Err(error) => {
                unusable(&error);
                None
            }
        }
    }

    /// Keeps what a manifest says.
    pub(super) fn save(&self, manifest: &Path, profiles: &Profiles) -> io::Result<()> {
        let copy = Copy {
            manifest: manifest.to_owned(),
            profiles: profiles.clone(),
        };
        let new = self.folder.join(TEMPORARY);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(&copy)?)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(LastGood::file(manifest)))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets the manifests that are gone.
    pub(super) fn keep_only(&self, manifests: &[PathBuf]) -> io::Result<()> {
        let kept: BTreeSet<String> = manifests.iter().map(|path| LastGood::file(path)).collect();
        for entry in fs::read_dir(&self.folder)? {
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
