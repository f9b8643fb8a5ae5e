//! If several controllers run, only the holder of the lease works.

use super::cases;
use crate::{objects::allowing, stage::Stage, wait::until};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

cases![
    another_controller_leads_when_the_first_hangs_and_the_first_ends_when_it_is_back,
    a_lease_that_was_given_up_is_the_next_controllers,
];

/// Waits until another controller than `before` leads, and gives its identity.
async fn leader(stage: &Stage, before: Option<&str>) -> Result<String> {
    until("a controller leads", async || {
        let (holder, _) = stage.lease().await?;
        let holder = holder.context("nobody holds the lease")?;
        ensure!(Some(holder.as_str()) != before, "{holder} still holds it");
        Ok(holder)
    })
    .await
}

async fn another_controller_leads_when_the_first_hangs_and_the_first_ends_when_it_is_back(
    stage: &mut Stage,
) -> Result<()> {
    stage.agent().await?;
    let first = stage.controller()?;
    let holder = leader(stage, None).await?;
    let second = stage.controller()?;
    // It names whom it waits for.
    stage.processes[second].says(&holder).await?;

    stage.processes[first].signal(Signal::SIGSTOP)?;
    leader(stage, Some(&holder)).await?;
    stage.processes[first].signal(Signal::SIGCONT)?;
    let status = stage.processes[first].ended().await?;
    ensure!(status.code() == Some(3), "the first ended with {status}");
    stage.processes[first].says("the lease is lost: ").await?;

    stage.create(allowing("late", &["mkdir"])).await?;
    stage.is("late", "Ready", "True").await
}

async fn a_lease_that_was_given_up_is_the_next_controllers(stage: &mut Stage) -> Result<()> {
    let first = stage.controller()?;
    let holder = leader(stage, None).await?;
    let (_, before) = stage.lease().await?;
    stage.processes[first].signal(Signal::SIGTERM)?;
    let status = stage.processes[first].ended().await?;
    ensure!(status.success(), "it ended with {status}");
    let (after, _) = stage.lease().await?;
    ensure!(after.is_none(), "{after:?} holds it still");
    stage.controller()?;
    leader(stage, Some(&holder)).await?;
    let (_, now) = stage.lease().await?;
    ensure!(now == before + 1, "it changed hands {} times", now - before);
    Ok(())
}
