//! Which profiles a pod uses: by field and by both legacy annotations.
//!
//! Of a pod only what says so is read. A cluster has many, and they are large.

use crate::stored::metadata;
use k8s_openapi::{api::core::v1::Pod as Object, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use portcullis_profile::select::annotations::{
    CONTAINER_ANNOTATION_PREFIX as CONTAINER, POD_ANNOTATION as POD,
};
use serde::{Deserialize, Deserializer};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// How many pods a page of a whole list has.
const PAGE: u32 = 200;

/// A pod, and the profiles that it uses; none where it is over.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    used: BTreeSet<String>,
}

impl Pod {
    /// The pod as it is named in messages, and the names of what it uses; nothing where that is
    /// nothing.
    pub(super) fn usage(self) -> Option<(String, Box<[String]>)> {
        let key = self.key();
        (!self.used.is_empty()).then(|| (key, self.used.into_iter().collect()))
    }

    fn key(&self) -> String {
        format!(
            "{}/{}",
            self.namespace().unwrap_or_default(),
            self.name_any()
        )
    }
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = Wire::deserialize(deserializer)?;
        let used = wire.profiles();
        wire.metadata.annotations = None;
        Ok(Pod {
            metadata: wire.metadata,
            used,
        })
    }
}

impl Resource for Pod {
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
struct Wire {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    security_context: Option<Context>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    security_context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    seccomp_profile: Option<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    localhost_profile: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    phase: Option<String>,
}

impl Wire {
    fn profiles(&self) -> BTreeSet<String> {
        let phase = self
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return BTreeSet::new();
        }
        let by_annotation = self.metadata.annotations.iter().flatten();
        let by_annotation = by_annotation
            .filter(|(key, _)| *key == POD || key.starts_with(CONTAINER))
            .filter_map(|(_, value)| value.strip_prefix("localhost/"));
        let spec = self.spec.iter();
        let contexts = spec.flat_map(|spec| {
            let containers = [
                &spec.containers,
                &spec.init_containers,
                &spec.ephemeral_containers,
            ];
            let containers = containers.into_iter().flatten().flatten();
            containers
                .map(|container| &container.security_context)
                .chain([&spec.security_context])
        });
        let by_field = contexts.flatten().filter_map(|context| {
            context
                .seccomp_profile
                .as_ref()?
                .localhost_profile
                .as_deref()
        });
        by_annotation
            .chain(by_field)
            .filter_map(|path| path.strip_prefix("operator/")?.strip_suffix(".json"))
            .map(str::to_owned)
            .collect()
    }
}

/// How many pods use a profile, and one of them.
pub(super) type Users = (u64, Option<String>);

/// Who uses some profiles at this moment, asked of the API server's store itself: what was watched
/// may be older than a deletion that was seen.
pub(super) async fn now(
    pods: &Api<Pod>,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Users>, kube::Error> {
    let mut users: BTreeMap<String, Users> = BTreeMap::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = pods.list(&parameters).await?;
        for (pod, used) in page.items.into_iter().filter_map(Pod::usage) {
            for name in used.iter().filter(|name| names.contains(*name)) {
                let entry = users.entry(name.clone()).or_insert((0, None));
                entry.0 += 1;
                entry.1.get_or_insert_with(|| pod.clone());
            }
        }
        match page.metadata.continue_ {
            Some(more) if !more.is_empty() => parameters = parameters.continue_token(&more),
            _ => return Ok(users),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(pod: serde_json::Value) -> Vec<String> {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        pod.usage()
            .map_or_else(Vec::new, |(_, used)| used.into_vec())
    }

    #[test]
    fn fields_and_annotations_count_and_finished_pods_do_not() {
        let by = |name: &str| {
            json!({"name": name, "securityContext": {"seccompProfile":
                {"type": "Localhost", "localhostProfile": format!("operator/{name}.json")}}})
        };
        let mut pod = json!({
            "metadata": {"annotations": {POD: "localhost/operator/a.json",
                format!("{CONTAINER}x"): "localhost/operator/b.json", "other": "localhost/operator/no.json"}},
            "spec": {"containers": [by("c")], "initContainers": [by("d")],
                "ephemeralContainers": [by("e")], "securityContext": {"seccompProfile":
                {"type": "Localhost", "localhostProfile": "operator/f.json"}}}});
        assert_eq!(uses(pod.clone()), ["a", "b", "c", "d", "e", "f"]);
        pod["status"] = json!({"phase": "Succeeded"});
        assert!(uses(pod).is_empty());
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
