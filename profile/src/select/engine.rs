//! The container engines that Portcullis supports, and everything that differs between them: which
//! keys identify a container, what the engine says about its filter, where its default profile is,
//! how it reads documents. A new engine does not compile until each of these is answered.

use super::{
    annotations::{containerd, crio, podman},
    identity::{Annotations, IdentityKeys},
};
use serde::{Deserialize, Serialize};

macro_rules! engines {
    ($($(#[$meta:meta])* $variant:ident = $name:literal;)+) => {
        /// The engine that wrote `config.json`; decides which annotations are trusted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Engine {
            $($(#[$meta])* #[serde(rename = $name)] $variant,)+
        }

        impl Engine {
            /// Every engine.
            pub const ALL: [Engine; [$($name),+].len()] = [$(Engine::$variant),+];

            /// The name that settings and `--engine` use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Engine::$variant => $name,)+ }
            }
        }
    };
}

engines! {
    /// CRI-O; the default.
    #[default]
    CriO = "cri-o";
    /// containerd with its CRI plugin.
    Containerd = "containerd";
    /// Podman.
    Podman = "podman";
}

/// Where an engine's default profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultProfile {
    /// The first of these files that exists.
    Files(&'static [&'static str]),
    /// The file that the engine's configuration names, if it names one.
    Configured,
    /// It is compiled into the engine and not available as a file.
    BuiltIn,
}

impl Engine {
    /// The engine with this name, or `None`.
    pub fn by_name(name: &str) -> Option<Engine> {
        Engine::ALL
            .into_iter()
            .find(|engine| engine.as_str() == name)
    }

    /// The annotation keys that the engine itself writes, overwriting what the pod's author wrote
    /// (CRI-O `internal/annotations`, containerd `internal/cri/annotations`). Podman writes none;
    /// there, the user names the container with `--annotation`.
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

    /// Whether the engine says that the filter in `config.json` is its default. CRI-O writes which
    /// one it applied to `io.kubernetes.cri-o.SeccompProfilePath`; the others don't say.
    pub fn says_runtime_default(self, annotations: &Annotations) -> bool {
        match self {
            Engine::CriO => annotations
                .get(crio::SECCOMP_PROFILE_PATH)
                .is_some_and(|applied| applied == "RuntimeDefault"),
            Engine::Containerd | Engine::Podman => false,
        }
    }

    /// Where its default profile is. Podman's is in a file of containers-common, or of the node's
    /// owner (`seccomp.json(5)`). CRI-O's is what `seccomp_profile` in its configuration names;
    /// otherwise it is compiled in, as containerd's is.
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

    /// Whether paths in annotations are honoured, inside `[record] folders`. Podman's user can
    /// access the host's files anyway; the author of a pod can't.
    pub const fn honours_author_paths(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => false,
            Engine::Podman => true,
        }
    }

    /// Whether its containers belong to namespaces. If not, `[record] namespaces` does not apply.
    pub const fn has_namespaces(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => true,
            Engine::Podman => false,
        }
    }

    /// The annotation that names a container's image, if the engine writes one.
    pub const fn image_annotation(self) -> Option<&'static str> {
        match self {
            Engine::CriO => Some(crio::IMAGE_NAME),
            Engine::Containerd => Some(containerd::IMAGE_NAME),
            Engine::Podman => None,
        }
    }

    /// The value that it writes into [`MANAGER`](super::annotations::MANAGER), if it does.
    pub const fn manager(self) -> Option<&'static str> {
        match self {
            Engine::CriO => Some("cri-o"),
            Engine::Containerd => None,
            Engine::Podman => Some("libpod"),
        }
    }

    /// Whether it has the hook stage `precreate`, in which `inject` runs.
    pub const fn has_precreate_stage(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => false,
            Engine::Podman => true,
        }
    }

    /// Whether it understands only the OCI form of documents. Then a document in the containers
    /// form would lose its conditions.
    pub const fn reads_oci_form_only(self) -> bool {
        match self {
            Engine::CriO | Engine::Podman => false,
            Engine::Containerd => true,
        }
    }

    /// Whether it drops an empty list of flags, so that the runtime chooses the flags. Podman
    /// writes the configuration itself, and Go leaves out empty lists; the others keep it.
    pub const fn drops_empty_flags(self) -> bool {
        match self {
            Engine::CriO | Engine::Containerd => false,
            Engine::Podman => true,
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
