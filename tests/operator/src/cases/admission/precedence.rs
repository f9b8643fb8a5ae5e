//! What decides: fields, annotations and rules, of pods, containers, namespaces and the cluster.

use super::table::{Row, TABLES, WEB, field, words};
use crate::{
    admission::{Admission, annotation, pod},
    cases::cases,
    http::{free_address, has_metric},
    objects::profile,
    stage::Stage,
    wait::until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

cases![
    fields_annotations_and_rules_decide_in_their_order,
    the_defaults_of_the_cluster_come_last_or_first,
    a_default_of_the_cluster_that_names_no_good_profile_is_reported,
    a_restricted_namespace_takes_a_pod_with_only_an_annotation,
];

async fn fields_annotations_and_rules_decide_in_their_order(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    for (namespace, annotations) in [
        ("free", json!({})),
        ("by-default", json!({ "portcullis.dev/profile": "web" })),
        (
            "by-force",
            json!({ "portcullis.dev/profile": "web", "portcullis.dev/profile-mode": "enforce" }),
        ),
        ("bound", json!({})),
        ("bound-by-force", json!({})),
    ] {
        admission
            .namespace(namespace, &json!({}), &annotations)
            .await?;
    }
    admission
        .binding("bound", "b", &json!({ "profile": "web" }))
        .await?;
    admission
        .binding(
            "bound-by-force",
            "b",
            &json!({ "profile": "web", "mode": "enforce" }),
        )
        .await?;
    stage.controller()?;
    for namespace in ["bound", "bound-by-force"] {
        admission.is_effective(namespace, &pod("p"), WEB).await?;
    }
    admission.is_effective("by-default", &pod("p"), WEB).await?;
    for (namespace, rows) in TABLES {
        for row in rows {
            // As a container, and as an init container beside one that selects for itself.
            for place in ["containers", "initContainers"] {
                admission.holds(namespace, place, row).await?;
            }
        }
    }
    Ok(())
}

impl Admission {
    /// That a row of a table holds.
    async fn holds(&self, namespace: &str, place: &str, row: &Row) -> Result<()> {
        let mut wanted = pod("");
        wanted["metadata"] = json!({ "generateName": "p-", "annotations": {} });
        let annotations = &mut wanted["metadata"]["annotations"];
        for (key, value) in [("", row.pod_annotation), ("c", row.annotation)] {
            if !value.is_empty() {
                annotations[annotation(key)] = json!(value);
            }
        }
        if !row.pod_field.is_empty() {
            wanted["spec"]["securityContext"] = json!({ "seccompProfile": field(row.pod_field) });
        }
        let mut container = json!({ "name": "c", "image": "x" });
        if !row.field.is_empty() {
            container["securityContext"] = json!({ "seccompProfile": field(row.field) });
        }
        wanted["spec"]["containers"] = json!([]);
        if place == "initContainers" {
            let own = json!({ "name": "own", "image": "x", "securityContext": { "seccompProfile": field(WEB) } });
            wanted["spec"]["containers"] = json!([own]);
        }
        wanted["spec"][place] = json!([container]);
        let what = format!("{namespace}, {place}: {}", row.what);
        let made = self
            .create(namespace, &wanted)
            .await
            .context(what.clone())?;
        let of = |context: &Value| words(&context["securityContext"]["seccompProfile"]);
        let found = (of(&made["spec"]), of(&made["spec"][place][0]));
        ensure!(
            (found.0.as_str(), found.1.as_str()) == row.wanted,
            "{what}: {found:?}, not {:?}: {}",
            row.wanted,
            made["metadata"]["annotations"]
        );
        let is_changed = found != (row.pod_field.to_owned(), row.field.to_owned());
        let says = made["metadata"]["annotations"]["portcullis.dev/changed-by"].is_string();
        ensure!(
            is_changed == says,
            "{what}: {}",
            made["metadata"]["annotations"]
        );
        Ok(())
    }
}

async fn the_defaults_of_the_cluster_come_last_or_first(stage: &mut Stage) -> Result<()> {
    let admission = Admission::installed(stage)?;
    admission.offered("web").await?;
    admission.namespace("free", &json!({}), &json!({})).await?;
    admission
        .namespace(
            "own",
            &json!({}),
            &json!({ "portcullis.dev/profile": "web" }),
        )
        .await?;
    admission
        .namespace("exempt", &json!({}), &json!({}))
        .await?;
    stage.controller_with(&[
        "--default-profile",
        "runtime/default",
        "--exempt-namespace",
        "exempt",
    ])?;
    admission
        .is_effective("free", &pod("p"), "runtime/default")
        .await?;
    admission.is_effective("own", &pod("p"), WEB).await?;
    let made = admission.create("exempt", &pod("p")).await?;
    ensure!(
        made["spec"]["containers"][0]["securityContext"].is_null(),
        "{made}"
    );
    stage.processes.clear();
    stage.controller_with(&[
        "--default-profile",
        "runtime/default",
        "--default-profile-mode",
        "enforce",
    ])?;
    admission
        .is_effective("own", &pod("p"), "runtime/default")
        .await?;
    admission
        .is_effective("exempt", &pod("p"), "runtime/default")
        .await
}

async fn a_restricted_namespace_takes_a_pod_with_only_an_annotation(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::installed(stage)?;
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    admission
        .namespace("restricted", &labels, &json!({}))
        .await?;
    stage.controller()?;
    let mut annotated = pod("p");
    annotated["spec"]["containers"][0]["securityContext"] = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": { "drop": ["ALL"] },
    });
    let refused = admission.create("restricted", &annotated).await;
    ensure!(refused.is_err(), "without any profile it was accepted");
    annotated["metadata"]["annotations"] = json!({ annotation(""): "localhost/operator/web.json" });
    until("the pod is accepted", async || {
        admission.create("restricted", &annotated).await.map(drop)
    })
    .await
}

async fn a_default_of_the_cluster_that_names_no_good_profile_is_reported(
    stage: &mut Stage,
) -> Result<()> {
    let admission = Admission::installed(stage)?;
    let address = free_address()?;
    let default = ["--default-profile", "web", "--listen", &address.to_string()];
    stage.controller_with(&default)?;
    let event = "DefaultUnusable";
    let reported = async |state: &str| {
        let wanted = format!("portcullis_admission_cluster_default{{state=\"{state}\"}} 1");
        until(&wanted, async || has_metric(address, &wanted)).await
    };
    reported("missing").await?;
    let what = "SeccompProfile web does not exist";
    stage.event("portcullis-admission", event, what).await?;
    let misspelt = json!({ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" });
    let misspelt = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [misspelt] });
    stage.create(profile("web", &misspelt)).await?;
    reported("invalid").await?;
    let what = "SeccompProfile web is not valid";
    stage.event("portcullis-admission", event, what).await?;
    stage.kubectl(&[
        "patch",
        "scp",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"syscalls":null}}"#,
    ])?;
    reported("usable").await?;
    admission.namespace("free", &json!({}), &json!({})).await?;
    admission.is_effective("free", &pod("p"), WEB).await
}
