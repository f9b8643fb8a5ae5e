//! The container engines that Portcullis works under, and all that differs between them: whose
//! keys say who a container is, what the engine says of its filter, and where its default profile
//! is. A new engine does not compile until each of these is answered.

use super::{
    annotations::{containerd, crio, podman},
    identity::{Annotations, IdentityKeys},
};
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

/// Where an engine's default profile is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultProfile {
    /// The first of these files that exists.
    Files(&'static [&'static str]),
    /// The file that the engine's configuration names, if it names one.
    Configured,
    /// It is compiled into the engine, for this reason not to be had as a file.
    BuiltIn,
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

    /// The annotation keys that the engine writes itself, over whatever the pod's author wrote
    /// (CRI-O `internal/annotations`, containerd `internal/cri/annotations`). Podman writes none, so
    /// that its user's `--annotation` names the container.
    pub const fn identity_keys(self) -> IdentityKeys {
        match self {
            Engine::CriO => IdentityKeys {
                namespace: Some(crio::NAMESPACE),
                pod: Some(crio::POD),
                uid: Some(crio::UID),
                container: crio::CONTAINER,
                kind: Some(crio::CONTAINER_TYPE),
            },
            Engine::Containerd => IdentityKeys {
                namespace: Some(containerd::NAMESPACE),
                pod: Some(containerd::POD),
                uid: Some(containerd::UID),
                container: containerd::CONTAINER,
                kind: Some(containerd::CONTAINER_TYPE),
            },
            Engine::Podman => IdentityKeys {
                namespace: None,
                pod: None,
                uid: None,
                container: podman::CONTAINER,
                kind: None,
            },
        }
    }

    /// Whether the engine itself says that the filter in `config.json` is its default. CRI-O writes
    /// what it applied into `io.kubernetes.cri-o.SeccompProfilePath`; the others say nothing.
    pub fn says_runtime_default(self, annotations: &Annotations) -> bool {
        match self {
            Engine::CriO => annotations
                .get(crio::SECCOMP_PROFILE_PATH)
                .is_some_and(|applied| applied == "RuntimeDefault"),
            Engine::Containerd | Engine::Podman => false,
        }
    }

    /// Where its default profile is: Podman's in containers-common's files, the node owner's own
    /// first (`seccomp.json(5)`); CRI-O's in its configuration's `seccomp_profile`, else compiled in
    /// like containerd's.
    pub const fn default_profile(self) -> DefaultProfile {
        match self {
            Engine::CriO => DefaultProfile::Configured,
            Engine::Containerd => DefaultProfile::BuiltIn,
            Engine::Podman => DefaultProfile::Files(&[
                "/etc/containers/seccomp.json",
                "/usr/share/containers/seccomp.json",
            ]),
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
