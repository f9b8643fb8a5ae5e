//! A file that a pod uses is never taken away by an edit or a deletion of profiles.

use super::cases;
use crate::{
    objects::{allowing, annotated_pod, held, nodes, pod_with_path, profile},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::fs;

cases![
    the_base_of_a_used_profile_stays_and_its_event_names_the_profile_and_the_pod,
    invalid_edits_of_a_used_profile_and_of_its_base_leave_its_file_and_name_its_generation,
    a_disabled_profile_keeps_its_file_until_its_last_pod_is_gone,
    a_disabled_base_loses_its_own_file_and_stays_a_base,
    every_spelling_of_a_path_that_leads_to_a_file_counts_as_use,
    a_profile_that_only_others_hold_is_deleting_and_its_file_goes,
    an_unused_profile_that_is_disabled_has_no_file_and_is_enabled_again,
    a_profile_has_a_file_only_once_it_is_held_so_that_no_deletion_is_too_early,
];

/// A profile that allows a call beside what its base allows.
fn based(name: &str, base: &str, call: &str) -> Value {
    profile(name, &json!({ "baseProfileName": base, "allow": [call] }))
}

/// A profile that allows a call, and is disabled.
fn disabled(name: &str, call: &str) -> Value {
    profile(name, &json!({ "allow": [call], "state": "Disabled" }))
}

async fn the_base_of_a_used_profile_stays_and_its_event_names_the_profile_and_the_pod(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("ground", &["mkdir"])).await?;
    stage.create(based("middle", "ground", "rmdir")).await?;
    stage.create(based("top", "middle", "unlink")).await?;
    stage.is("top", "Ready", "True").await?;
    stage.create(annotated_pod("p", "top")).await?;
    for name in ["ground", "middle", "top"] {
        stage.is(name, "InUse", "True").await?;
    }
    let good = fs::read(stage.file("top"))?;
    for base in ["ground", "middle"] {
        stage.delete_profile(base).await?;
        let waits = "its deletion waits for the pod default/p (through the profile top, ";
        stage.event(base, "InUse", waits).await?;
        stage.says(base, "Ready", waits).await?;
    }
    stage.settled().await?;
    stage.has_still("top", &good)?;
    stage.is("top", "Ready", "True").await?;
    stage.delete_pod("p").await?;
    for base in ["ground", "middle"] {
        stage.gone(base).await?;
        stage.no_file(base).await?;
    }
    // What nobody uses keeps its last good file as well, and says what it misses.
    stage.says("top", "Valid", "\"middle\"").await?;
    stage.settled().await?;
    stage.has_still("top", &good)?;
    Ok(())
}

async fn invalid_edits_of_a_used_profile_and_of_its_base_leave_its_file_and_name_its_generation(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller()?;
    let agent = stage.agent().await?;
    stage.create(allowing("base", &["mkdir"])).await?;
    stage.create(based("top", "base", "rmdir")).await?;
    stage.is("top", "Ready", "True").await?;
    stage.apply(&based("top", "base", "unlink")).await?;
    stage.file_says("top", "unlink").await?;
    stage.is("top", "Ready", "True").await?;
    stage.create(annotated_pod("p", "top")).await?;
    stage.is("base", "InUse", "True").await?;
    let good = fs::read(stage.file("top"))?;
    let wrong = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let wrong = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [wrong] });
    stage.apply(&profile("base", &wrong)).await?;
    let stays = "generation 2 stays on 1 of 1 nodes";
    stage.says("top", "Ready", stays).await?;
    stage.apply(&based("top", "none", "unlink")).await?;
    stage.says("top", "Valid", "\"none\"").await?;
    stage.says("top", "Ready", stays).await?;
    stage.is("top", "Stalled", "True").await?;
    stage.has_still("top", &good)?;

    // Another agent, which never saw generation 2, still knows what is there.
    stage.processes[agent].crash().await?;
    fs::remove_file(stage.file("top"))?;
    stage.agent().await?;
    stage.settled().await?;
    stage.file_says("top", "unlink").await?;
    stage.has_still("top", &good)?;
    let reports = nodes(&stage.client);
    until("the node names the generation that it has", async || {
        let spec = reports.get(NODE).await?.data["spec"].clone();
        let failed = spec["failed"].as_array().into_iter().flatten();
        let mut failed = failed.filter(|it| it["name"] == "top");
        ensure!(failed.any(|it| it["generation"] == 2), "{spec}");
        Ok(())
    })
    .await?;
    let status = stage.profiles().get("top").await?.data["status"].clone();
    ensure!(status["nodes"] == "0/1", "{status}");
    stage.apply(&allowing("top", &["rmdir"])).await?;
    stage.is("top", "Ready", "True").await
}

async fn a_disabled_profile_keeps_its_file_until_its_last_pod_is_gone(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller()?;
    let agent = stage.agent().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    stage.create(annotated_pod("p", "a")).await?;
    stage.is("a", "InUse", "True").await?;
    let good = fs::read(stage.file("a"))?;
    stage.apply(&disabled("a", "mkdir")).await?;
    stage
        .event("a", "InUse", "waits for the pod default/p")
        .await?;
    stage
        .says("a", "Ready", "waits for the pod default/p")
        .await?;
    stage.is("a", "Reconciling", "True").await?;
    stage.processes[agent].crash().await?;
    stage.agent().await?;
    stage.settled().await?;
    stage.has_still("a", &good)?;
    fs::remove_file(stage.file("a"))?;
    stage.file_says("a", "mkdir").await?;
    stage.delete_pod("p").await?;
    stage.no_file("a").await?;
    stage.says("a", "Ready", "no node has its file").await?;
    let status = stage.profiles().get("a").await?.data["status"].clone();
    ensure!(status["releasedGeneration"] == 2, "{status}");
    stage.apply(&allowing("a", &["rmdir"])).await?;
    stage.file_says("a", "rmdir").await?;
    stage.is("a", "Ready", "True").await?;
    let status = stage.profiles().get("a").await?.data["status"].clone();
    ensure!(status.get("releasedGeneration").is_none(), "{status}");
    Ok(())
}

async fn a_disabled_base_loses_its_own_file_and_stays_a_base(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("base", &["mkdir"])).await?;
    stage.create(based("top", "base", "rmdir")).await?;
    stage.is("top", "Ready", "True").await?;
    stage.create(annotated_pod("p", "top")).await?;
    stage.is("base", "InUse", "True").await?;
    stage.apply(&disabled("base", "mkdir")).await?;
    stage.no_file("base").await?;
    stage.settled().await?;
    stage.file_says("top", "mkdir").await?;
    stage.is("top", "Ready", "True").await?;
    stage.delete_profile("base").await?;
    stage
        .event("base", "InUse", "its deletion waits for")
        .await?;
    Ok(())
}

async fn an_unused_profile_that_is_disabled_has_no_file_and_is_enabled_again(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.apply(&disabled("a", "mkdir")).await?;
    stage.says("a", "Ready", "no node has its file").await?;
    stage.settled().await?;
    ensure!(!stage.file("a").exists(), "it has a file");
    stage.apply(&allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    stage.apply(&disabled("a", "mkdir")).await?;
    stage.no_file("a").await
}

async fn every_spelling_of_a_path_that_leads_to_a_file_counts_as_use(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let spellings = [
        "operator/x.json",
        "./operator/x.json",
        "operator//x.json",
        "operator/./x.json",
    ];
    for (number, path) in spellings.iter().enumerate() {
        let by_field = format!("f{number}");
        let by_annotation = format!("a{number}");
        for name in [&by_field, &by_annotation] {
            stage.create(allowing(name, &["mkdir"])).await?;
        }
        let path_of = |name: &str| path.replace("x.json", &format!("{name}.json"));
        stage
            .create(pod_with_path(&by_field, &path_of(&by_field)))
            .await?;
        let mut pod = annotated_pod(&by_annotation, "none");
        let key = "container.seccomp.security.alpha.kubernetes.io/c";
        let value = format!("localhost/{}", path_of(&by_annotation));
        pod["metadata"]["annotations"][key] = json!(value);
        stage.create(pod).await?;
    }
    for number in 0..spellings.len() {
        for name in [format!("f{number}"), format!("a{number}")] {
            stage.is(&name, "InUse", "True").await?;
            stage.delete_profile(&name).await?;
            stage.is(&name, "Ready", "False").await?;
        }
    }
    stage.settled().await?;
    for number in 0..spellings.len() {
        for name in [format!("f{number}"), format!("a{number}")] {
            stage.file_says(&name, "mkdir").await?;
        }
    }
    Ok(())
}

async fn a_profile_that_only_others_hold_is_deleting_and_its_file_goes(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let mut manifest = allowing("a", &["mkdir"]);
    manifest["metadata"]["finalizers"] = json!(["example.com/audit"]);
    stage.create(manifest).await?;
    stage.is("a", "Ready", "True").await?;
    stage.create(annotated_pod("p", "a")).await?;
    stage.is("a", "InUse", "True").await?;
    stage.delete_profile("a").await?;
    stage
        .says("a", "Ready", "its deletion waits for the pod default/p")
        .await?;
    stage.is("a", "Ready", "False").await?;
    stage.settled().await?;
    stage.file_says("a", "mkdir").await?;
    stage.delete_pod("p").await?;
    stage.no_file("a").await?;
    stage.says("a", "Ready", "example.com/audit").await?;
    stage.is("a", "Ready", "False").await?;
    let status = stage.profiles().get("a").await?.data["status"].clone();
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut reasons = conditions.filter(|it| it["type"] == "Ready");
    ensure!(reasons.any(|it| it["reason"] == "Deleting"), "{status}");
    let none = json!({ "metadata": { "finalizers": null } });
    stage
        .profiles()
        .patch("a", &PatchParams::default(), &Patch::Merge(&none))
        .await?;
    stage.gone("a").await
}

async fn a_profile_has_a_file_only_once_it_is_held_so_that_no_deletion_is_too_early(
    stage: &mut Stage,
) -> Result<()> {
    stage.agent().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    // What the agent handles in their order.
    stage.create(held(allowing("later", &["mkdir"]))).await?;
    stage.file_says("later", "mkdir").await?;
    ensure!(!stage.file("a").exists(), "a file that may vanish");
    // Nobody holds it, so it goes at once, and with it nothing that a pod could have used.
    stage.delete_profile("a").await?;
    stage.gone("a").await?;

    stage.controller()?;
    for round in 0..20 {
        let name = format!("r{round}");
        stage.create(allowing(&name, &["mkdir"])).await?;
        let file = stage.file(&name);
        until("its file is there", async || {
            fs::read(&file).map_err(Into::into)
        })
        .await?;
        // As soon as a pod can start it is used, and then deleted.
        stage.create(annotated_pod(&name, &name)).await?;
        stage.delete_profile(&name).await?;
    }
    stage.settled().await?;
    for round in 0..20 {
        let name = format!("r{round}");
        stage.file_says(&name, "mkdir").await?;
        stage.is(&name, "InUse", "True").await?;
    }
    Ok(())
}
