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

    /// Whether paths that a container's author writes into annotations are honoured (inside
    /// `[record] folders`): Podman's user has the host's files anyway, a pod's author does not.
    pub const fn honours_author_paths(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => false,
            Engine::Podman => true,
        }
    }

    /// Whether its containers belong to namespaces; elsewhere no list of namespaces says who may
    /// record.
    pub const fn has_namespaces(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => true,
            Engine::Podman => false,
        }
    }

    /// The annotation in which it writes a container's image, if it has one.
    pub const fn image_annotation(self) -> Option<&'static str> {
        match self {
            Engine::CriO => Some("io.kubernetes.cri-o.ImageName"),
            Engine::Containerd => Some("io.kubernetes.cri.image-name"),
            Engine::Podman => None,
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
