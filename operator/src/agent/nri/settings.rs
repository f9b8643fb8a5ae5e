//! The settings of the node parts, read again where their file has changed.

use portcullis_profile::{
    root::{FileVersion, metadata_at_once},
    settings::{Settings, SettingsError},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Settings as they were read; while they are invalid, containers that select something are refused.
pub(super) type Loaded = Arc<Result<Settings, SettingsError>>;

/// The file, with what was read last.
pub(super) struct SettingsFile {
    path: PathBuf,
    /// The seccomp root as the agent sees it.
    root: PathBuf,
    last: Mutex<Option<(Option<FileVersion>, Loaded)>>,
}

impl SettingsFile {
    pub(super) fn new(path: &Path, root: &Path) -> SettingsFile {
        SettingsFile {
            path: path.to_owned(),
            root: root.to_owned(),
            last: Mutex::new(None),
        }
    }

    /// The settings as they are now.
    pub(super) fn read(&self) -> Loaded {
        let version = self.version();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, settings)) = &*last
            && *read == version
        {
            return Arc::clone(settings);
        }
        let settings = Settings::load(&self.path).map(|settings| Settings {
            seccomp_root: self.root.clone(),
            ..settings
        });
        if let Err(error) = &settings {
            tracing::warn!("NRI: {error}; containers that select something are refused");
        }
        let settings = Arc::new(settings);
        *last = Some((version, Arc::clone(&settings)));
        settings
    }

    /// The settings that were read last, if the kernel can tell without waiting for a disk that they are
    /// still those of the file.
    pub(super) fn at_once(&self) -> Option<Loaded> {
        let file = metadata_at_once(&self.path, true)?;
        let version = file.ok().as_ref().map(FileVersion::of);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, settings) = last.as_ref()?;
        (*read == version).then(|| Arc::clone(settings))
    }

    fn version(&self) -> Option<FileVersion> {
        fs::metadata(&self.path).ok().as_ref().map(FileVersion::of)
    }
}
