//! From a profile to its file and its conditions, and back to nothing.

use super::cases;
use crate::{
    objects::{allowing, annotated_pod},
    stage::{NODE, Stage},
};
use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use std::fs;

cases![
    a_profile_becomes_a_file_and_is_ready,
    an_edited_file_is_repaired,
    a_deleted_file_is_repaired,
    an_unknown_name_is_invalid_said_by_an_event_and_has_no_file,
    a_foreign_file_stays_and_an_event_names_the_node,
    a_deleted_profile_stays_with_its_file_until_the_last_pod_is_gone,
    a_name_of_250_characters_works_and_one_of_251_is_refused,
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

async fn an_unknown_name_is_invalid_said_by_an_event_and_has_no_file(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("bad", &["mkdri"])).await?;
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
    let now = DeleteParams::default().grace_period(0);
    stage.pods().delete("p", &now).await?;
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
