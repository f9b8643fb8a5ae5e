//! From a profile to its file and its conditions, and its removal.

use super::cases;
use crate::{
    http::{free_address, get},
    objects::{self, allowing, annotated_pod, profile},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt};

cases![
    a_profile_becomes_a_file_and_is_ready,
    an_edited_file_is_repaired,
    a_deleted_file_is_repaired,
    an_unknown_name_that_denies_is_invalid_said_by_an_event_and_has_no_file,
    a_foreign_file_stays_and_an_event_names_the_node,
    a_deleted_profile_stays_with_its_file_until_the_last_pod_is_gone,
    a_name_of_250_characters_works_and_one_of_251_is_refused,
    an_invalid_edit_leaves_the_last_good_file_until_it_is_mended,
    a_name_that_ends_in_json_is_that_of_the_file_and_pods_that_select_it_count,
    of_two_profiles_that_want_one_file_the_older_one_has_it,
    profiles_that_allow_log_and_deny_and_the_shipped_example_are_files_that_everybody_can_read,
    an_agents_metrics_follow_its_profiles_as_they_come_change_and_go,
];

async fn a_profile_becomes_a_file_and_is_ready(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.file_says("a", "mkdir").await?;
    stage.is("a", "Ready", "True").await
}

async fn an_edited_file_is_repaired(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.file_says("a", "mkdir").await?;
    fs::write(stage.file("a"), "changed")?;
    stage.file_says("a", "mkdir").await
}

async fn a_deleted_file_is_repaired(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.file_says("a", "mkdir").await?;
    fs::remove_file(stage.file("a"))?;
    stage.file_says("a", "mkdir").await
}

async fn an_unknown_name_that_denies_is_invalid_said_by_an_event_and_has_no_file(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let denying = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let spec = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denying] });
    stage.create(profile("bad", &spec)).await?;
    stage.is("bad", "Valid", "False").await?;
    stage.event("bad", "Invalid", "mkdri").await?;
    stage.settled().await?;
    ensure!(!stage.file("bad").exists(), "it has a file");
    Ok(())
}

async fn a_foreign_file_stays_and_an_event_names_the_node(stage: &mut Stage) -> Result<()> {
    let file = stage.file("taken");
    fs::create_dir_all(file.with_file_name(""))?;
    fs::write(&file, "foreign")?;
    stage.operator().await?;
    stage.create(allowing("taken", &["mkdir"])).await?;
    stage
        .event("taken", "NotReady", &format!("node {NODE}: "))
        .await?;
    let content = fs::read_to_string(&file)?;
    ensure!(content == "foreign", "it is {content:?}");
    Ok(())
}

async fn a_deleted_profile_stays_with_its_file_until_the_last_pod_is_gone(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.file_says("a", "mkdir").await?;
    stage.create(annotated_pod("p", "a")).await?;
    stage.is("a", "InUse", "True").await?;
    stage.delete_profile("a").await?;
    stage.event("a", "InUse", "default/p").await?;
    stage.settled().await?;
    stage.is("a", "InUse", "True").await?;
    stage.file_says("a", "mkdir").await?;
    stage.delete_pod("p").await?;
    stage.gone("a").await?;
    stage.no_file("a").await
}

async fn a_name_of_250_characters_works_and_one_of_251_is_refused(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    let longest = "x".repeat(250);
    stage.create(allowing(&longest, &["mkdir"])).await?;
    stage.file_says(&longest, "mkdir").await?;
    stage.is(&longest, "Ready", "True").await?;
    let refused = stage.create(allowing(&"x".repeat(251), &["mkdir"])).await;
    ensure!(refused.is_err(), "it was taken");
    Ok(())
}

async fn an_invalid_edit_leaves_the_last_good_file_until_it_is_mended(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller()?;
    let agent = stage.agent().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    let good = fs::read(stage.file("a"))?;
    let denying = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let spec = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denying] });
    stage.apply(&profile("a", &spec)).await?;
    stage.is("a", "Valid", "False").await?;
    stage.is("a", "Ready", "False").await?;
    stage.event("a", "Invalid", "mkdri").await?;
    stage.settled().await?;
    stage.has_still("a", &good)?;
    stage.processes[agent].crash().await?;
    stage.agent().await?;
    stage.settled().await?;
    fs::remove_file(stage.file("a"))?;
    stage.file_says("a", "mkdir").await?;
    stage.has_still("a", &good)?;
    stage.apply(&allowing("a", &["rmdir"])).await?;
    stage.file_says("a", "rmdir").await?;
    stage.is("a", "Ready", "True").await
}

async fn a_name_that_ends_in_json_is_that_of_the_file_and_pods_that_select_it_count(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("web.json", &["mkdir"])).await?;
    stage.is("web.json", "Ready", "True").await?;
    let file = stage.file("web.json");
    ensure!(file.ends_with("operator/web.json"), "{}", file.display());
    ensure!(file.is_file(), "there is no {}", file.display());
    let status = stage.profiles().get("web.json").await?.data["status"].clone();
    ensure!(
        status["localhostProfile"] == "operator/web.json",
        "{status}"
    );
    stage.create(annotated_pod("p", "web.json")).await?;
    stage.is("web.json", "InUse", "True").await?;
    stage.delete_profile("web.json").await?;
    stage.event("web.json", "InUse", "default/p").await?;
    stage.settled().await?;
    stage.file_says("web.json", "mkdir").await
}

async fn of_two_profiles_that_want_one_file_the_older_one_has_it(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    // Of the same second, the first one by name counts as the older one.
    stage.create(allowing("web", &["mkdir"])).await?;
    stage.is("web", "Ready", "True").await?;
    stage.create(allowing("web.json", &["rmdir"])).await?;
    stage.is("web.json", "Valid", "False").await?;
    stage
        .event("web.json", "Invalid", "the older SeccompProfile \"web\"")
        .await?;
    let status = stage.profiles().get("web.json").await?.data["status"].clone();
    let conditions = status["conditions"].as_array();
    let is_named = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["reason"] == "FileNameTaken");
    ensure!(is_named, "{status}");
    let nodes = objects::nodes(&stage.client);
    until("the node says why", async || {
        let report = nodes.get(NODE).await?;
        let why = objects::failure(&report, "web.json");
        ensure!(why.contains("the older SeccompProfile"), "{}", report.data);
        Ok(())
    })
    .await?;
    stage.settled().await?;
    stage.file_says("web", "mkdir").await?;
    stage.is("web", "Ready", "True").await?;
    stage.create(annotated_pod("p", "web")).await?;
    stage.is("web", "InUse", "True").await?;
    // Its pods use the other one.
    stage.delete_profile("web.json").await?;
    stage.gone("web.json").await?;
    stage.create(allowing("web.json", &["rmdir"])).await?;
    stage.delete_pod("p").await?;
    stage.delete_profile("web").await?;
    stage.gone("web").await?;
    stage.file_says("web.json", "rmdir").await?;
    stage.is("web.json", "Ready", "True").await
}

async fn profiles_that_allow_log_and_deny_and_the_shipped_example_are_files_that_everybody_can_read(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let actions = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"];
    for (name, action) in ["allow", "log", "deny"].iter().zip(actions) {
        let spec = json!({ "defaultAction": action });
        stage.create(profile(name, &spec)).await?;
    }
    let example = crate::api_server::repository().join("packaging/examples/no-mkdir.yaml");
    stage.kubectl(&["create", "-f", &example.to_string_lossy()])?;
    let defaults = ["allow", "log", "deny", "no-mkdir"]
        .iter()
        .zip([actions[0], actions[1], actions[2], actions[0]]);
    for (name, action) in defaults {
        stage.is(name, "Ready", "True").await?;
        let file = stage.file(name);
        let document: Value = serde_json::from_slice(&fs::read(&file)?)?;
        ensure!(document["defaultAction"] == action, "{name}: {document}");
        let folder = file.parent().context("no folder")?;
        for (path, mode) in [(file.as_path(), 0o644), (folder, 0o755)] {
            let found = fs::metadata(path)?;
            let found = (found.mode() & 0o7777, found.uid());
            ensure!(found == (mode, 0), "{}: {found:?}", path.display());
        }
    }
    Ok(())
}

async fn an_agents_metrics_follow_its_profiles_as_they_come_change_and_go(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller()?;
    let address = free_address()?;
    stage
        .agent_with(&["--listen", &address.to_string()])
        .await?;
    let counted = async |what: &str| {
        let line = format!("portcullis_agent_{what}");
        until(&line, async || {
            let text = get(address, "/metrics")?;
            ensure!(text.lines().any(|it| it == line), "{text}");
            Ok(())
        })
        .await
    };
    counted("profiles{state=\"installed\"} 0").await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    counted("profiles{state=\"installed\"} 1").await?;
    counted("files_written_total 1").await?;
    stage.apply(&allowing("a", &["rmdir"])).await?;
    counted("files_written_total 2").await?;
    let denying = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let spec = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denying] });
    stage.create(profile("bad", &spec)).await?;
    counted("profiles{state=\"failed\"} 1").await?;
    for name in ["a", "bad"] {
        stage.delete_profile(name).await?;
        stage.gone(name).await?;
    }
    counted("files_removed_total 1").await?;
    counted("profiles{state=\"installed\"} 0").await?;
    counted("profiles{state=\"failed\"} 0").await
}
