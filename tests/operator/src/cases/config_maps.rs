//! `ConfigMap` objects as a source of profiles, and as a way to distribute their files.

use super::cases;
use crate::{
    api_server::repository,
    objects::{allowing, annotated_pod},
    stage::{NAMESPACE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::fs;

cases![
    what_a_config_map_says_becomes_profiles_which_follow_it_and_go_with_it,
    a_bad_key_and_a_taken_name_are_said_and_hold_up_nothing,
    the_files_of_profiles_are_published_repaired_and_removed,
    without_their_flags_no_config_map_is_read_or_written,
];

/// The API for `ConfigMap` objects of the operator's namespace, with the rights that they need.
fn config_maps(stage: &Stage) -> Result<Api<ConfigMap>> {
    let rights = repository().join("packaging/manifests/config-maps.yaml");
    stage.kubectl(&["apply", "-f", &rights.to_string_lossy()])?;
    Ok(Api::namespaced(stage.client.clone(), NAMESPACE))
}

/// A map that the controller reads.
fn map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "portcullis.dev/profiles": "true" } },
        "data": data,
    })
}

fn document(call: &str) -> String {
    let rule = json!({ "names": [call], "action": "SCMP_ACT_ALLOW" });
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule] }).to_string()
}

async fn set(maps: &Api<ConfigMap>, name: &str, data: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "data": data }));
    maps.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn delete(maps: &Api<ConfigMap>, name: &str) -> Result<()> {
    maps.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

async fn what_a_config_map_says_becomes_profiles_which_follow_it_and_go_with_it(
    stage: &mut Stage,
) -> Result<()> {
    let maps = config_maps(stage)?;
    stage.controller_with(&["--config-maps"])?;
    stage.agent().await?;
    let manifest = allowing("named", &["fsync"]).to_string();
    let data = json!({ "document.json": document("mkdir"), "spec.yaml": "allow: [rmdir]", "x.yaml": manifest });
    stage.create(map("shop", &data)).await?;
    for (profile, call) in [("document", "mkdir"), ("spec", "rmdir"), ("named", "fsync")] {
        stage.file_says(profile, call).await?;
        stage.is(profile, "Ready", "True").await?;
    }
    set(&maps, "shop", &json!({ "spec.yaml": "allow: [link]" })).await?;
    stage.file_says("spec", "link").await?;
    stage.apply(&allowing("named", &["sync"])).await?;
    stage.file_says("named", "fsync").await?;
    // A pod keeps its profile, whatever becomes of the key.
    stage.create(annotated_pod("p", "spec")).await?;
    stage.is("spec", "InUse", "True").await?;
    // Nothing is written as long as a pause is there.
    let mut pause = map("pause", &json!({}));
    pause["metadata"]["labels"]["portcullis.dev/profiles"] = "pause".into();
    stage.create(pause).await?;
    stage.settled().await?;
    set(&maps, "shop", &json!({ "document.json": null })).await?;
    stage.settled().await?;
    stage.is("document", "Ready", "True").await?;
    delete(&maps, "pause").await?;
    stage.gone("document").await?;
    stage.no_file("document").await?;
    delete(&maps, "shop").await?;
    stage.gone("named").await?;
    stage
        .says("spec", "Ready", "its deletion waits for")
        .await?;
    stage.file_says("spec", "link").await?;
    // It comes again once it has gone.
    stage
        .create(map("shop", &json!({ "spec.yaml": "allow: [mkdir]" })))
        .await?;
    stage.settled().await?;
    stage.file_says("spec", "link").await?;
    stage.delete_pod("p").await?;
    stage.file_says("spec", "mkdir").await?;
    delete(&maps, "shop").await?;
    stage.gone("spec").await
}

async fn a_bad_key_and_a_taken_name_are_said_and_hold_up_nothing(stage: &mut Stage) -> Result<()> {
    let maps = config_maps(stage)?;
    stage.create(allowing("taken", &["mkdir"])).await?;
    stage.controller_with(&["--config-maps"])?;
    stage.agent().await?;
    let data = json!({ "bad.yaml": "allow: [mkdir]", "taken.yaml": "allow: [rmdir]", "good.yaml": "allow: [link]" });
    stage.create(map("mixed", &data)).await?;
    stage.file_says("good", "link").await?;
    stage.file_says("bad", "mkdir").await?;
    let note = "key taken.yaml: SeccompProfile \"taken\": ";
    stage.event("mixed", "NameTaken", note).await?;
    set(
        &maps,
        "mixed",
        &json!({ "bad.yaml": "alow: [mkdir]", "good.yaml": "allow: [sync]" }),
    )
    .await?;
    stage.event("mixed", "Invalid", "key bad.yaml: ").await?;
    stage.file_says("good", "sync").await?;
    stage.settled().await?;
    stage.file_says("bad", "mkdir").await?;
    stage.file_says("taken", "mkdir").await?;
    delete(&maps, "mixed").await?;
    stage.gone("bad").await?;
    stage.gone("good").await?;
    stage.file_says("taken", "mkdir").await
}

/// The published text of a file, if there is one.
async fn published(maps: &Api<ConfigMap>, file: &str) -> Result<Option<String>> {
    let labelled = ListParams::default().labels("portcullis.dev/published-profiles=true");
    let all = maps.list(&labelled).await?;
    let mut files = all.items.into_iter().filter_map(|map| map.data).flatten();
    Ok(files.find(|(name, _)| name == file).map(|(_, text)| text))
}

/// Waits until it is as on the node.
async fn is_published(stage: &Stage, maps: &Api<ConfigMap>, profile: &str) -> Result<()> {
    until(&format!("the file of {profile} is published"), async || {
        let text = published(maps, &format!("{profile}.json")).await?;
        let file = fs::read_to_string(stage.file(profile))?;
        ensure!(text.as_deref() == Some(&*file), "it is {text:?}");
        Ok(())
    })
    .await
}

async fn the_files_of_profiles_are_published_repaired_and_removed(stage: &mut Stage) -> Result<()> {
    let maps = config_maps(stage)?;
    stage.controller_with(&["--publish-config-maps", NAMESPACE])?;
    stage.agent().await?;
    for name in ["a", "b", "c"] {
        stage.create(allowing(name, &["mkdir"])).await?;
        stage.file_says(name, "mkdir").await?;
        is_published(stage, &maps, name).await?;
    }
    stage.apply(&allowing("a", &["rmdir"])).await?;
    stage.file_says("a", "rmdir").await?;
    is_published(stage, &maps, "a").await?;
    let labelled = ListParams::default().labels("portcullis.dev/published-profiles=true");
    maps.delete_collection(&DeleteParams::default(), &labelled)
        .await?;
    is_published(stage, &maps, "a").await?;
    is_published(stage, &maps, "b").await?;
    for name in ["a", "b", "c"] {
        stage.delete_profile(name).await?;
        stage.gone(name).await?;
    }
    until("nothing is published", async || {
        let left = maps.list(&labelled).await?.items;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

async fn without_their_flags_no_config_map_is_read_or_written(stage: &mut Stage) -> Result<()> {
    let maps = config_maps(stage)?;
    stage.operator().await?;
    stage
        .create(map("unread", &json!({ "unread.yaml": "allow: [mkdir]" })))
        .await?;
    stage.settled().await?;
    stage.settled().await?;
    let profile = stage.profiles().get_opt("unread").await?;
    let text = published(&maps, "mark-1.json").await?;
    delete(&maps, "unread").await.context("the map")?;
    ensure!(profile.is_none() && text.is_none(), "{profile:?} {text:?}");
    Ok(())
}
