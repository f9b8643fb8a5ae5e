//! What the operator's service accounts may not do, wherever it is installed.

use super::cases;
use crate::{
    api_server::{client_of, repository},
    objects::{allowing, create, nodes, profile},
    stage::{NODE, Stage},
};
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{api::events::v1::Event, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::fs;

cases![
    an_agent_cannot_write_another_nodes_report,
    neither_part_can_write_events_in_the_name_of_others,
    the_operator_works_and_is_guarded_in_another_namespace,
];

async fn an_agent_cannot_write_another_nodes_report(stage: &mut Stage) -> Result<()> {
    stage.agent().await?;
    other_nodes_report_is_denied(stage).await
}

async fn other_nodes_report_is_denied(stage: &Stage) -> Result<()> {
    let agent = client_of(&stage.agent_config()).await?;
    let report = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompNode", "metadata": { "name": "other" }, "spec": {},
    });
    refused(create(&nodes(&agent), report).await, "its own node")
}

/// That something was refused, for this reason.
fn refused<T>(result: Result<T, impl Into<anyhow::Error>>, why: &str) -> Result<()> {
    let Err(error) = result else {
        bail!("it was not refused, although: {why}");
    };
    let error = format!("{:#}", error.into());
    ensure!(error.contains(why), "refused for another reason: {error}");
    Ok(())
}

/// An event as the agent publishes it, with some of its fields changed.
fn event(name: &str, changes: Value) -> Result<Event> {
    let mut event = json!({
        "metadata": { "name": name, "namespace": "default" },
        "eventTime": format!("{:.6}", Timestamp::now()),
        "type": "Warning", "reason": "SeccompRefused", "action": "StartContainer",
        "reportingController": "portcullis.dev/agent", "reportingInstance": NODE,
        "regarding": { "apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p" },
        "note": "container c does not start: there is no such file",
    });
    let (Value::Object(event_fields), Value::Object(changes)) = (&mut event, changes) else {
        bail!("not an object");
    };
    event_fields.extend(changes);
    Ok(serde_json::from_value(event)?)
}

fn events(client: &Client) -> Api<Event> {
    Api::namespaced(client.clone(), "default")
}

async fn publish(client: &Client, name: &str, changes: Value) -> Result<Event> {
    let event = event(name, changes)?;
    Ok(events(client)
        .create(&PostParams::default(), &event)
        .await?)
}

async fn count_up(client: &Client, name: &str) -> Result<Event> {
    let now = format!("{:.6}", Timestamp::now());
    let series = json!({ "series": { "count": 2, "lastObservedTime": now } });
    change(client, name, &series).await
}

async fn change(client: &Client, name: &str, fields: &Value) -> Result<Event> {
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(fields));
    Ok(events(client).patch(name, &parameters, &patch).await?)
}

async fn neither_part_can_write_events_in_the_name_of_others(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    events_are_guarded(stage).await
}

async fn events_are_guarded(stage: &Stage) -> Result<()> {
    let agent = client_of(&stage.agent_config()).await?;
    let controller = client_of(&stage.controller_config()).await?;
    let of_controller =
        json!({ "reportingController": "portcullis.dev/controller", "reportingInstance": "x" });
    for (changes, why) in [
        (
            json!({ "reportingController": "kubelet" }),
            "reportingController has to be portcullis.dev/agent",
        ),
        (
            of_controller.clone(),
            "reportingController has to be portcullis.dev/agent",
        ),
        (
            json!({ "reportingInstance": "other" }),
            "the agent's own node",
        ),
        (
            json!({ "note": "your cluster was hacked" }),
            "its note begins with",
        ),
        (
            json!({ "regarding": { "kind": "SeccompProfile", "name": "a" } }),
            "only the controller's",
        ),
        (
            json!({ "regarding": { "kind": "Namespace", "name": "default" } }),
            "is about a pod",
        ),
    ] {
        refused(publish(&agent, "no.1", changes).await, why)?;
    }
    let why = "reportingController has to be portcullis.dev/controller";
    refused(publish(&controller, "no.2", json!({})).await, why)?;

    publish(&agent, "agent.1", json!({})).await?;
    count_up(&agent, "agent.1").await?;
    publish(&controller, "controller.1", of_controller).await?;
    count_up(&controller, "controller.1").await?;
    let foreign = json!({ "reportingController": "kubelet", "reportingInstance": NODE });
    publish(&stage.client, "foreign.1", foreign).await?;
    for (client, name) in [
        (&agent, "foreign.1"),
        (&agent, "controller.1"),
        (&controller, "foreign.1"),
        (&controller, "agent.1"),
    ] {
        let refusal = refused(count_up(client, name).await, "has to be portcullis.dev/");
        refusal.with_context(|| name.to_owned())?;
    }
    Ok(())
}

async fn the_operator_works_and_is_guarded_in_another_namespace(stage: &mut Stage) -> Result<()> {
    // Roles are bound to other accounts from now on.
    stage.is_spoilt = true;
    "security".clone_into(&mut stage.namespace);
    let overlay = stage.folder().join("overlay");
    fs::create_dir(&overlay)?;
    let packaging = repository().join("packaging").canonicalize()?;
    let up = "../".repeat(overlay.canonicalize()?.components().count() - 1);
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": stage.namespace,
        "resources": [format!("{up}{}", packaging.strip_prefix("/")?.display())],
    });
    fs::write(
        overlay.join("kustomization.yaml"),
        kustomization.to_string(),
    )?;
    stage.kubectl(&[
        "delete",
        "-n",
        "portcullis",
        "lease",
        "portcullis-controller",
    ])?;
    stage.kubectl(&["apply", "-k", &overlay.to_string_lossy()])?;
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    let wrong = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" }] });
    stage.create(profile("bad", &wrong)).await?;
    stage.event("bad", "Invalid", "mkdri").await?;
    let (holder, _) = stage.lease().await?;
    ensure!(holder.is_some(), "nobody holds the lease there");
    other_nodes_report_is_denied(stage).await?;
    events_are_guarded(stage).await
}
