//! The objects that cases create and check, like users: by name, as JSON.

use anyhow::{Context, Result, bail};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

/// The API for a kind of the operator's group, or of another.
pub(crate) fn api(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, version, kind);
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, plural),
    )
}

/// The API for `SeccompProfile`.
pub(crate) fn profiles(client: &Client) -> Api<DynamicObject> {
    api(
        client,
        "portcullis.dev",
        "v1alpha1",
        "SeccompProfile",
        "seccompprofiles",
    )
}

/// The API for `SeccompNode`.
pub(crate) fn nodes(client: &Client) -> Api<DynamicObject> {
    api(
        client,
        "portcullis.dev",
        "v1alpha1",
        "SeccompNode",
        "seccompnodes",
    )
}

/// A profile's manifest.
pub(crate) fn profile(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompProfile",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The same object with the controller's finalizer, for cases without a controller.
pub(crate) fn held(mut manifest: Value) -> Value {
    manifest["metadata"]["finalizers"] = json!(["portcullis.dev/in-use"]);
    manifest
}

/// A profile that allows these calls.
pub(crate) fn allowing(name: &str, calls: &[&str]) -> Value {
    profile(name, &json!({ "allow": calls }))
}

/// The file that a profile has.
pub(crate) fn file_name(profile: &str) -> String {
    match profile.strip_suffix(".json") {
        Some(name) => format!("{name}.json"),
        None => format!("{profile}.json"),
    }
}

/// Why a node has no up-to-date file of a profile, as its `SeccompNode` says; empty if it says
/// nothing.
pub(crate) fn failure<'a>(report: &'a DynamicObject, profile: &str) -> &'a str {
    let failed = report.data["spec"]["failed"].as_array();
    failed
        .into_iter()
        .flatten()
        .find(|failed| failed["name"] == profile)
        .and_then(|failed| failed["reason"].as_str())
        .unwrap_or_default()
}

/// A pod whose container `c` asks for a profile by its annotation.
pub(crate) fn annotated_pod(name: &str, profile: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "annotations": {
            "container.seccomp.security.alpha.kubernetes.io/c": format!("localhost/operator/{}", file_name(profile)),
        }},
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "x" }] },
    })
}

/// The agent's pod on a node.
pub(crate) fn agent_pod(namespace: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "agent", "namespace": namespace },
        "spec": {
            "nodeName": node, "serviceAccountName": "portcullis-agent", "automountServiceAccountToken": false,
            "containers": [{ "name": "agent", "image": "x" }],
        },
    })
}

/// Creates an object of which there is none yet.
pub(crate) async fn create(api: &Api<DynamicObject>, manifest: Value) -> Result<DynamicObject> {
    let object = serde_json::from_value(manifest)?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

/// A pod whose field selects a path below the seccomp root.
pub(crate) fn pod_with_path(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": path } },
            "containers": [{ "name": "c", "image": "x" }],
        },
    })
}

/// That an object's condition has a status; the error shows the conditions that it has.
pub(crate) async fn condition(
    api: &Api<DynamicObject>,
    name: &str,
    kind: &str,
    status: &str,
) -> Result<()> {
    let object = api.get(name).await?;
    let conditions = &object.data["status"]["conditions"];
    let found = conditions
        .as_array()
        .context("it has no condition yet")?
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == status);
    if !found {
        bail!("{kind} is not {status}: {conditions}");
    }
    Ok(())
}
