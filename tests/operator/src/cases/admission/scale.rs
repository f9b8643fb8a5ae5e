//! Admission in large clusters.

use super::table::{WEB, words};
use crate::{
    admission::{Admission, pod},
    cases::cases,
    stage::Stage,
    wait::within,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

cases![
    a_thousand_namespaces_with_five_rules_each_are_effective_in_time,
    at_the_limits_of_policies_and_shards_each_rule_is_found_or_said_to_be_left_out,
    a_binding_that_is_too_large_is_left_out_alone,
];

/// How soon a changed rule has to be effective. The machine may be busy; the benchmark shows what it
/// takes on one that is not.
const EFFECTIVE: Duration = Duration::from_secs(20);

async fn a_thousand_namespaces_with_five_rules_each_are_effective_in_time(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::installed(stage)?;
    for profile in ["web", "api"] {
        admission.offered(profile).await?;
    }
    admission.thousand_namespaces().await?;
    stage.controller()?;
    let mut last = pod("p");
    last["metadata"]["labels"] = json!({ "app": "app-4" });
    let namespace = "team-0999";
    admission.is_effective(namespace, &last, WEB).await?;
    let begun = Instant::now();
    admission
        .change_binding(
            namespace,
            "rule-4",
            &json!({ "spec": { "profile": "api" } }),
        )
        .await?;
    within(EFFECTIVE, "the changed rule is effective", async || {
        let made = admission.create(namespace, &last).await?;
        let word = words(&made["spec"]["containers"][0]["securityContext"]["seccompProfile"]);
        ensure!(word == "localhost/operator/api.json", "{word}");
        Ok(())
    })
    .await?;
    eprintln!(
        "a changed rule among 5,000 was effective after {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    let shards = stage.kubectl(&[
        "get",
        "mutatingadmissionpolicy",
        "portcullis-admission",
        "-o",
        "jsonpath={.spec.variables[*].name}",
    ])?;
    ensure!(shards.contains("rules1"), "one shard holds all: {shards}");
    // Each namespace finds its own rules, wherever they are.
    for number in [0, 1, 250, 500, 750, 998] {
        let made = admission
            .create(&format!("team-{number:04}"), &last)
            .await?;
        let word = words(&made["spec"]["containers"][0]["securityContext"]["seccompProfile"]);
        ensure!(word == WEB, "team-{number:04}: {word}");
    }
    Ok(())
}

/// How soon a policy of the greatest length is effective. The API server computes for seconds on each
/// version of it, and much longer where it shares its processors.
const EFFECTIVE_AT_THE_LIMIT: Duration = Duration::from_secs(240);

/// A binding for pods of one label whose rule has nearly the greatest length: so many patterns for
/// images, and the image of cases' pods.
fn long_binding(number: usize, patterns: usize) -> Value {
    let long = (0..patterns).map(|pattern| format!("registry/{}/{pattern:02}", "a".repeat(48)));
    let images: Vec<String> = long.chain(["x".to_owned()]).collect();
    json!({ "profile": "web", "images": images, "podSelector": { "matchLabels": { "app": format!("app-{number}") } } })
}

fn labelled(app: usize) -> Value {
    let mut labelled = pod("p");
    labelled["metadata"]["labels"] = json!({ "app": format!("app-{app}") });
    labelled
}

async fn at_the_limits_of_policies_and_shards_each_rule_is_found_or_said_to_be_left_out(
    stage: &mut Stage,
) -> Result<()> {
    let mut admission = Admission::installed(stage)?;
    admission.deadline = EFFECTIVE_AT_THE_LIMIT;
    admission.offered("web").await?;
    // Five such rules fill a namespace, four such namespaces a shard, and 46 of them the policy.
    for number in 0..48 {
        let namespace = format!("team-{number:02}");
        admission
            .namespace(&namespace, &json!({}), &json!({}))
            .await?;
        for rule in 0..5 {
            let spec = long_binding(rule, 61);
            admission
                .binding(&namespace, &format!("rule-{rule}"), &spec)
                .await?;
        }
    }
    stage.controller()?;
    for number in [0, 3, 4, 5, 23, 40, 46, 47] {
        let namespace = format!("team-{number:02}");
        admission
            .is_effective(&namespace, &labelled(3), WEB)
            .await?;
    }
    // Each namespace has its first four; the last ones find no place for their fifth.
    admission
        .says("team-00", "rule-4", "Live", "True", "new pods")
        .await?;
    admission
        .says("team-47", "rule-3", "Live", "True", "new pods")
        .await?;
    admission
        .says(
            "team-47",
            "rule-4",
            "Live",
            "False",
            "has more bindings than",
        )
        .await?;
    stage
        .event("rule-4", "NotLive", "has more bindings than")
        .await?;
    let made = admission.create("team-47", &labelled(4)).await?;
    ensure!(
        made["spec"]["containers"][0]["securityContext"].is_null(),
        "{made}"
    );
    let policy = stage.kubectl(&[
        "get",
        "mutatingadmissionpolicy",
        "portcullis-admission",
        "-o",
        "json",
    ])?;
    let policy: Value = serde_json::from_str(&policy)?;
    let variables = policy["spec"]["variables"].as_array().into_iter().flatten();
    let shards = variables.filter(|it| {
        it["name"]
            .as_str()
            .is_some_and(|it| it.starts_with("rules"))
    });
    let lengths: Vec<usize> = shards
        .map(|shard| shard["expression"].as_str().unwrap_or_default().len())
        .collect();
    let longest = lengths.iter().max().copied().unwrap_or_default();
    ensure!(lengths.len() > 10 && longest > 75_000, "{lengths:?}");
    // Once there is place, it applies.
    for namespace in ["team-20", "team-21", "team-22"] {
        stage.kubectl(&["delete", "scb", "-n", namespace, "--all"])?;
    }
    admission
        .says("team-47", "rule-4", "Live", "True", "new pods")
        .await?;
    admission.is_effective("team-47", &labelled(4), WEB).await
}

async fn a_binding_that_is_too_large_is_left_out_alone(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    admission.namespace("a", &json!({}), &json!({})).await?;
    // It would come first.
    let mut large = long_binding(0, 63);
    large["mode"] = json!("enforce");
    admission.binding("a", "large", &large).await?;
    admission
        .binding("a", "small", &json!({ "profile": "web" }))
        .await?;
    stage.controller()?;
    admission.is_effective("a", &labelled(0), WEB).await?;
    admission
        .says(
            "a",
            "large",
            "Live",
            "False",
            "longer than the policies can hold for one binding",
        )
        .await?;
    stage.event("large", "NotLive", "split it").await?;
    admission
        .says("a", "small", "Live", "True", "new pods")
        .await
}
