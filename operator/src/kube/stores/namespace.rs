//! What is kept of a `Namespace`.

use crate::admission::rules::{MODE_ANNOTATION, PROFILE_ANNOTATION};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry, jiff::Timestamp};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Those of its annotations that are rules.
    pub annotations: BTreeMap<String, String>,
    /// Since when it has had these at the latest, to the second and by the API server's clock; `None` if
    /// it has none, or that is not known.
    pub annotated: Option<Timestamp>,
}

impl Namespace {
    /// What is kept of a stored namespace.
    pub fn new(stored: &impl ResourceExt) -> Namespace {
        let mut annotations = stored.annotations().clone();
        annotations.retain(|key, _| is_rule(key));
        let managed = stored.managed_fields().iter();
        let annotated = managed
            .filter(|entry| sets_a_rule(entry))
            .filter_map(|entry| Some(entry.time.as_ref()?.0))
            .max()
            .filter(|_| !annotations.is_empty());
        Namespace {
            labels: stored.labels().clone(),
            annotations,
            annotated,
        }
    }
}

fn is_rule(annotation: &str) -> bool {
    annotation == PROFILE_ANNOTATION || annotation == MODE_ANNOTATION
}

/// Whether somebody has set an annotation that is a rule with this entry's changes.
fn sets_a_rule(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    let annotations = fields.map(|fields| &fields.0["f:metadata"]["f:annotations"]);
    let mut keys = annotations
        .and_then(|it| it.as_object())
        .into_iter()
        .flatten();
    keys.any(|(key, _)| key.strip_prefix("f:").is_some_and(is_rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace as Object;
    use serde_json::{Value, json};

    fn annotated(annotations: &Value, managed: &[(&str, &str)]) -> Option<String> {
        let managed: Vec<Value> = managed
            .iter()
            .map(|(key, time)| {
                json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                    "time": time, "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, *key: {}}}}})
            })
            .collect();
        let object = json!({"metadata": {"name": "n", "annotations": annotations, "managedFields": managed}});
        let object: Object = serde_json::from_value(object).unwrap();
        Namespace::new(&object)
            .annotated
            .map(|time| time.to_string())
    }

    #[test]
    fn a_rule_is_as_old_as_the_last_change_of_whoever_has_set_it() {
        let rule = json!({PROFILE_ANNOTATION: "web", "other": "x"});
        let (early, late, later) = (
            "2026-01-02T03:04:05Z",
            "2026-01-02T04:04:05Z",
            "2026-01-02T05:04:05Z",
        );
        let profile = format!("f:{PROFILE_ANNOTATION}");
        let mode = format!("f:{MODE_ANNOTATION}");
        for (annotations, managed, expected) in [
            (&rule, vec![(profile.as_str(), early)], Some(early)),
            (
                &rule,
                vec![(&*mode, late), (&*profile, early), ("f:other", later)],
                Some(late),
            ),
            // Who has set it is not known, or it is gone.
            (&rule, vec![("f:other", later)], None),
            (&rule, vec![], None),
            (&json!({}), vec![(&*profile, early)], None),
        ] {
            assert_eq!(
                annotated(annotations, &managed).as_deref(),
                expected,
                "{managed:?}"
            );
        }
    }
}
