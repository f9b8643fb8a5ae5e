//! What is known of one recording while it runs, as its file in `.active` holds it.

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
    /// The kernel's number of its cgroup.
    pub cgroup: u64,
    /// That cgroup's folder.
    pub cgroup_folder: PathBuf,
    /// The boot in which it runs.
    pub boot: String,
    /// The engine whose annotations were believed.
    pub engine: Engine,
    /// Which container.
    pub identity: Identity,
    /// The image, where the engine names it.
    pub image: Option<String>,
    /// The container's bundle, which the engine removes with the container.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// The runtime that started it.
    pub runtime: Option<PathBuf>,
    /// Whether that runtime is written in Go.
    #[serde(default)]
    pub go_runtime: bool,
    /// The default action of the filter that `config.json` gives it; `None`: no filter.
    pub filter: Option<String>,
    /// Why that filter could not be read in full.
    #[serde(default)]
    pub filter_error: Option<String>,
    /// Whether what that filter denies is logged and executed.
    #[serde(default)]
    pub denials_logged: bool,
    /// Whether its processes had the filters of their window before the recording started.
    pub loaded_before: bool,
    /// When it started, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// The folder of its profile.
    pub folder: PathBuf,
    /// Its profile, relative to the folder.
    pub file: PathBuf,
    /// Arguments whose values are recorded, in the order of their watches.
    pub arguments: Vec<Argument>,
    /// The profile whose denials stay denials, as it was when the recording started.
    pub base: Option<String>,
    /// What is remarkable in that profile.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Active {
    /// Where its profile goes.
    pub fn output(&self) -> Place {
        Place {
            folder: self.folder.clone(),
            file: self.file.clone(),
        }
    }
}

/// A recording for tests, in which nothing is special.
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
