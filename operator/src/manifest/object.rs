//! From the values in a manifest to profiles, as kubectl and the API server would accept them.

use super::schema::{self, UNKNOWN};
use crate::{
    crd::{self, GROUP, SeccompProfile},
    resolve::{MAX_NAME, check_name},
};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{CustomResourceExt, Resource};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

/// A profile in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProfile {
    /// Its name.
    pub name: String,
    /// Its specification as JSON.
    pub spec: Box<str>,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations.
    pub annotations: Texts,
}

/// Labels or annotations.
pub type Texts = BTreeMap<String, String>;

impl ManifestProfile {
    /// A profile of this name and specification.
    ///
    /// # Errors
    /// What is wrong with it, one line each.
    pub fn of(name: &str, spec: &Value) -> Result<ManifestProfile, Vec<String>> {
        profile(json!({
            "apiVersion": SeccompProfile::api_version(&()), "kind": SeccompProfile::kind(&()),
            "metadata": {"name": name}, "spec": spec,
        }))
    }
}

/// The group of the Security Profiles Operator, whose manifests move over by their `apiVersion`.
const NAMESPACED_GROUP: &str = "security-profiles-operator.x-k8s.io";

/// The fields of `metadata`.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The kinds of our group.
static KINDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let definitions = crd::definitions().into_iter();
    definitions.map(|it| it.spec.names.kind).collect()
});

static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
    let versions = SeccompProfile::crd().spec.versions;
    let schema = versions.into_iter().find_map(|version| version.schema);
    schema
        .and_then(|schema| schema.open_api_v3_schema)
        .unwrap_or_default()
});

/// The profiles in a value, and its problems. A list is taken apart, whatever its kind: like
/// kubectl, we consider anything with `items` a list.
pub(super) fn take(
    mut value: Value,
    profiles: &mut Vec<ManifestProfile>,
    problems: &mut Vec<String>,
) {
    let Value::Object(object) = &mut value else {
        return problems.push("not a Kubernetes object: it has no fields".to_owned());
    };
    let text = |object: &serde_json::Map<String, Value>, key: &str| {
        let text = object.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    if let Some(Value::Array(items)) = object.get_mut("items") {
        let item_kind = kind.strip_suffix("List").unwrap_or(&kind);
        for mut item in std::mem::take(items) {
            // A list of one kind need not repeat the kind.
            if let Value::Object(item) = &mut item
                && text(item, "apiVersion").is_empty()
                && text(item, "kind").is_empty()
            {
                item.insert("apiVersion".to_owned(), version.clone().into());
                item.insert("kind".to_owned(), item_kind.into());
            }
            take(item, profiles, problems);
        }
        return;
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let named = format!("{} {:?}", shortened(&kind), shortened(name));
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
    if !namespace.is_empty() && is_profile(&version, &kind) == Ok(true) {
        tracing::warn!(
            "{named}: the namespace {:?} is ignored: profiles have none, and pods name operator/NAME.json",
            shortened(namespace)
        );
    }
    match is_profile(&version, &kind) {
        Ok(false) => tracing::debug!("{named}: not a SeccompProfile"),
        Ok(true) => match profile(value) {
            Ok(profile) => profiles.push(profile),
            Err(wrong) => problems.extend(wrong.iter().map(|wrong| format!("{named}: {wrong}"))),
        },
        Err(problem) => problems.push(format!("{named}: {problem}")),
    }
}

/// The beginning of a text, for messages.
fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(64).map(|(end, _)| end);
    end.map_or(text, |end| &text[..end])
}

/// Whether these are the version and kind of a profile, or of something that is not ours.
fn is_profile(version: &str, kind: &str) -> Result<bool, String> {
    for (field, value) in [("apiVersion", version), ("kind", kind)] {
        if value.is_empty() {
            return Err(format!("{field}: is required"));
        }
    }
    let ours = SeccompProfile::api_version(&());
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let is_ours = kind == SeccompProfile::kind(&());
    if is_ours && version != ours {
        // There the kind has a namespace, which is a part of the path that pods name.
        let moves = if group == NAMESPACED_GROUP {
            "; profiles have no namespace here: pods name operator/NAME.json instead of \
             operator/NAMESPACE/NAME.json"
        } else {
            ""
        };
        return Err(format!(
            "apiVersion: {version:?} is not supported; use {ours:?}{moves}"
        ));
    }
    if group != GROUP {
        return Ok(false);
    }
    if version != ours || !KINDS.iter().any(|it| it == kind) {
        return Err(format!("{version} has no kind {kind:?}"));
    }
    Ok(is_ours)
}

/// A profile as the API server would store it.
fn profile(mut value: Value) -> Result<ManifestProfile, Vec<String>> {
    let mut problems = Vec::new();
    let metadata = metadata(&value["metadata"]).unwrap_or_else(|wrong| {
        problems.extend(wrong);
        ObjectMeta::default()
    });
    let held = schema::hold(&SCHEMA, &mut value);
    // The API server drops the status, but only after looking for unknown fields.
    let counts = |problem: &String| !problem.starts_with("status") || problem.ends_with(UNKNOWN);
    problems.extend(held.into_iter().filter(counts));
    if problems.is_empty() {
        let spec = value["spec"].to_string().into_boxed_str();
        return Ok(ManifestProfile {
            name: metadata.name.unwrap_or_default(),
            spec,
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
        });
    }
    Err(problems)
}

fn metadata(metadata: &Value) -> Result<ObjectMeta, Vec<String>> {
    let mut problems: Vec<String> = metadata
        .as_object()
        .into_iter()
        .flat_map(|metadata| metadata.keys())
        .filter(|key| !METADATA.contains(&key.as_str()))
        .map(|key| format!("metadata.{key}: unknown field"))
        .collect();
    let read = match Option::<ObjectMeta>::deserialize(metadata) {
        Ok(read) => read.unwrap_or_default(),
        Err(error) => {
            problems.push(format!("metadata: {error}"));
            return Err(problems);
        }
    };
    let name = read.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        problems.push("metadata.name: is required".to_owned());
    } else if name.len() <= MAX_NAME
        && let Err(error) = check_name(name)
    {
        problems.push(error.to_string());
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests;
