//! What admission refuses, what it says, and what users cannot get around later.

use super::table::{WEB, field, words};
use crate::{
    admission::{Admission, EACH_MESSAGE, annotation, message, pod},
    cases::cases,
    objects::allowing,
    stage::Stage,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::fmt::Write;

cases![
    what_is_refused_says_why_in_one_line,
    ephemeral_containers_fall_under_the_same_rules,
    annotations_stay_as_they_were_when_the_pod_was_created,
];

async fn what_is_refused_says_why_in_one_line(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    stage.create(allowing("secret", &["read"])).await?;
    let enforce = |profile: &str| json!({ "portcullis.dev/profile": profile, "portcullis.dev/profile-mode": "enforce" });
    for (namespace, annotations) in [
        ("free", json!({})),
        ("enforced", enforce("web")),
        ("not-offered", json!({ "portcullis.dev/profile": "secret" })),
        ("malformed", json!({ "portcullis.dev/profile": "../web" })),
        ("half", json!({ "portcullis.dev/profile-mode": "enforce" })),
        (
            "mode",
            json!({ "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "strict" }),
        ),
        ("missing", json!({})),
    ] {
        admission
            .namespace(namespace, &json!({}), &annotations)
            .await?;
    }
    admission
        .binding(
            "missing",
            "strict",
            &json!({ "profile": "gone", "mode": "enforce" }),
        )
        .await?;
    stage.controller()?;
    admission.is_effective("enforced", &pod("p"), WEB).await?;
    let mut said = String::new();
    for (namespace, what, change) in EACH_MESSAGE {
        let mut refused = pod("p");
        change(&mut refused);
        let message = match admission.create(namespace, &refused).await {
            Ok(made) => bail!("{what}: was accepted: {made}"),
            Err(error) => message(&error)?,
        };
        writeln!(said, "{what}:\n  {message}")?;
    }
    let golden = admission.as_said(include_str!("messages.txt"));
    ensure!(
        said == golden,
        "other messages than in admission/messages.txt:\n{said}"
    );
    Ok(())
}

async fn ephemeral_containers_fall_under_the_same_rules(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    let annotations =
        json!({ "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce" });
    admission
        .namespace("enforced", &json!({}), &annotations)
        .await?;
    admission.namespace("free", &json!({}), &json!({})).await?;
    stage.controller()?;
    admission.is_effective("enforced", &pod("p"), WEB).await?;
    let mut annotated = pod("p");
    annotated["metadata"]["annotations"] = json!({ annotation("debug"): "localhost/d" });
    admission.make("free", &annotated).await?;
    admission.make("enforced", &pod("p")).await?;
    let made = admission.debug("free", "p", &json!({})).await?;
    ensure!(
        words(&made["securityContext"]["seccompProfile"]) == "localhost/d",
        "{made}"
    );
    let other = json!({ "securityContext": { "seccompProfile": field("localhost/other") } });
    let Err(error) = admission.debug("enforced", "p", &other).await else {
        bail!("another profile was accepted");
    };
    let message = message(&error)?;
    ensure!(
        message.contains("container debug: namespace enforced enforces localhost/operator/web.json, but the pod selects localhost/other"),
        "{message}"
    );
    let made = admission.debug("enforced", "p", &json!({})).await?;
    ensure!(
        words(&made["securityContext"]["seccompProfile"]) == WEB,
        "{made}"
    );
    Ok(())
}

async fn annotations_stay_as_they_were_when_the_pod_was_created(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.namespace("free", &json!({}), &json!({})).await?;
    stage.controller()?;
    let mut annotated = pod("p");
    let key = annotation("c");
    annotated["metadata"]["annotations"] = json!({ key.clone(): "localhost/a" });
    admission
        .is_effective("free", &annotated, "localhost/a")
        .await?;
    admission.make("free", &annotated).await?;
    for subresource in ["", "status"] {
        for (change, key) in [
            (json!({ key.clone(): "localhost/b" }), key.as_str()),
            (json!({ key.clone(): null }), &key),
            (
                json!({ "seccomp.security.alpha.kubernetes.io/pod": "localhost/b" }),
                "seccomp.security.alpha.kubernetes.io/pod",
            ),
            (
                json!({ "portcullis.dev/changed-by": "me" }),
                "portcullis.dev/changed-by",
            ),
        ] {
            let patch = json!({ "metadata": { "annotations": change } });
            let Err(error) = admission.patch("free", "p", subresource, &patch).await else {
                bail!("{patch} of {subresource:?} was accepted");
            };
            let message = message(&error)?;
            let wanted = format!("the annotation {key} can be set only when the pod is created");
            ensure!(message.contains(&wanted), "{message}");
        }
        let other = json!({ "metadata": { "annotations": { "other": subresource } } });
        admission.patch("free", "p", subresource, &other).await?;
    }
    Ok(())
}
