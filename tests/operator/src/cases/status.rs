//! What users and their tools read: conditions as kstatus has them, columns, names and counts of
//! nodes, metrics.

use super::cases;
use crate::{
    objects::{allowing, nodes, profile},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Context, Result, bail, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

cases![
    kubectl_wait_is_right_about_a_new_an_edited_and_an_invalid_profile,
    every_condition_has_a_message_and_is_about_the_current_generation,
    the_columns_say_whether_where_and_why,
    kubectl_diff_is_empty_after_apply_and_managed_fields_name_the_controller,
    kubectl_explain_begins_with_what_a_profile_is_for,
    names_of_profiles_are_shown_as_they_are,
    nodes_of_another_system_and_those_that_the_agents_cannot_reach_do_not_count,
    missing_nodes_are_named,
    a_controller_that_waits_for_the_lease_has_its_gauges,
];

/// A profile that denies by a call that nobody knows.
fn invalid(name: &str) -> Value {
    let denying = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let spec = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denying] });
    profile(name, &spec)
}

fn wait(stage: &Stage, condition: &str) -> Result<()> {
    let condition = format!("--for=condition={condition}");
    stage
        .kubectl(&["wait", &condition, "--timeout=90s", "scp/a"])
        .map(drop)
}

async fn kubectl_wait_is_right_about_a_new_an_edited_and_an_invalid_profile(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    wait(stage, "Ready")?;
    stage.file_says("a", "mkdir").await?;
    for call in ["rmdir", "unlink", "link"] {
        stage.apply(&allowing("a", &[call])).await?;
        wait(stage, "Ready")?;
        let text = std::fs::read_to_string(stage.file("a"))?;
        ensure!(text.contains(call), "Ready is about an older file: {text}");
    }
    stage.apply(&invalid("a")).await?;
    wait(stage, "Stalled")?;
    wait(stage, "Ready=False")?;
    stage.apply(&allowing("a", &["mkdir"])).await?;
    wait(stage, "Ready")?;
    let status = stage.profiles().get("a").await?.data["status"].clone();
    let types = conditions(&status);
    ensure!(types == ["InUse", "Ready", "Valid"], "{status}");
    Ok(())
}

fn conditions(status: &Value) -> Vec<&str> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter_map(|condition| condition["type"].as_str())
        .collect()
}

async fn every_condition_has_a_message_and_is_about_the_current_generation(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    let disabled = json!({ "allow": ["mkdir"], "state": "Disabled" });
    let edits = [
        (allowing("a", &["rmdir"]), "True"),
        (invalid("a"), "False"),
        (profile("a", &disabled), "False"),
        (allowing("a", &["mkdir"]), "True"),
    ];
    for (edit, ready) in edits {
        stage.apply(&edit).await?;
        let profiles = stage.profiles();
        until("the status is about the edit", async || {
            let object = profiles.get("a").await?;
            let generation = object.metadata.generation;
            let status = &object.data["status"];
            ensure!(
                status["observedGeneration"].as_i64() == generation,
                "{status}"
            );
            let all = status["conditions"].as_array().context("no condition")?;
            for condition in all {
                let message = condition["message"].as_str().unwrap_or_default();
                ensure!(!message.is_empty(), "no message: {condition}");
                ensure!(
                    condition["observedGeneration"].as_i64() == generation,
                    "{condition}"
                );
            }
            let is_so = |it: &&Value| it["type"] == "Ready" && it["status"] == ready;
            ensure!(all.iter().any(|it| is_so(&it)), "{status}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn the_columns_say_whether_where_and_why(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(invalid("a")).await?;
    stage.is("a", "Ready", "False").await?;
    let words = |text: String| -> Vec<Vec<String>> {
        let line = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(line).collect()
    };
    let plain = words(stage.kubectl(&["get", "scp"])?);
    let head = ["NAME", "READY", "NODES", "IN", "USE", "AGE"];
    ensure!(plain[0] == head, "{plain:?}");
    ensure!(plain[1][..4] == ["a", "False", "0/1", "0"], "{plain:?}");
    let wide = words(stage.kubectl(&["get", "scp", "-o", "wide"])?);
    ensure!(wide[0].contains(&"REASON".to_owned()), "{wide:?}");
    ensure!(wide[1].contains(&"Invalid".to_owned()), "{wide:?}");
    Ok(())
}

async fn kubectl_diff_is_empty_after_apply_and_managed_fields_name_the_controller(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let manifest = allowing("a", &["mkdir"]);
    for way in [
        &["--server-side=false"][..],
        &["--server-side", "--force-conflicts"],
    ] {
        let call = |verb: &str| {
            let arguments = [&[verb, "-f", "-"][..], way].concat();
            stage.kubectl_with(&arguments, &manifest)
        };
        call("apply")?;
        stage.is("a", "Ready", "True").await?;
        let difference = call("diff")?;
        ensure!(difference.is_empty(), "{difference}");
    }
    let object = stage.profiles().get("a").await?;
    let managers: Vec<_> = object
        .metadata
        .managed_fields
        .into_iter()
        .flatten()
        .collect();
    for (part, what) in [("f:status", "status"), ("f:finalizers", "finalizer")] {
        let ours = managers.iter().filter(|entry| {
            let fields = serde_json::to_string(&entry.fields_v1).unwrap_or_default();
            fields.contains(part)
        });
        let names: Vec<_> = ours.filter_map(|it| it.manager.as_deref()).collect();
        ensure!(names == ["portcullis-controller"], "{what}: {names:?}");
    }
    Ok(())
}

async fn kubectl_explain_begins_with_what_a_profile_is_for(stage: &mut Stage) -> Result<()> {
    until("kubectl explains the kind", async || {
        let text = stage.kubectl(&["explain", "scp"])?;
        let (_, about) = text.split_once("DESCRIPTION:").context("no description")?;
        let about = about.trim();
        ensure!(about.starts_with("Restricts the system calls"), "{about}");
        Ok(())
    })
    .await
}

async fn names_of_profiles_are_shown_as_they_are(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("no-mkdir.v1", &["mkdir"])).await?;
    stage.create(invalid("no-rmdir.v2")).await?;
    stage.is("no-mkdir.v1", "Ready", "True").await?;
    stage.is("no-rmdir.v2", "Ready", "False").await?;
    until("describe shows both names", async || {
        let text = stage.kubectl(&["describe", "scn", NODE])?;
        for name in ["no-mkdir.v1", "no-rmdir.v2"] {
            let is_shown = text
                .lines()
                .any(|line| line.trim_start().starts_with("Name:") && line.ends_with(name));
            ensure!(is_shown, "{name} in {text}");
        }
        Ok(())
    })
    .await
}

fn node(name: &str, labels: &Value, taints: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": { "taints": taints },
    })
}

async fn nodes_of_another_system_and_those_that_the_agents_cannot_reach_do_not_count(
    stage: &mut Stage,
) -> Result<()> {
    let labels = json!({ "kubernetes.io/os": "linux", "seccomp": "yes" });
    let patch = json!({ "metadata": { "labels": labels } });
    let api: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(stage.client.clone());
    api.patch(NODE, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let windows = json!({ "kubernetes.io/os": "windows" });
    stage.create(node("win", &windows, &json!([]))).await?;
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.is("a", "Ready", "True").await?;
    let counts = async |wanted: &str| {
        let profiles = stage.profiles();
        until(&format!("{wanted} nodes have it"), async || {
            let status = profiles.get("a").await?.data["status"].clone();
            ensure!(status["nodes"] == wanted, "{status}");
            Ok(())
        })
        .await
    };
    counts("1/1").await?;
    let taint = json!([{ "key": "gpu", "value": "yes", "effect": "NoSchedule" }]);
    stage.create(node("tainted", &labels, &taint)).await?;
    stage
        .create(node(
            "other",
            &json!({ "kubernetes.io/os": "linux" }),
            &json!([]),
        ))
        .await?;
    counts("1/3").await?;
    stage
        .says("a", "Ready", "waiting for 2 of 3 nodes: other, tainted")
        .await?;
    let agents = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "portcullis-agent", "namespace": "portcullis" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": {
                    "nodeSelector": { "seccomp": "yes" },
                    "containers": [{ "name": "agent", "image": "x" }],
                },
            },
        },
    });
    stage.create(agents).await?;
    counts("1/1").await?;
    stage.is("a", "Ready", "True").await?;
    let tolerating = json!({ "spec": { "template": { "spec": { "tolerations": [{ "operator": "Exists" }] } } } });
    stage.kubectl(&[
        "-n",
        "portcullis",
        "patch",
        "daemonset",
        "portcullis-agent",
        "-p",
        &tolerating.to_string(),
    ])?;
    counts("1/2").await?;
    stage
        .says("a", "Ready", "waiting for 1 of 2 nodes: tainted")
        .await
}

async fn missing_nodes_are_named(stage: &mut Stage) -> Result<()> {
    stage.operator().await?;
    for number in 2..=9 {
        stage
            .create(node(&format!("n{number}"), &json!({}), &json!([])))
            .await?;
    }
    stage.create(allowing("a", &["mkdir"])).await?;
    stage
        .says(
            "a",
            "Ready",
            "waiting for 8 of 9 nodes: n2, n3, n4, n5, n6 and 3 more",
        )
        .await?;
    stage.is("a", "Reconciling", "True").await?;
    let report = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompNode", "metadata": { "name": "n2" },
        "spec": { "failed": [{ "name": "a", "reason": "a foreign file" }] },
    });
    crate::objects::create(&nodes(&stage.client), report).await?;
    stage.says("a", "Ready", "node n2: a foreign file").await?;
    stage.is("a", "Stalled", "True").await
}

async fn a_controller_that_waits_for_the_lease_has_its_gauges(stage: &mut Stage) -> Result<()> {
    stage.controller()?;
    until("a controller leads", async || {
        stage.lease().await?.0.context("nobody leads").map(drop)
    })
    .await?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let second = stage.controller_with(&["--listen", &address.to_string()])?;
    stage.processes[second]
        .says("this controller waits")
        .await?;
    until("the second one's metrics have every gauge", async || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        for gauge in [
            "portcullis_controller_profiles{state=\"Ready\"} 0",
            "portcullis_controller_profiles{state=\"NodesMissing\"} 0",
            "portcullis_controller_nodes 0",
            "portcullis_controller_pods_using 0",
            "portcullis_controller_elected_total 0",
        ] {
            if !text.lines().any(|line| line == gauge) {
                bail!("no {gauge} in {text}");
            }
        }
        Ok(())
    })
    .await
}
