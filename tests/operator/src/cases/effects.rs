//! Profiles whose program would not do what they say: the controller warns, and the agent does not
//! write them.

use super::cases;
use crate::{
    objects::{allowing, failure, nodes, profile},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;

cases![
    profiles_whose_program_does_something_else_are_told_apart_and_no_other_is_affected,
    an_edit_that_would_not_do_what_it_says_leaves_the_file_and_names_both_rules,
];

fn masked_new_user() -> Value {
    json!({ "index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ" })
}

/// libseccomp 2.5.4 compiles a program that denies neither clone nor unshare.
fn lost() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": ["clone", "unshare"], "action": "SCMP_ACT_ERRNO", "args": [masked_new_user()] },
            { "names": ["umount"], "action": "SCMP_ACT_ERRNO" },
        ],
    })
}

/// libseccomp 2.5.4 comes to no end with it.
fn endless() -> Value {
    let condition = |index, op, value| json!({ "index": index, "op": op, "value": value });
    let two = [
        condition(0, "SCMP_CMP_LT", 9),
        condition(2, "SCMP_CMP_GE", 3),
    ];
    let three = [
        two[0].clone(),
        two[1].clone(),
        condition(1, "SCMP_CMP_EQ", 1),
    ];
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": three },
            { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": two },
        ],
    })
}

/// Waits until `Valid`, which is true, says something of a profile.
async fn warned(stage: &Stage, name: &str, text: &str) -> Result<()> {
    let profiles = stage.profiles();
    until(&format!("Valid of {name} says {text:?}"), async || {
        let object = profiles.get(name).await?;
        let conditions = object.data["status"]["conditions"]
            .as_array()
            .context("no condition")?;
        let valid = conditions
            .iter()
            .find(|condition| condition["type"] == "Valid")
            .context("no Valid")?;
        let said = valid["message"].as_str().unwrap_or_default();
        ensure!(
            valid["status"] == "True" && said.contains(text),
            "it says {valid}"
        );
        Ok(())
    })
    .await
}

/// Waits until the node's report has a reason why it has no file of a profile.
async fn failed(stage: &Stage, name: &str, text: &str) -> Result<()> {
    let nodes = nodes(&stage.client);
    until(
        &format!("the node's report says {text:?} of {name}"),
        async || {
            let report = nodes.get(NODE).await?;
            let said = failure(&report, name);
            ensure!(said.contains(text), "it says {}", report.data["spec"]);
            Ok(())
        },
    )
    .await
}

async fn profiles_whose_program_does_something_else_are_told_apart_and_no_other_is_affected(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    let of_lost = "spec.syscalls[0]: clone on SCMP_ARCH_X86_64 should get SCMP_ACT_ERRNO (1)";
    let of_endless = "did not finish within 2 s on the rules for mkdir";
    for (name, spec) in [("lost", lost()), ("endless", endless())] {
        stage.create(profile(name, &spec)).await?;
    }
    stage.create(allowing("good", &["mkdir"])).await?;
    stage.file_says("good", "mkdir").await?;
    stage.is("good", "Ready", "True").await?;
    for (name, text) in [("lost", of_lost), ("endless", of_endless)] {
        warned(stage, name, text).await?;
        failed(stage, name, text).await?;
        stage.is(name, "Ready", "False").await?;
        stage.event(name, "NotReady", text).await?;
        ensure!(!stage.file(name).exists(), "{name} has a file");
    }
    // Both go on working.
    stage.settled().await?;
    stage.file_says("good", "mkdir").await
}

async fn an_edit_that_would_not_do_what_it_says_leaves_the_file_and_names_both_rules(
    stage: &mut Stage,
) -> Result<()> {
    stage.operator().await?;
    stage.create(allowing("a", &["mkdir"])).await?;
    stage.file_says("a", "mkdir").await?;
    let good = fs::read(stage.file("a"))?;
    let spec = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["rmdir"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["rmdir"], "action": "SCMP_ACT_KILL_PROCESS" },
        ],
    });
    stage.apply(&profile("a", &spec)).await?;
    for text in [
        "spec.syscalls[1]: rmdir",
        "SCMP_ACT_KILL_PROCESS",
        "which spec.syscalls[0] says",
    ] {
        warned(stage, "a", text).await?;
        failed(stage, "a", text).await?;
    }
    ensure!(
        fs::read(stage.file("a"))? == good,
        "the file is another one"
    );
    stage.apply(&allowing("a", &["rmdir"])).await?;
    stage.file_says("a", "rmdir").await?;
    stage.is("a", "Ready", "True").await
}
