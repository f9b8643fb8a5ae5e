//! Pods that admission leaves alone, although rules of their namespace select them.

use super::table::WEB;
use crate::{
    admission::{Admission, annotation, pod},
    cases::cases,
    stage::Stage,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

cases![windows_pods_mirror_pods_and_system_pods_stay_as_they_are];

async fn windows_pods_mirror_pods_and_system_pods_stay_as_they_are(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    let enforced =
        json!({ "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce" });
    admission
        .namespace("enforced", &json!({}), &enforced)
        .await?;
    // Its fault refuses every pod that is not left alone.
    let malformed = json!({ "portcullis.dev/profile": "../web" });
    admission
        .namespace("malformed", &json!({}), &malformed)
        .await?;
    stage.controller()?;
    admission.is_effective("enforced", &pod("p"), WEB).await?;

    let mut windows = pod("windows");
    windows["spec"]["os"] = json!({ "name": "windows" });
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "0123" });
    mirror["spec"]["nodeName"] = json!("n1");
    // What an annotation selects becomes no field there either.
    let mut annotated = mirror.clone();
    annotated["metadata"]["annotations"][annotation("c")] = json!("localhost/other");
    let mut privileged = mirror.clone();
    privileged["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    for namespace in ["enforced", "malformed"] {
        for left_alone in [&windows, &mirror, &annotated, &privileged] {
            let made = admission.create(namespace, left_alone).await?;
            stays(left_alone, &made)?;
        }
    }
    // It is no different without a dry run.
    let made = admission.make("malformed", &mirror).await?;
    stays(&mirror, &made)?;
    stays(
        &pod("k"),
        &admission.create("kube-system", &pod("k")).await?,
    )
}

/// That neither annotations nor security contexts were changed.
fn stays(pod: &Value, made: &Value) -> Result<()> {
    let of = |pod: &Value| {
        let annotations = &pod["metadata"]["annotations"];
        let context = &pod["spec"]["containers"][0]["securityContext"];
        (annotations.clone(), context.clone())
    };
    ensure!(of(pod) == of(made), "{pod} became {made}");
    Ok(())
}
