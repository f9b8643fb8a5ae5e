//! Pods that were created before the API server asked the webhook about their namespace.

use super::cases;
use crate::{
    admission::{Admission, Carrier, pod},
    http::{free_address, has_metric},
    objects::api,
    stage::{SHORT_LEASE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

cases![
    pods_that_miss_the_rule_of_their_namespace_are_reported_once_and_older_ones_are_not,
    a_pod_is_reported_though_the_controller_that_could_have_has_died,
];

const WEB: &str = "localhost/operator/web.json";

/// The pod and the note of each event about a missed rule.
async fn events(stage: &Stage) -> Result<Vec<(String, String)>> {
    let events = api(&stage.client, "events.k8s.io", "v1", "Event", "events");
    let all = events.list(&ListParams::default()).await?;
    let of_rules = all
        .into_iter()
        .filter(|event| event.data["reason"] == "SeccompRuleMissed");
    let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(of_rules
        .map(|event| {
            let pod = said(&event.data["regarding"]["name"]);
            (pod, said(&event.data["note"]))
        })
        .collect())
}

async fn pods_that_miss_the_rule_of_their_namespace_are_reported_once_and_older_ones_are_not(
    stage: &mut Stage,
) -> Result<()> {
    stage.carrier = Carrier::Webhook;
    let admission = Admission::bound(stage, &json!({ "profile": "web" })).await?;
    admission.namespace("late", &json!({}), &json!({})).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let made = admission.make("late", &pod("older")).await?;
    let created: Timestamp = made["metadata"]["creationTimestamp"]
        .as_str()
        .context("no time")?
        .parse()?;
    until("the next second has begun", async || {
        ensure!(Timestamp::now().as_second() > created.as_second());
        Ok(())
    })
    .await?;
    // The API server goes on asking about the others only.
    stage.processes.clear();
    stage.kubectl(&[
        "annotate",
        "namespace",
        "late",
        "portcullis.dev/profile=web",
    ])?;
    let missed = admission.make("late", &pod("missed")).await?;
    let field = &missed["spec"]["containers"][0]["securityContext"];
    ensure!(field["seccompProfile"].is_null(), "{missed}");
    let mut given = pod("given");
    given["spec"]["containers"][0]["securityContext"] =
        json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    admission.make("late", &given).await?;
    let address = free_address()?;
    stage.controller_with(&["--listen", &address.to_string()])?;
    admission.is_effective("late", &pod("p"), WEB).await?;
    let begun = Instant::now();
    admission.make("late", &pod("later")).await?;
    stage
        .event(
            "missed",
            "SeccompRuleMissed",
            "container c misses the rule that gives it localhost/operator/web.json: it was created before the \
             API server asked about namespace late; create the pod again",
        )
        .await?;
    let counted = |number: u32| -> Result<()> {
        has_metric(
            address,
            &format!("\nportcullis_admission_missed_total {number}\n"),
        )
    };
    counted(1)?;
    // A namespace that is created with its annotation, while a controller runs. However soon its pod
    // comes, it has its rule or is reported.
    let annotations = json!({ "portcullis.dev/profile": "web" });
    admission.namespace("new", &json!({}), &annotations).await?;
    let made = admission.make("new", &pod("at-once")).await?;
    let field = &made["spec"]["containers"][0]["securityContext"];
    let has_rule = !field["seccompProfile"].is_null();
    if !has_rule {
        stage
            .event("at-once", "SeccompRuleMissed", "namespace new")
            .await?;
    }
    // What was reported at the first look is not reported again at the second.
    until("the second look is over", async || {
        ensure!(begun.elapsed() > Duration::from_secs(35));
        Ok(())
    })
    .await?;
    let about = events(stage).await?;
    let named = |pod: &str| about.iter().filter(|(name, _)| name == pod).count();
    ensure!(named("missed") == 1, "{about:?}");
    for other in ["older", "given", "later", "p"] {
        ensure!(named(other) == 0, "{about:?}");
    }
    counted(1 + u32::from(!has_rule))
}

async fn a_pod_is_reported_though_the_controller_that_could_have_has_died(
    stage: &mut Stage,
) -> Result<()> {
    stage.carrier = Carrier::Webhook;
    stage.lease_seconds = SHORT_LEASE;
    let admission = Admission::bound(stage, &json!({ "profile": "web" })).await?;
    admission.namespace("late", &json!({}), &json!({})).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    stage.processes.clear();
    stage.kubectl(&[
        "annotate",
        "namespace",
        "late",
        "portcullis.dev/profile=web",
    ])?;
    admission.make("late", &pod("missed")).await?;
    let controller = stage.controller()?;
    until("the API server is told to ask about it", async || {
        let which = ["mutatingwebhookconfiguration", "portcullis-admission"];
        let all = stage.kubectl(&[&["get"][..], &which, &["-o", "json"]].concat())?;
        ensure!(all.contains(",late,"), "{all}");
        Ok(())
    })
    .await?;
    // It looks 5 s after that.
    stage.processes[controller].crash().await?;
    let about = events(stage).await?;
    ensure!(about.is_empty(), "{about:?}");
    stage.controller()?;
    stage
        .event("missed", "SeccompRuleMissed", "namespace late")
        .await
        .map(drop)
}
