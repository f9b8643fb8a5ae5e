//! What the operator's service accounts may not do.

use super::cases;
use crate::{
    api_server::client_of,
    objects::{create, nodes},
    stage::Stage,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;

cases![an_agent_cannot_write_another_nodes_report];

async fn an_agent_cannot_write_another_nodes_report(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    let agent = client_of(&stage.agent_config()).await?;
    let report = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompNode", "metadata": { "name": "other" }, "spec": {},
    });
    let Err(refused) = create(&nodes(&agent), report).await else {
        bail!("it can");
    };
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("its own node"),
        "refused for another reason: {refused}"
    );
    Ok(())
}
