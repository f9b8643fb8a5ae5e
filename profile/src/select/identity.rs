//! Which container this is, according to the configured engine.
//!
//! Pod authors can set any annotation, even ones that look like those of another engine. So only
//! keys that the configured engine itself overwrites are read.

use crate::{Engine, gate::decision::plain};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The annotations in `config.json`.
pub type Annotations = BTreeMap<String, String>;

/// What an engine says about a container.
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

/// The annotation keys that identify a container.
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
    /// Reads the identity from the engine's own keys; all others are ignored.
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

/// Names the container, with special characters escaped.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
        f.write_str("pod ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", plain(namespace))?;
        }
        write!(
            f,
            "{}, container {}",
            part(&self.pod),
            part(&self.container)
        )
    }
}
