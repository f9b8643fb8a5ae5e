//! What happens to a node, and what its `SeccompNode` says meanwhile.

use super::cases;
use crate::{
    mount::Mount,
    objects::{allowing, nodes},
    stage::{NODE, Stage},
    wait::{until, within},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{fs, time::Duration};

cases![
    a_node_that_registers_again_has_its_report_again_soon,
    a_full_disk_is_the_nodes_problem_until_there_is_room,
    a_read_only_disk_is_the_nodes_problem_until_it_is_writable,
    an_agent_starts_on_a_full_disk_says_so_and_goes_on_once_there_is_room,
    a_folder_that_is_mounted_over_or_unmounted_is_noticed,
];

/// Within which time the agent notices that something is over: what it promises, three times, for a
/// busy machine.
const SOON: Duration = Duration::from_secs(15);

async fn a_node_that_registers_again_has_its_report_again_soon(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    let reports = nodes(&stage.client);
    for _ in 0..2 {
        // As the garbage collector would, which does not run here.
        stage.kubectl(&["delete", "node", NODE])?;
        stage.kubectl(&["delete", "scn", NODE])?;
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        let uid = stage.create(node).await?.metadata.uid.context("no uid")?;
        within(SOON * 2, "the report belongs to the new Node", async || {
            let report = reports.get(NODE).await?;
            let owners = report.metadata.owner_references.unwrap_or_default();
            ensure!(owners.iter().all(|owner| owner.uid == uid), "{owners:?}");
            ensure!(report.data["spec"]["count"] == 1, "{}", report.data);
            Ok(())
        })
        .await?;
        stage.is("a", "Ready", "True").await?;
    }
    // The Node is another one while the report is still there.
    stage.kubectl(&["delete", "node", NODE])?;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
    let uid = stage.create(node).await?.metadata.uid.context("no uid")?;
    within(SOON * 2, "the report follows its Node", async || {
        let report = reports.get(NODE).await?;
        let owners = report.metadata.owner_references.unwrap_or_default();
        ensure!(owners.iter().all(|owner| owner.uid == uid), "{owners:?}");
        Ok(())
    })
    .await
}

/// Waits until the node's report has this problem and this many failures, and `kubectl get scn`
/// prints both.
async fn has_problem(stage: &Stage, problem: &str, failed: u64) -> Result<()> {
    until(&format!("the node says {problem:?}"), async || {
        let printed = stage.kubectl(&["get", "scn", NODE, "--no-headers"])?;
        ensure!(printed.contains(problem), "{printed}");
        let words: Vec<&str> = printed.split_whitespace().collect();
        ensure!(
            words.get(2) == Some(&failed.to_string().as_str()),
            "{printed}"
        );
        Ok(())
    })
    .await
}

/// Waits, not for long, until the file is there and the node has no problem.
async fn recovers(stage: &Stage, profile: &str) -> Result<()> {
    within(SOON, "the file is there", async || {
        fs::read_to_string(stage.file(profile)).map_err(Into::into)
    })
    .await?;
    until("the node has no problem", async || {
        let report = nodes(&stage.client).get(NODE).await?;
        let spec = &report.data["spec"];
        ensure!(
            spec["problem"] == Value::Null && spec["failedCount"] == 0,
            "{spec}"
        );
        Ok(())
    })
    .await?;
    stage.is(profile, "Ready", "True").await
}

async fn a_full_disk_is_the_nodes_problem_until_there_is_room(stage: &mut Stage) -> Result<()> {
    let disk = Mount::on(&stage.seccomp_root())?;
    stage.operator().await?;
    stage.create(allowing("before", &["mkdir"])).await?;
    stage.is("before", "Ready", "True").await?;
    let filler = disk.fill()?;
    for name in ["late", "later"] {
        stage.create(allowing(name, &["mkdir"])).await?;
    }
    has_problem(stage, "No space left on device", 2).await?;
    stage.is("late", "Ready", "False").await?;
    stage.is("before", "Ready", "True").await?;
    fs::remove_file(filler)?;
    recovers(stage, "late").await?;
    recovers(stage, "later").await
}

async fn a_read_only_disk_is_the_nodes_problem_until_it_is_writable(
    stage: &mut Stage,
) -> Result<()> {
    let disk = Mount::on(&stage.seccomp_root())?;
    stage.operator().await?;
    stage.create(allowing("before", &["mkdir"])).await?;
    stage.is("before", "Ready", "True").await?;
    disk.run("mount", &["-o", "remount,ro"])?;
    stage.create(allowing("late", &["mkdir"])).await?;
    has_problem(stage, "Read-only file system", 1).await?;
    // A file that can't be removed is a problem as well.
    stage.delete_profile("before").await?;
    has_problem(stage, "2 files can't be updated", 2).await?;
    disk.run("mount", &["-o", "remount,rw"])?;
    recovers(stage, "late").await?;
    stage.no_file("before").await
}

async fn an_agent_starts_on_a_full_disk_says_so_and_goes_on_once_there_is_room(
    stage: &mut Stage,
) -> Result<()> {
    let disk = Mount::on(&stage.state())?;
    let filler = disk.fill()?;
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    has_problem(stage, "No space left on device", 0).await?;
    fs::remove_file(filler)?;
    recovers(stage, "a").await
}

async fn a_folder_that_is_mounted_over_or_unmounted_is_noticed(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    let over = Mount::on(&stage.seccomp_root())?;
    recovers(stage, "a").await?;
    drop(over);
    fs::remove_file(stage.file("a"))?;
    recovers(stage, "a").await
}
