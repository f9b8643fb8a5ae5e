//! The webhook and the policies decide alike, on random pods.

use super::{WEB, bound, live};
use crate::{
    admission::{Carrier, annotation, install_carrier, message, pod},
    cases::cases,
    stage::Stage,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

cases![both_carriers_decide_alike_on_random_pods];

async fn both_carriers_decide_alike_on_random_pods(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    let enforce =
        json!({ "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce" });
    for (namespace, annotations) in [
        ("by-default", json!({ "portcullis.dev/profile": "web" })),
        ("by-force", enforce),
        ("faulty", json!({ "portcullis.dev/profile": "../web" })),
        (
            "several",
            json!({ "portcullis.dev/profile": "runtime/default" }),
        ),
    ] {
        admission
            .namespace(namespace, &json!({}), &annotations)
            .await?;
    }
    for (name, spec) in [
        (
            "labels",
            json!({ "profile": "web", "podSelector": { "matchExpressions": [
            { "key": "app", "operator": "In", "values": ["a", "b"] }, { "key": "old", "operator": "DoesNotExist" }] } }),
        ),
        (
            "image",
            json!({ "profile": "web", "mode": "enforce", "images": ["registry.example/*:1"] }),
        ),
        (
            "container",
            json!({ "profile": "runtime/default", "mode": "enforce", "containers": ["d"], "podSelector": {
            "matchLabels": { "app": "a" } } }),
        ),
    ] {
        admission.binding("several", name, &spec).await?;
    }
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let image =
        json!({ "spec": { "containers": [{ "name": "c", "image": "registry.example/x:1" }] } });
    let mut selected = pod("p");
    selected["spec"]["containers"] = image["spec"]["containers"].clone();
    admission.is_effective("several", &selected, WEB).await?;
    let namespaces = [
        "free",
        "bound",
        "by-default",
        "by-force",
        "faulty",
        "several",
    ];
    let pods: Vec<(&str, Value)> = (0..300)
        .map(|_| {
            let namespace = namespaces[stage.random.usize(..namespaces.len())];
            (namespace, random(&mut stage.random))
        })
        .collect();
    let mut by_webhook = Vec::new();
    for (namespace, pod) in &pods {
        by_webhook.push(outcome(admission.create(namespace, pod).await)?);
    }
    install_carrier(stage, Carrier::Policies)?;
    live(stage, &admission, "mutatingadmissionpolicybinding").await?;
    let mut refused = 0;
    for ((namespace, pod), by_webhook) in pods.iter().zip(by_webhook) {
        let by_policies = outcome(admission.create(namespace, pod).await)?;
        refused += usize::from(by_policies.is_string());
        ensure!(
            by_webhook == by_policies,
            "{namespace}: {pod}\nwebhook:  {by_webhook}\npolicies: {by_policies}"
        );
    }
    ensure!(
        (30..270).contains(&refused),
        "{refused} of 300 were refused"
    );
    Ok(())
}

/// What was made of a pod, or what the user was told.
fn outcome(result: Result<Value>) -> Result<Value> {
    match result {
        Ok(mut made) => {
            let changed = json!({ "annotations": made["metadata"]["annotations"], "spec": made["spec"].take() });
            Ok(changed)
        }
        Err(error) => {
            let message = message(&error)?;
            let said = message
                .split_once("denied request: ")
                .or_else(|| message.split_once("denied the request: "));
            Ok(json!(said.map_or(message.as_str(), |(_, said)| said)))
        }
    }
}

/// A pod that says all kinds of things.
fn random(random: &mut fastrand::Rng) -> Value {
    fn word(random: &mut fastrand::Rng) -> &'static str {
        let words = [
            "localhost/a",
            WEB,
            "runtime/default",
            "unconfined",
            "docker/default",
        ];
        words[random.usize(..words.len())]
    }
    fn context(random: &mut fastrand::Rng) -> Value {
        let mut context = json!({});
        if random.u8(..3) == 0 {
            let word = word(random);
            context["seccompProfile"] = match word.strip_prefix("localhost/") {
                Some(path) => json!({ "type": "Localhost", "localhostProfile": path }),
                None if word == "unconfined" => json!({ "type": "Unconfined" }),
                None => json!({ "type": "RuntimeDefault" }),
            };
        }
        context
    }
    let mut made = pod("p");
    let mut annotations = json!({ "other": "x" });
    for key in ["", "c", "d"] {
        if random.u8(..4) == 0 {
            annotations[annotation(key)] = json!(word(random));
        }
    }
    if random.u8(..8) == 0 {
        annotations["portcullis.dev/changed-by"] = json!("me");
    }
    if random.bool() || annotations.as_object().is_some_and(|all| all.len() > 1) {
        made["metadata"]["annotations"] = annotations;
    }
    for label in ["app", "old"] {
        if random.bool() {
            made["metadata"]["labels"][label] = json!(["a", "b", "c"][random.usize(..3)]);
        }
    }
    made["spec"]["securityContext"] = context(random);
    let images = ["registry.example/x:1", "registry.example/x:2", "x"];
    let mut container = |name: &str| {
        let mut container = json!({ "name": name, "image": images[random.usize(..3)] });
        if random.bool() {
            container["securityContext"] = context(random);
            if random.u8(..6) == 0 {
                container["securityContext"]["privileged"] = json!(true);
            }
        }
        container
    };
    made["spec"]["containers"] = json!([container("c")]);
    made["spec"]["initContainers"] = json!([container("d")]);
    made
}
