//! A stored expression that fails when the API server evaluates it.

use super::table::WEB;
use crate::{
    admission::{Admission, message, pod},
    cases::cases,
    http::{free_address, has_metric},
    stage::Stage,
    wait::until,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;

cases![an_expression_that_fails_refuses_pods_and_is_reported_until_it_is_mended];

const POLICY: [&str; 2] = ["mutatingadmissionpolicy", "portcullis-admission"];

/// Lets the controller change admission's objects, or only read them.
fn may_update(stage: &Stage, may: bool) -> Result<()> {
    let role = ["get", "clusterrole", "portcullis-admission", "-o", "json"];
    let mut role: serde_json::Value = serde_json::from_str(&stage.kubectl(&role)?)?;
    for rule in role["rules"].as_array_mut().into_iter().flatten() {
        if rule["apiGroups"][0] == "admissionregistration.k8s.io" {
            rule["verbs"] = if may {
                json!(["get", "list", "watch", "update"])
            } else {
                json!(["get", "list", "watch"])
            };
        }
    }
    stage.kubectl_with(&["replace", "-f", "-"], &role)?;
    Ok(())
}

async fn an_expression_that_fails_refuses_pods_and_is_reported_until_it_is_mended(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::bound(stage, &json!({ "profile": "web" })).await?;
    let address = free_address()?;
    let listen = ["--listen", &address.to_string()];
    stage.controller_with(&listen)?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    admission.says("bound", "b", "Live", "True", "").await?;
    // While no controller runs, somebody breaks the policy: it compiles, and fails for each pod.
    stage.processes.clear();
    may_update(stage, false)?;
    let get_policy = [&["get"], &POLICY[..], &["-o", "json"]].concat();
    let mut policy: serde_json::Value = serde_json::from_str(&stage.kubectl(&get_policy)?)?;
    let variables = policy["spec"]["variables"].as_array_mut();
    for variable in variables.into_iter().flatten() {
        if variable["name"] == "bindings" {
            variable["expression"] = json!("{'a': ''}[request.operation]");
        }
    }
    stage.kubectl_with(&["replace", "-f", "-"], &policy)?;
    let refused = until("pods are refused", async || {
        let Err(error) = admission.create("bound", &pod("p")).await else {
            bail!("a pod is accepted");
        };
        message(&error)
    })
    .await?;
    ensure!(
        refused.contains("portcullis-admission") && refused.contains("no such key"),
        "{refused}"
    );
    admission.create("kube-system", &pod("p")).await?;
    // A controller that can't mend it says so.
    let restarted = stage.controller_with(&listen)?;
    admission
        .says(
            "bound",
            "b",
            "Live",
            "False",
            "MutatingAdmissionPolicy portcullis-admission",
        )
        .await?;
    let carrier = async |carrier: &str| {
        let wanted = format!("portcullis_admission_carrier{{carrier=\"{carrier}\"}} 1");
        until(&wanted, async || has_metric(address, &wanted)).await
    };
    carrier("none").await?;
    stage.processes[restarted]
        .says("admission's rules can't be written")
        .await?;
    ensure!(admission.create("bound", &pod("p")).await.is_err());
    // One that can does, without being told.
    may_update(stage, true)?;
    admission.says("bound", "b", "Live", "True", "").await?;
    carrier("policies").await?;
    admission.is_effective("bound", &pod("p"), WEB).await
}
