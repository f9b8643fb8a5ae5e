//! What the controller keeps of a profile.

use crate::{
    crd::{SeccompProfile, SeccompProfileStatus},
    resolve::has_base,
    stored::StoredProfile,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

/// What keeps a profile that is in use.
pub(super) const FINALIZER: &str = "portcullis.dev/in-use";

/// What a profile's file has to be: its digest, nothing where it is disabled, or why there is none.
pub(super) type Verdict = Result<Option<u64>, String>;

/// A profile.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) finalizers: Vec<String>,
    /// Whether it is to go.
    pub(super) deleted: bool,
    /// Its specification as JSON, which others may stand on.
    pub(super) spec: Box<str>,
    /// Whether it stands on another.
    pub(super) based: bool,
    pub(super) status: Option<SeccompProfileStatus>,
    /// As long as neither it nor what it stands on has changed.
    pub(super) verdict: Option<Verdict>,
}

impl Profile {
    pub(super) fn new(stored: StoredProfile) -> Profile {
        let meta = stored.meta();
        Profile {
            name: stored.name_any(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            generation: meta.generation,
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleted: meta.deletion_timestamp.is_some(),
            based: has_base(&stored.spec),
            // What is not understood is written anew.
            status: serde_json::from_str(&stored.status).unwrap_or_default(),
            spec: stored.spec,
            verdict: None,
        }
    }

    /// Whether our finalizer is on it.
    pub(super) fn is_held(&self) -> bool {
        self.finalizers
            .iter()
            .any(|finalizer| finalizer == FINALIZER)
    }

    /// For events.
    pub(super) fn reference(&self) -> ObjectReference {
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
