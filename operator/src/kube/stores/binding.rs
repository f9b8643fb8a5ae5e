//! What is kept of a `SeccompBinding`.

use crate::{
    crd::{SeccompBinding, SeccompBindingSpec, SeccompBindingStatus},
    kube::stored::{StoredBinding, Unreadable, spec},
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

/// A binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The generation of its specification.
    pub generation: Option<i64>,
    /// Whether its deletion was requested.
    pub deleted: bool,
    /// Its specification.
    pub spec: Result<SeccompBindingSpec, Unreadable>,
    /// Its status; `None` if there is none or it can't be parsed, so that it is rewritten.
    pub status: Option<SeccompBindingStatus>,
}

impl Binding {
    /// What is kept of a stored binding.
    pub fn new(stored: &StoredBinding) -> Binding {
        let meta = stored.meta();
        Binding {
            namespace: stored.namespace().unwrap_or_default(),
            name: stored.name_any(),
            uid: meta.uid.clone(),
            generation: meta.generation,
            deleted: meta.deletion_timestamp.is_some(),
            spec: spec(&stored.spec),
            status: serde_json::from_str(&stored.status).unwrap_or_default(),
        }
    }

    /// A reference to it, for events.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(SeccompBinding::api_version(&()).into_owned()),
            kind: Some(SeccompBinding::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}
