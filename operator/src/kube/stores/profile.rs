//! What is kept of a `SeccompProfile`.

use crate::{
    crd::{SeccompProfile, SeccompProfileStatus},
    kube::stored::StoredProfile,
    resolve::base_of,
};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{Resource, ResourceExt};
use std::sync::Arc;

/// The finalizer that keeps a profile from being deleted while pods use it.
pub const FINALIZER: &str = "portcullis.dev/in-use";

/// A profile.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its UID, for references in events.
    uid: Option<String>,
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
    /// Its specification as JSON.
    pub spec: Arc<str>,
    /// The base that its specification names.
    pub base: Option<String>,
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
            base: base_of(&stored.spec),
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

#[cfg(test)]
impl Profile {
    /// A profile of this name and specification, generation 1.
    pub(crate) fn of(name: &str, spec: &serde_json::Value) -> Profile {
        let object = serde_json::json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
        Profile::new(serde_json::from_str(&object.to_string()).unwrap())
    }
}
