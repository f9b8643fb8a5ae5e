//! Which profiles a pod uses: by field and by both legacy annotations.

use k8s_openapi::api::core::v1::{Pod, SeccompProfile};
use portcullis_profile::select::{CONTAINER_ANNOTATION_PREFIX as CONTAINER, POD_ANNOTATION as POD};
use std::collections::BTreeSet;

/// The names of the profiles that an unfinished pod uses.
pub(super) fn profiles(pod: &Pod) -> BTreeSet<String> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return BTreeSet::new();
    }
    let by_annotation = pod.metadata.annotations.iter().flatten();
    let by_annotation = by_annotation
        .filter(|(key, _)| *key == POD || key.starts_with(CONTAINER))
        .filter_map(|(_, value)| value.strip_prefix("localhost/"));
    let mut fields: Vec<Option<&SeccompProfile>> = Vec::new();
    if let Some(spec) = &pod.spec {
        let of_pod = spec.security_context.as_ref();
        fields.push(of_pod.and_then(|context| context.seccomp_profile.as_ref()));
        let containers = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        fields.extend(containers.map(|container| {
            container
                .security_context
                .as_ref()?
                .seccomp_profile
                .as_ref()
        }));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        fields.extend(ephemeral.map(|container| {
            container
                .security_context
                .as_ref()?
                .seccomp_profile
                .as_ref()
        }));
    }
    let by_field = fields.into_iter().flatten();
    let by_field = by_field.filter_map(|field| field.localhost_profile.as_deref());
    by_annotation
        .chain(by_field)
        .filter_map(|path| path.strip_prefix("operator/")?.strip_suffix(".json"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(pod: serde_json::Value) -> Vec<String> {
        profiles(&serde_json::from_value(pod).unwrap())
            .into_iter()
            .collect()
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
}
