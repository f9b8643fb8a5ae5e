//! Which profiles' files a pod uses, by field and by both legacy annotations.
//!
//! Only these parts of a pod are parsed, because a cluster has many pods, and they are large.

use super::gated::{ContainerStatus, GatedPod, gated};
use crate::admission::rules::{BY_BINDING, CHANGED_BY};
use crate::file_name::file_of;
use crate::kube::{
    request::{RequestError, request},
    stored::metadata,
};
use k8s_openapi::{api::core::v1::Pod as Object, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource, ResourceExt, api::ListParams};
pub(super) use portcullis_profile::select::annotations::POD_ANNOTATION as POD;
use portcullis_profile::select::{
    annotations::CONTAINER_ANNOTATION_PREFIX as CONTAINER,
    reference::{ProfilePath, Reference},
};
use serde::{Deserialize, Deserializer};
use std::{borrow::Cow, collections::BTreeSet};

/// How many pods are listed at a time.
const PAGE: u32 = 200;

/// A pod and the files that it uses. A finished pod uses none.
#[derive(Clone, Debug)]
pub struct PodUsage {
    metadata: ObjectMeta,
    used: BTreeSet<String>,
    gated: Option<GatedPod>,
    changed_by: Option<String>,
}

impl PodUsage {
    /// Its running containers that need the gate, if there are any.
    pub fn gated(&self) -> Option<&GatedPod> {
        self.gated.as_ref()
    }

    /// The rules that changed it at admission, if a binding is one of them.
    pub fn changed_by(&self) -> Option<&str> {
        self.changed_by.as_deref()
    }

    /// The pod as `namespace/name`, and the names of the files that it uses; `None` if it uses
    /// none.
    pub fn used(self) -> Option<(String, BTreeSet<String>)> {
        let key = self.key();
        (!self.used.is_empty()).then_some((key, self.used))
    }

    /// The pod as `namespace/name`.
    pub fn key(&self) -> String {
        format!(
            "{}/{}",
            self.namespace().unwrap_or_default(),
            self.name_any()
        )
    }
}

impl<'de> Deserialize<'de> for PodUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = Wire::deserialize(deserializer)?;
        let is_over = wire.is_over();
        let used = if is_over {
            BTreeSet::new()
        } else {
            wire.files()
        };
        let gated = if is_over { None } else { gated(&wire) };
        let annotations = wire.metadata.annotations.take();
        let changed_by = annotations
            .and_then(|mut annotations| annotations.remove(CHANGED_BY))
            .filter(|rules| !is_over && rules.contains(BY_BINDING));
        Ok(PodUsage {
            metadata: wire.metadata,
            used,
            gated,
            changed_by,
        })
    }
}

impl Resource for PodUsage {
    type DynamicType = ();
    type Scope = <Object as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        Object::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        Object::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        Object::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        Object::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Deserialize)]
pub(super) struct Wire {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Option<Spec>,
    #[serde(default)]
    pub(super) status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) node_name: Option<String>,
    pub(super) security_context: Option<Context>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

impl Spec {
    pub(super) fn containers(&self) -> impl Iterator<Item = &Container> {
        let all = [
            &self.containers,
            &self.init_containers,
            &self.ephemeral_containers,
        ];
        all.into_iter().flatten().flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    #[serde(default)]
    pub(super) name: String,
    pub(super) security_context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Context {
    pub(super) seccomp_profile: Option<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) localhost_profile: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    phase: Option<String>,
    pub(super) container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) init_container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

impl Wire {
    /// Whether all its containers have ended.
    fn is_over(&self) -> bool {
        let phase = self
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }

    fn files(&self) -> BTreeSet<String> {
        let containers = || self.spec.iter().flat_map(Spec::containers);
        // Anyone can write annotations for containers that the pod does not have; these select
        // nothing.
        let has = |name: &str| containers().any(|container| container.name == name);
        let by_annotation = self.metadata.annotations.iter().flatten();
        let by_annotation = by_annotation
            .filter(|(key, _)| *key == POD || key.strip_prefix(CONTAINER).is_some_and(has))
            .filter_map(|(_, value)| match value.parse() {
                Ok(Reference::Localhost(path)) => Some(path),
                _ => None,
            });
        let of_pod = self.spec.iter().map(|spec| &spec.security_context);
        let contexts = containers()
            .map(|container| &container.security_context)
            .chain(of_pod);
        let by_field = contexts.flatten().filter_map(|context| {
            context
                .seccomp_profile
                .as_ref()?
                .localhost_profile
                .as_deref()?
                .parse::<ProfilePath>()
                .ok()
        });
        by_annotation
            .chain(by_field)
            .filter_map(|path| file_of(&path).map(str::to_owned))
            .collect()
    }
}

/// Lists the current pods that use files from the API server, because a watch may lag behind a
/// deletion that was seen. `each_page` is called before each request, `each_pod` with each pod and
/// the names of its files.
///
/// # Errors
/// [`RequestError`], if a page of the list can't be fetched.
pub async fn list_using(
    pods: &Api<PodUsage>,
    each_page: impl Fn(),
    mut each_pod: impl FnMut(&str, &BTreeSet<String>),
) -> Result<(), RequestError> {
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        each_page();
        let page = request(pods.list(&parameters)).await?;
        for (pod, used) in page.items.into_iter().filter_map(PodUsage::used) {
            each_pod(&pod, &used);
        }
        match page.metadata.continue_ {
            Some(more) if !more.is_empty() => parameters = parameters.continue_token(&more),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(pod: serde_json::Value) -> Vec<String> {
        let pod: PodUsage = serde_json::from_value(pod).unwrap();
        pod.used()
            .map_or_else(Vec::new, |(_, used)| used.into_iter().collect())
    }

    #[test]
    fn fields_and_annotations_count_and_finished_pods_do_not() {
        let by = |name: &str| {
            json!({"name": name, "securityContext": {"seccompProfile":
                {"type": "Localhost", "localhostProfile": format!("operator/{name}.json")}}})
        };
        let mut pod = json!({
            "metadata": {"annotations": {POD: "localhost/operator/a.json",
                format!("{CONTAINER}c"): "localhost/operator/b.json", "other": "localhost/operator/no.json"}},
            "spec": {"containers": [by("c")], "initContainers": [by("d")],
                "ephemeralContainers": [by("e")], "securityContext": {"seccompProfile":
                {"type": "Localhost", "localhostProfile": "operator/f.json"}}}});
        let used = ["a", "b", "c", "d", "e", "f"].map(|name| format!("{name}.json"));
        assert_eq!(uses(pod.clone()), used);
        pod["status"] = json!({"phase": "Succeeded"});
        assert!(uses(pod).is_empty());
    }

    #[test]
    fn a_path_counts_however_it_is_written_if_it_leads_to_the_file() {
        for (path, used) in [
            ("./operator/a.json", &["a.json"][..]),
            ("operator//a.json", &["a.json"]),
            ("operator/./a.json", &["a.json"]),
            ("/operator/a.json", &[]),
            ("operator/../operator/a.json", &[]),
            ("other/a.json", &[]),
        ] {
            let field = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": path}});
            let by_field = json!({"metadata": {}, "spec": {"securityContext": field}});
            assert_eq!(uses(by_field), used, "{path}");
            let annotations = json!({POD: format!("localhost/{path}")});
            let by_annotation = json!({"metadata": {"annotations": annotations}});
            assert_eq!(uses(by_annotation), used, "{path}");
        }
    }

    #[test]
    fn an_annotation_counts_only_for_a_container_that_the_pod_has() {
        for (field, counts) in [
            ("containers", true),
            ("initContainers", true),
            ("ephemeralContainers", true),
            ("others", false),
        ] {
            for (name, is_there) in [("x", true), ("y", false), ("", false)] {
                let pod = json!({
                    "metadata": {"annotations": {
                        format!("{CONTAINER}{name}"): "localhost/operator/a.json"}},
                    "spec": {field: [{"name": "x"}]}});
                let expected: &[&str] = if counts && is_there { &["a.json"] } else { &[] };
                assert_eq!(uses(pod), expected, "{field}, {name:?}");
            }
        }
    }

    #[test]
    fn a_pod_that_says_little_uses_nothing() {
        for pod in [
            json!({"metadata": {}}),
            json!({"metadata": {"annotations": null}, "spec": {"containers": null,
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "status": {}}),
        ] {
            assert!(uses(pod).is_empty());
        }
    }
}
