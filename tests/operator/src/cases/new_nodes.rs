//! New nodes: the startup taint, and pods that would start without the NRI plugin.

use super::cases;
use crate::{
    api_server::{client_of, repository},
    objects::allowing,
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

cases![
    a_node_keeps_its_startup_taint_until_its_own_agent_has_its_profiles,
    taints_that_come_meanwhile_are_kept,
    the_controller_may_change_nothing_of_a_node_but_that_taint,
    no_pod_elsewhere_may_tolerate_that_the_plugin_is_missing,
];

const TAINT: &str = "portcullis.dev/not-ready";

/// Installs a part of packaging/ that is not always there, which the next case must not have.
fn install(stage: &mut Stage, file: &str) -> Result<()> {
    stage.is_spoilt = true;
    let file = repository().join("packaging").join(file);
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()])?;
    Ok(())
}

fn nodes(client: &Client) -> Api<Node> {
    Api::all(client.clone())
}

fn tainted(keys: &[&str]) -> Value {
    let taints = keys
        .iter()
        .map(|key| json!({ "key": key, "effect": "NoSchedule" }));
    Value::Array(taints.collect())
}

/// Makes a node with these taints; returns its UID.
async fn make_node(stage: &Stage, name: &str, taints: &[&str]) -> Result<String> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "spec": { "taints": tainted(taints) },
        "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } } });
    stage.create(node).await?.metadata.uid.context("no uid")
}

/// The taints of a node, without those that the API server adds to every new one.
async fn taints(stage: &Stage, node: &str) -> Result<Vec<String>> {
    let node = nodes(&stage.client).get(node).await?;
    let taints = node.spec.unwrap_or_default().taints.unwrap_or_default();
    let keys = taints.into_iter().map(|taint| taint.key);
    Ok(keys
        .filter(|key| !key.starts_with("node.kubernetes.io/"))
        .collect())
}

/// Waits until a node has these taints.
async fn has_taints(stage: &Stage, node: &str, wanted: &[&str]) -> Result<()> {
    until(&format!("{node} has the taints {wanted:?}"), async || {
        let there = taints(stage, node).await?;
        ensure!(there == wanted, "it has {there:?}");
        Ok(())
    })
    .await
}

/// Waits until the controller has taken the taint from a node that comes after everything before.
async fn controller_has_seen_all(stage: &Stage, node: &str) -> Result<()> {
    let uid = make_node(stage, node, &[TAINT]).await?;
    let report = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompNode", "spec": { "synced": true },
        "metadata": { "name": node, "ownerReferences": [
            { "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }] },
    });
    stage.create(report).await?;
    has_taints(stage, node, &[]).await
}

async fn replace_node(stage: &Stage, taints: &[&str]) -> Result<()> {
    stage.kubectl(&["delete", "node", NODE])?;
    make_node(stage, NODE, taints).await?;
    Ok(())
}

async fn a_node_keeps_its_startup_taint_until_its_own_agent_has_its_profiles(
    stage: &mut Stage,
) -> Result<()> {
    install(stage, "startup-taint/rights.yaml")?;
    let before = ["example.com/a", TAINT, "example.com/b"];
    replace_node(stage, &before).await?;
    for index in 0..20 {
        let name = format!("p{index}");
        stage.create(allowing(&name, &["mkdir"])).await?;
    }
    stage.controller_with(&["--startup-taint"])?;
    controller_has_seen_all(stage, "n2").await?;
    has_taints(stage, NODE, &before).await?;
    let agent = stage.agent().await?;
    has_taints(stage, NODE, &["example.com/a", "example.com/b"]).await?;
    for index in 0..20 {
        let file = stage.file(&format!("p{index}"));
        ensure!(file.exists(), "there is no {}", file.display());
    }
    // Another node of the same name has to be reported on anew.
    stage.processes[agent].signal(Signal::SIGTERM)?;
    stage.processes[agent].ended().await?;
    replace_node(stage, &[TAINT]).await?;
    controller_has_seen_all(stage, "n3").await?;
    has_taints(stage, NODE, &[TAINT]).await?;
    stage.agent().await?;
    has_taints(stage, NODE, &[]).await
}

async fn taints_that_come_meanwhile_are_kept(stage: &mut Stage) -> Result<()> {
    install(stage, "startup-taint/rights.yaml")?;
    let mut wanted = vec!["example.com/first".to_owned()];
    replace_node(stage, &["example.com/first"]).await?;
    stage.controller_with(&["--startup-taint"])?;
    stage.agent().await?;
    // Each time others move, while the controller may be about to remove it.
    for index in 0..15 {
        let other = format!("example.com/{index}");
        let value = |key: &str| json!({ "key": key, "effect": "NoSchedule" });
        let patch = json!([
            { "op": "add", "path": "/spec/taints/-", "value": value(&other) },
            { "op": "add", "path": "/spec/taints/0", "value": value(TAINT) },
        ]);
        // Two of one kind are refused: then it is still there.
        until("the taint is there again", async || {
            let patch = patch.to_string();
            stage.kubectl(&["patch", "node", NODE, "--type=json", "-p", &patch])
        })
        .await?;
        wanted.push(other);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    has_taints(stage, NODE, &wanted).await
}

/// What an account is told when it changes the node: nothing, if it may.
async fn refusal(client: &Client, patch: &Value) -> Option<String> {
    let parameters = PatchParams::default();
    let patched = nodes(client)
        .patch(NODE, &parameters, &Patch::Merge(patch))
        .await;
    patched.err().map(|error| error.to_string())
}

async fn the_controller_may_change_nothing_of_a_node_but_that_taint(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller()?;
    let controller = client_of(&stage.controller_config()).await?;
    let label = json!({ "metadata": { "labels": { "x": "y" } } });
    let without = refusal(&controller, &label).await;
    ensure!(
        without.is_some_and(|why| why.contains("cannot patch resource")),
        "it may patch nodes without the option"
    );
    install(stage, "startup-taint/rights.yaml")?;
    let all = tainted(&["example.com/a", TAINT, "example.com/b"]);
    let set = json!({ "spec": { "taints": all } });
    nodes(&stage.client)
        .patch(NODE, &PatchParams::default(), &Patch::Merge(&set))
        .await?;
    let mut tries = 0;
    until("the policy applies", async || {
        // The same again would change nothing.
        tries += 1;
        let label = json!({ "metadata": { "labels": { "x": tries.to_string() } } });
        match refusal(&controller, &label).await {
            Some(why) if why.contains("Portcullis changes nothing") => Ok(()),
            other => bail!("it says {other:?}"),
        }
    })
    .await?;
    let mut changed = tainted(&["example.com/a", TAINT, "example.com/b"]);
    changed[0]["value"] = json!("v");
    let mut stronger = tainted(&["example.com/a", TAINT, "example.com/b"]);
    stronger[1]["effect"] = json!("NoExecute");
    for (patch, why) in [
        (
            json!({ "metadata": { "annotations": { "x": "y" } } }),
            "changes nothing of a Node",
        ),
        (
            json!({ "metadata": { "finalizers": ["x.dev/y"] } }),
            "changes nothing of a Node",
        ),
        (
            json!({ "spec": { "unschedulable": true } }),
            "changes nothing of a Node",
        ),
        (
            json!({ "spec": { "providerID": "x://y" } }),
            "changes nothing of a Node",
        ),
        (json!({ "spec": { "taints": [] } }), "removes no taint but"),
        (
            json!({ "spec": { "taints": tainted(&["example.com/a", TAINT]) } }),
            "removes no taint but",
        ),
        (
            json!({ "spec": { "taints": tainted(&["example.com/b", TAINT, "example.com/a"]) } }),
            "removes no taint but",
        ),
        (
            json!({ "spec": { "taints": tainted(&["example.com/a", TAINT, "example.com/b", "x"]) } }),
            "removes no taint but",
        ),
        (
            json!({ "spec": { "taints": changed } }),
            "removes no taint but",
        ),
        (
            json!({ "spec": { "taints": stronger } }),
            "removes no taint but",
        ),
    ] {
        let said = refusal(&controller, &patch).await;
        ensure!(
            said.as_ref().is_some_and(|said| said.contains(why)),
            "{patch}: {said:?}"
        );
    }
    let removed = json!({ "spec": { "taints": tainted(&["example.com/a", "example.com/b"]) } });
    let said = refusal(&controller, &removed).await;
    ensure!(said.is_none(), "{said:?}");
    // Once removed, it can't be put back.
    let said = refusal(&controller, &set).await;
    ensure!(said.is_some_and(|said| said.contains("adds none")));
    let said = refusal(&stage.client, &label).await;
    ensure!(said.is_none(), "others are not concerned: {said:?}");
    Ok(())
}

const TOLERATES: &str = "tolerate-missing-plugins.nri.io";

async fn no_pod_elsewhere_may_tolerate_that_the_plugin_is_missing(stage: &mut Stage) -> Result<()> {
    let pod = |namespace: &str, name: &str, key: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": namespace, "annotations": { key: "true" } },
            "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "x" }] },
        })
    };
    stage.create(pod("default", "earlier", TOLERATES)).await?;
    stage
        .create(pod("default", "plain", "example.com/x"))
        .await?;
    install(stage, "nri-required/policy.yaml")?;
    let refused = async |manifest: Value| {
        let made = stage.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &manifest);
        match made {
            Err(error)
                if format!("{error:#}").contains("only Portcullis's own pods may have it") =>
            {
                Ok(())
            }
            other => bail!("{}: {other:?}", manifest["metadata"]),
        }
    };
    until("the policy applies", async || {
        refused(pod("default", "a", TOLERATES)).await
    })
    .await?;
    for part in ["pod", "container.c"] {
        refused(pod("default", "a", &format!("{TOLERATES}/{part}"))).await?;
    }
    refused(pod("kube-system", "a", TOLERATES)).await?;
    stage.create(pod("portcullis", "own", TOLERATES)).await?;
    stage
        .create(pod("default", "other", &format!("{TOLERATES}x")))
        .await?;
    let pods: Api<Pod> = stage.pods();
    let parameters = PatchParams::default();
    let add = json!({ "metadata": { "annotations": { TOLERATES: "true" } } });
    let added = pods.patch("plain", &parameters, &Patch::Merge(&add)).await;
    ensure!(added.is_err_and(|error| error.to_string().contains("only Portcullis's own")));
    let added = pods
        .patch_status("plain", &parameters, &Patch::Merge(&add))
        .await;
    ensure!(added.is_err(), "by way of the status");
    // Those that were there before can be changed otherwise, and deleted.
    let label = json!({ "metadata": { "labels": { "x": "y" } } });
    pods.patch("earlier", &parameters, &Patch::Merge(&label))
        .await?;
    stage.delete_pod("earlier").await
}
