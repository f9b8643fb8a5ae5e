//! Decisions of the gate become events on the pod.

use super::cases;
use crate::{objects::annotated_pod, stage::Stage, wait::until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

cases![
    a_refusal_is_an_event_on_the_pod_and_is_counted_up,
    a_warning_is_an_event_on_the_pod,
];

/// A decision about a pod `p`, as the hook sends it.
async fn decision(stage: &Stage, outcome: &str) -> Result<Value> {
    let pod = stage.pods().get("p").await?;
    Ok(json!({
        "version": 1, "time": 1, "verb": "inject", "outcome": outcome, "code": 6, "reason": "profile-missing",
        "engine": "cri-o", "namespace": "default", "pod": "p", "uid": pod.metadata.uid.context("no uid")?,
        "container": "c", "annotation": "an", "reference": "localhost/operator/gone.json",
        "message": "there is no such file",
    }))
}

async fn a_refusal_is_an_event_on_the_pod_and_is_counted_up(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    stage.create(annotated_pod("p", "gone")).await?;
    let refused = decision(stage, "refused").await?;
    stage.decide(&refused).await?;
    let said = "container c does not start";
    stage.event("p", "SeccompRefused", said).await?;
    stage.event("p", "SeccompRefused", "gone.json").await?;
    stage.decide(&refused).await?;
    until("the event is counted up", async || {
        let count = stage.event("p", "SeccompRefused", said).await?;
        ensure!(count == 2, "it has come {count} times");
        Ok(())
    })
    .await
}

async fn a_warning_is_an_event_on_the_pod(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    stage.create(annotated_pod("p", "gone")).await?;
    let warned = decision(stage, "warned").await?;
    stage.decide(&warned).await?;
    stage.event("p", "SeccompWarning", "starts anyway").await?;
    Ok(())
}
