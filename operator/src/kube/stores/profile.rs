//! What is kept of a `SeccompProfile`.

use crate::{
    crd::{SeccompProfile, SeccompProfileStatus},
    kube::stored::{ARTIFACT, CONFIG_MAP, StoredProfile},
    resolve::{artifact_of, base_of},
};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Resource, ResourceExt};
use portcullis_artifact::Base;
use std::sync::Arc;

/// The finalizer that keeps a profile from being deleted while pods use it.
pub const FINALIZER: &str = "portcullis.dev/in-use";

/// The annotation that says what a `ConfigMap`'s key said when the profile was written.
pub const CONFIG_MAP_DIGEST: &str = "portcullis.dev/config-map-digest";

/// The key of a `ConfigMap` that a profile was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapKey {
    /// `NAME/KEY`.
    pub origin: String,
    /// The digest of what it said.
    pub digest: String,
}

fn config_map(meta: &ObjectMeta) -> Option<ConfigMapKey> {
    let annotations = meta.annotations.as_ref()?;
    let digest = annotations.get(CONFIG_MAP_DIGEST);
    Some(ConfigMapKey {
        origin: annotations.get(CONFIG_MAP)?.clone(),
        digest: digest.cloned().unwrap_or_default(),
    })
}

/// A profile.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its UID, for references in events, and for its deletion.
    pub uid: Option<String>,
    /// The resource version that this was read from.
    pub resource_version: Option<String>,
    /// The generation of its specification.
    pub generation: Option<i64>,
    /// When it was created. A profile without that counts as the oldest.
    pub created: Option<Timestamp>,
    /// All its finalizers, including foreign ones.
    pub finalizers: Vec<String>,
    /// Whether its deletion was requested.
    pub deleted: bool,
    /// The key of a `ConfigMap` that it was made of, if it was.
    pub config_map: Option<ConfigMapKey>,
    /// Its specification as JSON.
    pub spec: Arc<str>,
    /// The namespaces that it is offered to; `None` if it is offered to none, or the selector can't be parsed.
    pub offered_to: Option<LabelSelector>,
    /// The profile that it has as its base.
    pub base: Option<String>,
    /// That base, if it is in a registry.
    pub artifact: Option<Base>,
    /// Whether the controller has made it of an artifact.
    pub is_artifact: bool,
    /// Its status; `None` if there is none or it can't be parsed, so that it is rewritten.
    pub status: Option<SeccompProfileStatus>,
}

impl Profile {
    /// What is kept of a stored profile.
    pub fn new(stored: StoredProfile) -> Profile {
        let meta = stored.meta();
        Profile {
            name: stored.name_any(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            generation: meta.generation,
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleted: meta.deletion_timestamp.is_some(),
            config_map: config_map(meta),
            offered_to: offered_to(&stored.spec),
            base: base_of(&stored.spec),
            artifact: artifact_of(&stored.spec),
            is_artifact: meta
                .annotations
                .as_ref()
                .is_some_and(|all| all.contains_key(ARTIFACT)),
            status: serde_json::from_str(&stored.status).unwrap_or_default(),
            spec: stored.spec.into(),
        }
    }

    /// Whether our finalizer is on it.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers
            .iter()
            .any(|finalizer| finalizer == FINALIZER)
    }

    /// A reference to it, for events.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(SeccompProfile::api_version(&()).into_owned()),
            kind: Some(SeccompProfile::kind(&()).into_owned()),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            ..ObjectReference::default()
        }
    }
}

/// The selector in a specification, whatever else is in it.
fn offered_to(spec: &str) -> Option<LabelSelector> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        offered_to: Option<LabelSelector>,
    }
    serde_json::from_str::<Option<Wire>>(spec).ok()??.offered_to
}

#[cfg(test)]
impl Profile {
    /// A profile of this name and specification, generation 1.
    pub(crate) fn of(name: &str, spec: &serde_json::Value) -> Profile {
        let object = serde_json::json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
        Profile::new(serde_json::from_str(&object.to_string()).unwrap())
    }
}
