//! Whether nodes have a gate, and containers that none has seen.

use super::cases;
use crate::{
    api_server::program,
    objects::{allowing, annotated_pod, api, nodes},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::{fs, process::Command};

cases![
    a_container_that_no_gate_has_seen_is_warned_about_and_one_that_it_has_is_not,
    a_node_says_whether_it_has_a_gate,
];

/// A pod on the node whose container `c` runs under this ID, as the kubelet would say.
async fn running(stage: &Stage, name: &str, manifest: Value, id: &str) -> Result<()> {
    stage.create(manifest).await?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
        "name": "c", "containerID": format!("cri-o://{id}"), "image": "x", "imageID": "x", "ready": true,
        "restartCount": 0, "state": { "running": { "startedAt": now } },
    }] } });
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&status));
    stage.pods().patch_status(name, &parameters, &patch).await?;
    Ok(())
}

fn on_the_node(name: &str) -> Value {
    let mut pod = annotated_pod(name, "a");
    pod["spec"]["nodeName"] = NODE.into();
    pod
}

/// A stamp as the hook leaves it.
fn stamp(stage: &Stage, id: &str) -> Result<()> {
    let folder = stage.folder().join("run/decided");
    fs::create_dir_all(&folder)?;
    let time = Timestamp::now().as_nanosecond();
    let text = format!("{time} cri-o verify accepted {id} {time}");
    fs::write(folder.join("000"), format!("{text:<511}\n"))?;
    Ok(())
}

async fn a_container_that_no_gate_has_seen_is_warned_about_and_one_that_it_has_is_not(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    let (seen, bare) = ("5ee".repeat(21), "ba2e".repeat(16));
    stamp(stage, &seen)?;
    running(stage, "seen", on_the_node("seen"), &seen).await?;
    let mut by_field = on_the_node("by-field");
    by_field["spec"]["containers"][0]["securityContext"] =
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "operator/a.json" } });
    running(stage, "by-field", by_field, &"f1e1d".repeat(12)).await?;
    running(stage, "bare", on_the_node("bare"), &bare).await?;
    let said = "container c runs, perhaps without the profile that it selects";
    stage.event("bare", "SeccompUnchecked", said).await?;
    stage.event("bare", "SeccompUnchecked", NODE).await?;
    // The others were there before.
    let events = api(&stage.client, "events.k8s.io", "v1", "Event", "events");
    let all = events.list(&ListParams::default()).await?;
    let about: Vec<&Value> = all
        .iter()
        .filter(|event| event.data["reason"] == "SeccompUnchecked")
        .map(|event| &event.data["regarding"]["name"])
        .collect();
    ensure!(about == ["bare"], "events about {about:?}");
    Ok(())
}

/// Waits until the node's report says so of its gate, and `kubectl get scn` prints it.
async fn says(stage: &Stage, wanted: &str, problem: &str) -> Result<()> {
    until(&format!("the gate is {wanted}: {problem:?}"), async || {
        let report = nodes(&stage.client).get(NODE).await?;
        let gate = &report.data["spec"]["gate"];
        let said = gate["problem"].as_str().unwrap_or_default();
        ensure!(gate["state"] == wanted && said.contains(problem), "{gate}");
        let printed = stage.kubectl(&["get", "scn", NODE, "--no-headers"])?;
        let column = printed.split_whitespace().nth(3);
        ensure!(column == Some(wanted), "{printed}");
        Ok(())
    })
    .await
}

async fn a_node_says_whether_it_has_a_gate(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    says(stage, "Unknown", "it does not exist").await?;
    let file = stage.folder().join("run/check.json");
    let root = stage.folder().join("root");
    fs::create_dir(&root)?;
    let output = Command::new(program("portcullis-hook")?)
        .arg("check")
        .arg("--root")
        .arg(root)
        .arg("--output")
        .arg(&file)
        .output()
        .context("portcullis-hook check")?;
    ensure!(output.status.success(), "it ended with {output:?}");
    says(stage, "Faulty", "").await?;
    let mut report: Value = serde_json::from_slice(&fs::read(&file)?)?;
    report["good"] = true.into();
    report["findings"] = json!([]);
    fs::write(&file, report.to_string())?;
    says(stage, "Present", "").await?;
    report["time"] = 1.into();
    fs::write(&file, report.to_string())?;
    says(stage, "Unknown", "three minutes").await
}
