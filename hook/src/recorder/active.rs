//! The state of a running recording, as stored in its file in `.active`.

use super::place::Place;
use portcullis_profile::{Engine, select::identity::Identity, settings::Argument};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A running recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The container's ID.
    pub id: String,
    /// Its slot in the kernel.
    pub slot: u32,
    /// The kernel's ID of its cgroup.
    pub cgroup: u64,
    /// That cgroup's folder.
    pub cgroup_folder: PathBuf,
    /// The boot in which it runs.
    pub boot: String,
    /// The engine whose annotations were trusted.
    pub engine: Engine,
    /// The container's identity.
    pub identity: Identity,
    /// The image, if the engine names it.
    pub image: Option<String>,
    /// The container's bundle, which the engine removes with the container.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// The runtime that started it.
    pub runtime: Option<PathBuf>,
    /// Whether that runtime is written in Go.
    #[serde(default)]
    pub go_runtime: bool,
    /// The default action of its filter in `config.json`; `None` if it has no filter.
    pub filter: Option<String>,
    /// Why that filter could not be read in full.
    #[serde(default)]
    pub filter_error: Option<String>,
    /// Whether the calls that its filter denies are executed and logged instead.
    #[serde(default)]
    pub denials_logged: bool,
    /// Whether its processes had loaded their filters before the recording started.
    pub loaded_before: bool,
    /// When it started, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// The folder of its profile.
    pub folder: PathBuf,
    /// Its profile, relative to the folder.
    pub file: PathBuf,
    /// The arguments whose values are recorded, in the order of their watches.
    pub arguments: Vec<Argument>,
    /// The base profile, whose denials stay denials, as it was when the recording started.
    pub base: Option<String>,
    /// Warnings about the base profile.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Active {
    /// Where its profile is written.
    pub fn output(&self) -> Place {
        Place {
            folder: self.folder.clone(),
            file: self.file.clone(),
        }
    }
}

/// An ordinary recording for tests.
#[cfg(test)]
pub(super) fn example() -> Active {
    Active {
        id: "x".into(),
        slot: 0,
        cgroup: 1,
        cgroup_folder: "/c".into(),
        boot: "b".into(),
        engine: Engine::Podman,
        identity: Identity::default(),
        image: None,
        bundle: None,
        runtime: None,
        go_runtime: false,
        filter: Some("SCMP_ACT_ALLOW".into()),
        filter_error: None,
        denials_logged: false,
        loaded_before: false,
        started: 0,
        folder: "/f".into(),
        file: "p.json".into(),
        arguments: vec!["socket:0".parse().unwrap()],
        base: None,
        warnings: Vec::new(),
    }
}
