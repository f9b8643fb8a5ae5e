//! Objects as stored: the metadata that we need, and everything else as raw JSON.
//!
//! An object may have been stored under an older, laxer schema, or while its definition was being
//! changed. Each one is decoded on its own, so that an object that can't be parsed does not break a
//! list or a watch. This also saves memory.

use crate::crd::{SeccompBinding, SeccompNode, SeccompNodeSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

/// The annotation of a profile that was made of a `ConfigMap`'s key: `NAME/KEY`. Annotations that begin
/// like it are kept, too.
pub const CONFIG_MAP: &str = "portcullis.dev/config-map";
/// The annotation of a profile that the controller has made of an artifact, which it names.
pub const ARTIFACT: &str = "portcullis.dev/artifact";

/// An object of one of our kinds.
#[derive(Clone, Debug)]
pub struct Stored<K> {
    metadata: ObjectMeta,
    /// Its specification as JSON; `null` if it has none.
    pub spec: Box<str>,
    /// Its status as JSON; `null` if it has none.
    pub status: Box<str>,
    kind: PhantomData<fn() -> K>,
}

/// A stored profile.
pub type StoredProfile = Stored<SeccompProfile>;
/// A stored binding.
pub type StoredBinding = Stored<SeccompBinding>;
/// A stored report of a node.
pub type StoredNode = Stored<SeccompNode>;

/// The metadata that we need. Managed fields are left out: they take more memory than all the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// Deserializes the needed metadata, and skips the rest.
///
/// # Errors
/// Those of the deserializer.
pub fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let read = Metadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        generation: read.generation,
        creation_timestamp: read.creation_timestamp,
        deletion_timestamp: read.deletion_timestamp,
        finalizers: read.finalizers,
        annotations: read.annotations,
        owner_references: read.owner_references,
        ..ObjectMeta::default()
    })
}

impl<'de, K> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(deserialize_with = "metadata")]
            metadata: ObjectMeta,
            spec: Option<Box<RawValue>>,
            status: Option<Box<RawValue>>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let text = |value: Option<Box<RawValue>>| value.map_or_else(|| "null".into(), Box::from);
        let mut metadata = wire.metadata;
        // The others may be large, and nobody needs them.
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|key, _| key == ARTIFACT || key.starts_with(CONFIG_MAP));
        }
        Ok(Stored {
            metadata,
            spec: text(wire.spec),
            status: text(wire.status),
            kind: PhantomData,
        })
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A part of a stored object that can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored {part} can't be parsed: {error}")]
pub struct Unreadable {
    part: &'static str,
    error: String,
}

/// Decodes a stored specification.
///
/// # Errors
/// [`Unreadable`], if it does not fit the type.
pub fn spec<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable {
        part: "spec",
        error: error.to_string(),
    })
}

impl StoredNode {
    /// Decodes the report.
    ///
    /// # Errors
    /// [`Unreadable`], if it is not a report.
    pub fn report(&self) -> Result<SeccompNodeSpec, Unreadable> {
        spec(&self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::SeccompProfileSpec;
    use kube::{
        ResourceExt,
        api::{ObjectList, WatchEvent},
    };

    const HOSTILE: &str = r#"{"metadata": {"name": "a", "managedFields": [{"x": 1}]},
        "spec": {"allow": "text", "defaultErrnoRet": 99999999999}, "status": 7}"#;

    #[test]
    fn an_object_that_can_not_be_understood_breaks_no_list_and_no_watch() {
        let list = format!(
            r#"{{"kind": "x", "apiVersion": "y", "metadata": {{}}, "items":
            [{HOSTILE}, {{"metadata": {{"name": "b"}}}}, {{"metadata": {{"name": "c"}}, "spec": {{"allow": ["mkdir"]}}}}]}}"#
        );
        let list: ObjectList<StoredProfile> = serde_json::from_str(&list).unwrap();
        let names: Vec<String> = list.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(list.items[0].metadata.managed_fields.is_none());
        let read: Vec<bool> = list
            .items
            .iter()
            .map(|item| spec::<SeccompProfileSpec>(&item.spec).is_ok())
            .collect();
        assert_eq!(read, [false, false, true]);
        let event = format!(r#"{{"type": "ADDED", "object": {HOSTILE}}}"#);
        let event: WatchEvent<StoredProfile> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Added(object) = event else {
            panic!("{event:?}");
        };
        let error = spec::<SeccompProfileSpec>(&object.spec).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the stored spec can't be parsed: "),
            "{error}"
        );
    }
}
