//! Which container this is, by the keys of the engine that is believed.
//!
//! Pod authors can set any annotation, also ones that look like another engine's own; only the
//! keys that the configured engine writes over theirs are read.

use crate::Engine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Annotations as a runtime is told them.
pub type Annotations = BTreeMap<String, String>;

/// What an engine says of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The pod's namespace; Podman has none.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's UID.
    pub uid: Option<String>,
    /// The container's name within the pod.
    pub container: Option<String>,
    /// Whether it is the pod's sandbox (pause) container.
    pub sandbox: bool,
}

/// The annotation keys that an engine writes itself.
struct Keys {
    namespace: Option<&'static str>,
    pod: Option<&'static str>,
    uid: Option<&'static str>,
    container: &'static str,
    kind: Option<&'static str>,
}

/// CRI-O: `internal/annotations`; containerd: `internal/cri/annotations`; Podman writes none by
/// itself, so its user's `--annotation` names the container.
const fn keys(engine: Engine) -> Keys {
    match engine {
        Engine::CriO => Keys {
            namespace: Some("io.kubernetes.pod.namespace"),
            pod: Some("io.kubernetes.pod.name"),
            uid: Some("io.kubernetes.pod.uid"),
            container: "io.kubernetes.container.name",
            kind: Some("io.kubernetes.cri-o.ContainerType"),
        },
        Engine::Containerd => Keys {
            namespace: Some("io.kubernetes.cri.sandbox-namespace"),
            pod: Some("io.kubernetes.cri.sandbox-name"),
            uid: Some("io.kubernetes.cri.sandbox-uid"),
            container: "io.kubernetes.cri.container-name",
            kind: Some("io.kubernetes.cri.container-type"),
        },
        Engine::Podman => Keys {
            namespace: None,
            pod: None,
            uid: None,
            container: "io.kubernetes.container.name",
            kind: None,
        },
    }
}

impl Identity {
    /// Reads the identity by the engine's own keys; all others are ignored.
    pub fn of(engine: Engine, annotations: &Annotations) -> Identity {
        let keys = keys(engine);
        let get = |key: Option<&str>| {
            key.and_then(|key| annotations.get(key))
                .filter(|value| !value.is_empty())
                .cloned()
        };
        Identity {
            namespace: get(keys.namespace),
            pod: get(keys.pod),
            uid: get(keys.uid),
            container: get(Some(keys.container)),
            sandbox: get(keys.kind).as_deref() == Some("sandbox"),
        }
    }
}

/// Whether the engine itself says that the filter in `config.json` is its default: CRI-O writes
/// what it applied into `io.kubernetes.cri-o.SeccompProfilePath`; the others say nothing.
pub fn says_runtime_default(engine: Engine, annotations: &Annotations) -> bool {
    engine == Engine::CriO
        && annotations
            .get("io.kubernetes.cri-o.SeccompProfilePath")
            .map(String::as_str)
            == Some("RuntimeDefault")
}
