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

/// The annotation keys that say who a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in Identity
pub struct IdentityKeys {
    pub namespace: Option<&'static str>,
    pub pod: Option<&'static str>,
    pub uid: Option<&'static str>,
    pub container: &'static str,
    pub kind: Option<&'static str>,
}

impl Identity {
    /// Reads the identity by the engine's own keys; all others are ignored.
    pub fn of(engine: Engine, annotations: &Annotations) -> Identity {
        let keys = engine.identity_keys();
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
