//! Writes the objects that carry rules, and notices who else has changed them.

use super::{
    FIELD_MANAGER,
    carrier::{CarrierError, Overwritten},
};
use crate::{
    admission::policies::{LIVE_ANNOTATION, NAME, VERSION},
    kube::{
        metrics::{ControllerMetrics, admission::AdmissionWrite},
        request::request,
    },
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, PostParams},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What this controller wrote last into each kind of object: the content that it wanted, and the
/// object that the API server made of it.
type Last = BTreeMap<&'static str, (Value, DynamicObject)>;

/// What an object is to hold.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// The field that holds it.
    pub(super) field: &'static str,
    pub(super) value: &'a Value,
    /// The annotations that it gets, or loses.
    pub(super) annotations: &'a [(&'static str, Option<&'static str>)],
}

/// Whether the object with the rules says that it is live.
pub(super) const fn live(is_live: bool) -> (&'static str, Option<&'static str>) {
    (LIVE_ANNOTATION, if is_live { Some("true") } else { None })
}

/// Writes objects of the name [`NAME`].
pub(super) struct Writer {
    metrics: ControllerMetrics,
    last: Mutex<Last>,
}

impl Writer {
    pub(super) fn new(metrics: ControllerMetrics) -> Writer {
        Writer {
            metrics,
            last: Mutex::default(),
        }
    }

    /// Writes an object, unless it is as wanted. Returns it if somebody else had changed it.
    pub(super) async fn write(
        &self,
        api: &Api<DynamicObject>,
        kind: &'static str,
        seen: &DynamicObject,
        content: &Content<'_>,
    ) -> Result<Option<Overwritten>, CarrierError> {
        let field = content.field;
        let last = self.last().get(kind).cloned();
        // The watch may not have shown yet what was written last.
        let now = match &last {
            Some((_, last)) if version(last) > version(seen) => last,
            _ => seen,
        };
        let (is_as_accepted, is_as_wanted_last) = match &last {
            Some((wanted_last, last)) => {
                let is_as_accepted = now.data.get(field) == last.data.get(field);
                (is_as_accepted, wanted_last == content.value)
            }
            None => (false, false),
        };
        let has_content = now.data.get(field).map_or_else(
            || content.value.as_array().is_some_and(Vec::is_empty),
            |found| found == content.value,
        );
        let has_annotations = content
            .annotations
            .iter()
            .all(|(key, value)| now.annotations().get(*key).map(String::as_str) == *value);
        if (has_content || is_as_accepted && is_as_wanted_last) && has_annotations {
            return Ok(None);
        }
        let mut object = now.clone();
        object.data[field] = content.value.clone();
        for (key, value) in content.annotations {
            match value {
                Some(value) => object
                    .annotations_mut()
                    .insert((*key).to_owned(), (*value).to_owned()),
                None => object.annotations_mut().remove(*key),
            };
        }
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let accepted = request(api.replace(NAME, &parameters, &object))
            .await
            .map_err(|source| CarrierError::Refused { kind, source })?;
        self.metrics.admission.count(AdmissionWrite::Policy);
        let reference = ObjectReference {
            api_version: Some(format!("{}/{}", VERSION.0, VERSION.1)),
            kind: Some(kind.to_owned()),
            name: Some(NAME.to_owned()),
            uid: now.uid(),
            ..ObjectReference::default()
        };
        let note = format!("{kind} {NAME} was changed by somebody else, and is as before again");
        self.last().insert(kind, (content.value.clone(), accepted));
        let is_foreign = last.is_some() && !is_as_accepted;
        Ok(is_foreign.then_some(Overwritten { reference, note }))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resource version as a number: of two, the higher one is newer.
fn version(object: &DynamicObject) -> u64 {
    let version = object.resource_version();
    version.and_then(|it| it.parse().ok()).unwrap_or_default()
}
