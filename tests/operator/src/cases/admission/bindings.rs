//! What a binding says about itself.

use super::table::WEB;
use crate::{
    admission::{Admission, pod},
    cases::cases,
    stage::Stage,
    wait::until,
};
use anyhow::{Result, ensure};
use serde_json::json;

cases![bindings_say_whether_they_apply_and_how_many_pods_they_changed,];

async fn bindings_say_whether_they_apply_and_how_many_pods_they_changed(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::installed(stage)?;
    stage
        .create(crate::objects::profile(
            "web",
            &json!({ "allow": ["read"], "offeredTo": { "matchLabels": { "team": "a" } } }),
        ))
        .await?;
    admission
        .namespace("a", &json!({ "team": "a" }), &json!({}))
        .await?;
    admission
        .namespace("b", &json!({ "team": "b" }), &json!({}))
        .await?;
    admission
        .binding(
            "a",
            "one",
            &json!({ "profile": "web", "podSelector": { "matchLabels": { "app": "x" } } }),
        )
        .await?;
    admission
        .binding("a", "two", &json!({ "profile": "runtime/default" }))
        .await?;
    admission
        .binding("b", "one", &json!({ "profile": "web" }))
        .await?;
    admission
        .binding(
            "b",
            "two",
            &json!({ "profile": "absent", "mode": "enforce", "images": ["ghcr.io/*"] }),
        )
        .await?;
    stage.controller()?;
    admission
        .says(
            "a",
            "one",
            "Live",
            "True",
            "new pods of the namespace get it",
        )
        .await?;
    admission
        .says(
            "a",
            "two",
            "Live",
            "True",
            "unless they also fall under one, whose name sorts first",
        )
        .await?;
    admission
        .says(
            "b",
            "one",
            "Valid",
            "False",
            "SeccompProfile web, which is not offered to namespace b",
        )
        .await?;
    admission
        .says("b", "one", "Live", "False", "not offered")
        .await?;
    admission
        .says(
            "b",
            "two",
            "Live",
            "False",
            "pods that it selects are refused",
        )
        .await?;
    stage
        .event("two", "NotLive", "absent, which does not exist")
        .await?;
    let mut selected = pod("p");
    selected["metadata"]["labels"] = json!({ "app": "x" });
    admission.is_effective("a", &selected, WEB).await?;
    admission.make("a", &selected).await?;
    until("the pod is counted", async || {
        let status = admission.status("a", "one").await?;
        ensure!(status["pods"] == 1, "{status}");
        Ok(())
    })
    .await?;
    // Once the profile is there, the binding applies.
    admission.offered("absent").await?;
    admission.says("b", "two", "Live", "True", "").await?;
    let mut image = pod("p");
    image["spec"]["containers"][0]["image"] = json!("ghcr.io/x:1");
    admission
        .is_effective("b", &image, "localhost/operator/absent.json")
        .await?;
    let made = admission.create("b", &pod("p")).await?;
    ensure!(
        made["spec"]["containers"][0]["securityContext"].is_null(),
        "{made}"
    );
    // What the schema refuses.
    for wrong in [
        json!({ "profile": "UPPER" }),
        json!({ "profile": "a", "mode": "strict" }),
        json!({ "profile": "a", "images": ["a|b"] }),
        json!({ "profile": "a", "containers": ["a,b"] }),
        json!({}),
    ] {
        ensure!(
            admission.binding("a", "wrong", &wrong).await.is_err(),
            "{wrong} was accepted"
        );
    }
    Ok(())
}
