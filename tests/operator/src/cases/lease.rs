//! If several controllers run, only the holder of the lease works.

use super::cases;
use crate::{
    http::{free_address, get},
    objects::allowing,
    stage::{NAMESPACE, SHORT_LEASE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

cases![
    another_controller_leads_when_the_first_hangs_and_the_first_ends_when_it_is_back,
    a_lease_that_was_given_up_is_the_next_controllers,
    a_lease_that_is_deleted_is_made_again_by_its_holder,
    a_lease_that_is_deleted_with_its_holder_is_made_again_by_another,
    a_controller_that_may_not_make_the_lease_says_so_and_is_not_ready,
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
    stage.lease_seconds = SHORT_LEASE;
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

async fn a_lease_that_is_deleted_is_made_again_by_its_holder(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    let first = stage.controller()?;
    let holder = leader(stage, None).await?;
    let second = stage.controller()?;
    stage.processes[second].says(&holder).await?;
    stage.delete_lease()?;
    stage.processes[first].says("it is made again").await?;
    let again = leader(stage, None).await?;
    ensure!(again == holder, "{again} leads instead of {holder}");
    stage.create(allowing("late", &["mkdir"])).await?;
    stage.is("late", "Ready", "True").await?;
    let (last, _) = stage.lease().await?;
    ensure!(last.as_ref() == Some(&holder), "{last:?} leads in the end");
    ensure!(stage.processes[first].is_running()?, "the first has ended");
    Ok(())
}

async fn a_lease_that_is_deleted_with_its_holder_is_made_again_by_another(
    stage: &mut Stage,
) -> Result<()> {
    stage.agent().await?;
    let first = stage.controller()?;
    let holder = leader(stage, None).await?;
    stage.processes[first].crash().await?;
    stage.delete_lease()?;
    let second = stage.controller()?;
    stage.processes[second].says("it is made again").await?;
    leader(stage, Some(&holder)).await?;
    stage.create(allowing("late", &["mkdir"])).await?;
    stage.is("late", "Ready", "True").await
}

async fn a_controller_that_may_not_make_the_lease_says_so_and_is_not_ready(
    stage: &mut Stage,
) -> Result<()> {
    let address = free_address()?;
    let role = ["role", "portcullis-controller", "-n", NAMESPACE];
    let kept = stage.kubectl(&[&["get"][..], &role, &["-o", "json"]].concat())?;
    stage.kubectl(&[&["delete"][..], &role].concat())?;
    let first = stage.controller_with(&["--listen", &address.to_string()])?;
    let says = "the lease portcullis/portcullis-controller: ";
    let unready = async {
        stage.processes[first].says(says).await?;
        until("it is not ready, and says why", async || {
            let answer = get(address, "/readyz")?;
            ensure!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            ensure!(answer.contains(says), "{answer}");
            Ok(())
        })
        .await
    };
    let result = unready.await;
    let mut role: Value = serde_json::from_str(&kept)?;
    role["metadata"] = json!({ "name": "portcullis-controller", "namespace": NAMESPACE });
    stage.create(role).await?;
    result?;
    leader(stage, None).await?;
    until("it is ready", async || {
        let answer = get(address, "/readyz")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    })
    .await
}
