//! The containers of a pod that need the gate: an annotation selects a profile for them, and no field
//! selects the same one.

use super::pod_usage::{Container, Context, POD, Wire};
use k8s_openapi::jiff::Timestamp;
use portcullis_profile::select::annotations::CONTAINER_ANNOTATION_PREFIX;
use serde::Deserialize;

/// The containers of a pod that need the gate, and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatedPod {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The node that it runs on.
    pub node: String,
    /// The containers.
    pub containers: Box<[GatedContainer]>,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatedContainer {
    /// Its name.
    pub name: String,
    /// Its ID, without the engine's name.
    pub id: String,
    /// When it started, by the node's clock.
    pub started: Option<Timestamp>,
    /// The annotation that selects its profile.
    pub annotation: String,
    /// What that annotation says.
    pub reference: String,
}

/// What the kubelet says about a container.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    #[serde(default)]
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    running: Option<Running>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    started_at: Option<Timestamp>,
}

/// What is kept of a pod; `None` if none of its running containers needs the gate.
pub(super) fn gated(pod: &Wire) -> Option<GatedPod> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let annotations = pod.metadata.annotations.as_ref()?;
    let of_pod = spec.security_context.as_ref();
    let running = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let one = |container: &Container| {
        let key = format!("{CONTAINER_ANNOTATION_PREFIX}{}", container.name);
        let (annotation, reference) = annotations
            .get_key_value(&key)
            .or_else(|| annotations.get_key_value(POD))?;
        let path = reference.strip_prefix("localhost/")?;
        if field(container.security_context.as_ref(), of_pod) == Some(path) {
            return None;
        }
        let mut all = running.into_iter().flatten().flatten();
        let said = all.find(|said| said.name == container.name)?;
        let started = said.state.as_ref()?.running.as_ref()?.started_at;
        let (_, id) = said.container_id.as_ref()?.split_once("://")?;
        Some(GatedContainer {
            name: container.name.clone(),
            id: id.to_owned(),
            started,
            annotation: annotation.clone(),
            reference: reference.clone(),
        })
    };
    let containers: Box<[GatedContainer]> = spec.containers().filter_map(one).collect();
    (!containers.is_empty()).then_some(GatedPod {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone(),
        node: spec.node_name.clone()?,
        containers,
    })
}

/// The path that a field selects for a container; the container's field overrides the pod's.
fn field<'a>(own: Option<&'a Context>, of_pod: Option<&'a Context>) -> Option<&'a str> {
    let profile = |context: Option<&'a Context>| context?.seccomp_profile.as_ref();
    let field = profile(own).or_else(|| profile(of_pod))?;
    field.localhost_profile.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::stores::pod_usage::PodUsage;
    use serde_json::{Value, json};

    fn pod() -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": "till", "uid": "u",
                "annotations": {POD: "localhost/a.json",
                    format!("{CONTAINER_ANNOTATION_PREFIX}d"): "runtime/default"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}, {"name": "d"}, {"name": "waits"}],
                "initContainers": [{"name": "i", "securityContext": {"seccompProfile":
                    {"type": "Localhost", "localhostProfile": "a.json"}}}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "c", "containerID": "cri-o://abc", "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}},
                {"name": "d", "containerID": "cri-o://def", "state": {"running": {}}},
                {"name": "waits", "state": {"waiting": {}}}],
                "initContainerStatuses": [
                    {"name": "i", "containerID": "cri-o://ghi", "state": {"running": {}}}]}})
    }

    fn names(pod: Value) -> Vec<String> {
        let pod: PodUsage = serde_json::from_value(pod).unwrap();
        let gated = pod.gated().into_iter();
        let containers = gated.flat_map(|pod| &pod.containers);
        containers.map(|one| one.name.clone()).collect()
    }

    #[test]
    fn a_running_container_that_only_an_annotation_gives_a_profile_needs_the_gate() {
        let read: PodUsage = serde_json::from_value(pod()).unwrap();
        let gated = read.gated().unwrap();
        assert_eq!((&*gated.node, &*gated.name), ("n1", "till"));
        let container = &gated.containers[0];
        assert_eq!((&*container.name, &*container.id), ("c", "abc"));
        assert_eq!(container.annotation, POD);
        assert_eq!(gated.containers.len(), 1, "{gated:?}");
    }

    #[test]
    fn an_equal_field_needs_no_gate_and_another_one_does() {
        let field =
            |name: &str| json!({"seccompProfile": {"type": "Localhost", "localhostProfile": name}});
        let mut equal = pod();
        equal["spec"]["securityContext"] = field("a.json");
        assert!(names(equal.clone()).is_empty());
        equal["spec"]["containers"][0]["securityContext"] = field("b.json");
        assert_eq!(names(equal), ["c"]);
        let mut finished = pod();
        finished["status"]["phase"] = json!("Failed");
        assert!(names(finished).is_empty());
    }
}
