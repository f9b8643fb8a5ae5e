//! The API server is away for a while.

use super::cases;
use crate::{
    objects::{allowing, held},
    stage::Stage,
    wait::{until, within},
};
use anyhow::Result;
use std::{fs, time::Duration};

cases![a_profile_made_after_an_outage_has_its_file_soon];

/// How often a watch fails until an outage counts as a long one.
const FAILURES: usize = 8;
/// How soon the file is there, with room for a busy machine.
const SOON: Duration = Duration::from_secs(12);

async fn a_profile_made_after_an_outage_has_its_file_soon(stage: &mut Stage) -> Result<()> {
    let agent = stage.agent().await?;
    stage.create(held(allowing("before", &["mkdir"]))).await?;
    stage.file_says("before", "mkdir").await?;
    stage.api_server("stop")?;
    stage.processes[agent]
        .says_times(FAILURES, "the API server: ")
        .await?;
    stage.api_server("start")?;
    until("the API server takes a profile", async || {
        stage.create(held(allowing("after", &["mkdir"]))).await
    })
    .await?;
    let file = stage.file("after");
    within(SOON, "its file is there", async || {
        fs::read_to_string(&file).map_err(Into::into)
    })
    .await?;
    Ok(())
}
