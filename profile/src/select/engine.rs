//! The container engines that Portcullis works under, and what differs between them.

use serde::{Deserialize, Serialize};

/// Who wrote `config.json` and the annotations in it; decides whose keys are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// CRI-O; the default.
    #[default]
    #[serde(rename = "cri-o")]
    CriO,
    /// containerd with its CRI plugin.
    #[serde(rename = "containerd")]
    Containerd,
    /// Podman.
    #[serde(rename = "podman")]
    Podman,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 3] = [Engine::CriO, Engine::Containerd, Engine::Podman];

    /// The name as settings and `--engine` write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Engine::CriO => "cri-o",
            Engine::Containerd => "containerd",
            Engine::Podman => "podman",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
