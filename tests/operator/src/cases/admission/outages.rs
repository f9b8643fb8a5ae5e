//! Admission without the controller, after a restart of the API server, and after edits by others.

use super::table::{WEB, field, words};
use crate::{
    admission::{Admission, install, message, pod},
    cases::cases,
    http::{free_address, has_metric},
    stage::Stage,
    wait::until,
};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

cases![
    annotations_of_a_namespace_hold_while_the_controller_is_down_and_after_a_restart,
    a_foreign_edit_is_overwritten_and_a_removed_carrier_is_missed,
    a_binding_is_live_only_once_the_api_server_says_that_it_applies_the_rules,
];

async fn annotations_of_a_namespace_hold_while_the_controller_is_down_and_after_a_restart(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::bound(stage, &json!({ "profile": "web" })).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    stage.processes.clear();
    its_first_pod_has_its_rule(stage, "new")?;
    stage.api_server("stop")?;
    stage.api_server("start")?;
    // Whatever the API server accepts has its rule, from the first answer on.
    let made = until("the API server answers", async || {
        admission.create("bound", &pod("after")).await
    })
    .await?;
    ensure!(
        words(&made["spec"]["containers"][0]["securityContext"]["seccompProfile"]) == WEB,
        "the first pod after the restart: {made}"
    );
    its_first_pod_has_its_rule(stage, "newer")?;
    let mut other = pod("other");
    other["spec"]["securityContext"] = json!({ "seccompProfile": field("localhost/other") });
    for namespace in ["new", "newer"] {
        let Err(error) = admission.create(namespace, &other).await else {
            bail!("{namespace} takes another profile after the restart");
        };
        let message = message(&error)?;
        ensure!(
            message.contains("but the pod selects localhost/other"),
            "{message}"
        );
    }
    // With the controller, it is no different.
    stage.controller()?;
    its_first_pod_has_its_rule(stage, "newest")
}

/// Applies a namespace with its annotation and its first pod in one go.
fn its_first_pod_has_its_rule(stage: &Stage, namespace: &str) -> Result<()> {
    let both = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "annotations": {
            "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce" } } },
        with_namespace(namespace, pod("first")),
    ]});
    stage.kubectl_with(&["apply", "-f", "-"], &both)?;
    let first = stage.kubectl(&[
        "get",
        "pod",
        "-n",
        namespace,
        "first",
        "-o",
        "jsonpath={.spec.containers[0].securityContext.seccompProfile.localhostProfile}",
    ])?;
    ensure!(
        first == "operator/web.json",
        "the first pod of {namespace} has {first:?}"
    );
    Ok(())
}

fn with_namespace(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

async fn a_foreign_edit_is_overwritten_and_a_removed_carrier_is_missed(
    stage: &mut Stage,
) -> Result<()> {
    let admission =
        Admission::bound(stage, &json!({ "profile": "web", "mode": "enforce" })).await?;
    stage.controller()?;
    admission.says("bound", "b", "Live", "True", "").await?;
    let patch = r#"{"spec":{"matchResources":{"namespaceSelector":{"matchExpressions":[{"key":"x","operator":"Exists"}]}}}}"#;
    let which = ["mutatingadmissionpolicybinding", "portcullis-admission"];
    stage.kubectl(&[&["patch", "--type=merge", "-p", patch], &which[..]].concat())?;
    stage
        .event(
            "portcullis-admission",
            "Overwritten",
            "MutatingAdmissionPolicyBinding portcullis-admission was changed",
        )
        .await?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    // The way out, as documented.
    stage.kubectl(&[&["delete"], &which[..]].concat())?;
    admission
        .says(
            "bound",
            "b",
            "Live",
            "False",
            "there is no MutatingAdmissionPolicyBinding",
        )
        .await?;
    until("pods are left alone", async || {
        let made = admission.create("bound", &pod("p")).await?;
        ensure!(
            made["spec"]["containers"][0]["securityContext"].is_null(),
            "{made}"
        );
        Ok(())
    })
    .await?;
    install(stage)?;
    admission.is_effective("bound", &pod("p"), WEB).await
}

async fn a_binding_is_live_only_once_the_api_server_says_that_it_applies_the_rules(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::bound(stage, &json!({ "profile": "web" })).await?;
    // The API server takes the rules and can't say what it does with them.
    let silenced = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "silence" },
          "spec": {
            "matchConstraints": { "resourceRules": [
                { "apiGroups": ["portcullis.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["seccompbindings/status"] }] },
            "validations": [{ "expression": "!request.?dryRun.orValue(false)", "message": "nothing is said" }] } },
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "silence" },
          "spec": { "policyName": "silence", "validationActions": ["Deny"] } },
    ]});
    stage.kubectl_with(&["apply", "-f", "-"], &silenced)?;
    until("questions are refused", async || {
        let patch = r#"{"status":{"pods":1}}"#;
        let asked = stage.kubectl(&[
            "patch",
            "scb",
            "-n",
            "bound",
            "b",
            "--subresource=status",
            "--type=merge",
            "--dry-run=server",
            "-p",
            patch,
        ]);
        ensure!(asked.is_err_and(|error| format!("{error}").contains("nothing is said")));
        Ok(())
    })
    .await?;
    let address = free_address()?;
    stage.controller_with(&["--listen", &address.to_string()])?;
    admission
        .says(
            "bound",
            "b",
            "Live",
            "False",
            "can't evaluate the admission policies",
        )
        .await?;
    stage.event("b", "NotLive", "nothing is said").await?;
    let carrier = |carrier: &str| {
        let wanted = format!("portcullis_admission_carrier{{carrier=\"{carrier}\"}} 1");
        has_metric(address, &wanted)
    };
    carrier("none")?;
    stage.kubectl(&["delete", "validatingadmissionpolicybinding", "silence"])?;
    admission
        .says("bound", "b", "Live", "True", "new pods")
        .await?;
    until("the metric follows", async || carrier("policies")).await
}
