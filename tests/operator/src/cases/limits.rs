//! The operator's own rules for profiles: controller, agent and webhook hold them alike.

use super::cases;
use crate::{
    admission::{Admission, Carrier, message, pod},
    objects::{allowing, failure, nodes, profile, profiles},
    stage::{NODE, Stage},
    wait::until,
};
use anyhow::{Result, bail, ensure};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use std::fs;

cases![
    a_profile_that_breaks_the_operators_rules_is_on_no_node_and_its_last_file_stays,
    a_profile_that_breaks_the_operators_rules_is_refused_when_it_is_applied,
];

const RULES: [&str; 2] = [
    "--forbidden-syscalls=ptrace,bpf",
    "--forbidden-seccomp-actions=SCMP_ACT_TRACE",
];

/// What users read of profiles, and of which: as conditions, on nodes, and from the webhook.
fn not_allowed() -> [(&'static str, Value, &'static str); 3] {
    [
        (
            "direct",
            json!({ "allow": ["ptrace"] }),
            "the operator's configuration does not allow it: it lets through ptrace (spec.allow), \
             forbidden by --forbidden-syscalls",
        ),
        (
            "default",
            json!({ "defaultAction": "SCMP_ACT_LOG", "syscalls": [
                { "names": ["bpf"], "action": "SCMP_ACT_ERRNO" },
                { "names": ["mkdir"], "action": "SCMP_ACT_TRACE" }] }),
            "the operator's configuration does not allow it: it lets through ptrace \
             (spec.defaultAction), forbidden by --forbidden-syscalls; uses SCMP_ACT_TRACE \
             (spec.syscalls[1]), forbidden by --forbidden-seccomp-actions",
        ),
        (
            "stacked",
            json!({ "baseProfileName": "direct", "runtimeBase": "Omit", "allow": ["read"] }),
            "the operator's configuration does not allow it: it lets through ptrace (syscalls[1] of \
             the file (from a base)), forbidden by --forbidden-syscalls",
        ),
    ]
}

/// Waits until `Valid` of a profile is false for its effect, with this message.
async fn is_not_allowed(stage: &Stage, name: &str, expected: &str) -> Result<()> {
    let profiles = stage.profiles();
    until(&format!("{name} is not allowed"), async || {
        let object = profiles.get(name).await?;
        let conditions = object.data["status"]["conditions"].as_array();
        let valid = conditions.into_iter().flatten();
        let valid = valid
            .clone()
            .find(|condition| condition["type"] == "Valid")
            .cloned()
            .unwrap_or_default();
        ensure!(
            valid["status"] == "False"
                && valid["reason"] == "NotAllowed"
                && valid["message"] == expected,
            "it is {valid}"
        );
        Ok(())
    })
    .await
}

/// Waits until the node says why it has no file, or only an older one, of a profile.
async fn node_says(stage: &Stage, name: &str, expected: &str) -> Result<()> {
    let nodes = nodes(&stage.client);
    until(&format!("the node says why of {name}"), async || {
        let report = nodes.get(NODE).await?;
        let said = failure(&report, name);
        ensure!(said == expected, "it says {said:?}");
        Ok(())
    })
    .await
}

async fn a_profile_that_breaks_the_operators_rules_is_on_no_node_and_its_last_file_stays(
    stage: &mut Stage,
) -> Result<()> {
    stage.controller_with(&RULES)?;
    stage.agent_with(&RULES).await?;
    for (name, spec, expected) in not_allowed() {
        stage.create(profile(name, &spec)).await?;
        is_not_allowed(stage, name, expected).await?;
        node_says(stage, name, expected).await?;
        stage.is(name, "Ready", "False").await?;
        stage.event(name, "Invalid", expected).await?;
        ensure!(!stage.file(name).exists(), "{name} has a file");
    }
    // The profile denies what its base allows.
    let denies = json!({ "baseProfileName": "direct", "allow": ["read"], "syscalls": [
        { "names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": "ENOSYS" }] });
    stage.create(profile("denies", &denies)).await?;
    stage.create(allowing("web", &["mkdir"])).await?;
    for name in ["denies", "web"] {
        stage.is(name, "Ready", "True").await?;
        stage.is(name, "Valid", "True").await?;
    }
    // An edit leaves the file, as any that is not valid.
    let good = fs::read(stage.file("web"))?;
    stage.apply(&allowing("web", &["mkdir", "bpf"])).await?;
    let expected = "the operator's configuration does not allow it: it lets through bpf (spec.allow), \
                    forbidden by --forbidden-syscalls";
    is_not_allowed(stage, "web", expected).await?;
    let kept = "it is not allowed; generation 1 stays on 1 of 1 nodes";
    stage.says("web", "Ready", kept).await?;
    node_says(
        stage,
        "web",
        &format!("{expected}; generation 1 stays on the node"),
    )
    .await?;
    stage.has_still("web", &good)?;
    stage.apply(&allowing("web", &["mkdir"])).await?;
    stage.is("web", "Ready", "True").await?;

    // Rules that come later take no file away: containers may need it.
    stage.processes.clear();
    let tighter = ["--allowed-syscalls=rmdir"];
    stage.controller_with(&tighter)?;
    stage.agent_with(&tighter).await?;
    let expected = "the operator's configuration does not allow it: it lets through mkdir (spec.allow), \
                    not listed in --allowed-syscalls";
    is_not_allowed(stage, "web", expected).await?;
    stage.create(allowing("small", &["rmdir"])).await?;
    stage.is("small", "Ready", "True").await?;
    stage.has_still("web", &good)?;
    fs::remove_file(stage.file("web"))?;
    until("the file is put back", async || {
        stage.has_still("web", &good)
    })
    .await?;

    // Without any, all are as they say.
    stage.processes.clear();
    stage.operator().await?;
    for name in ["direct", "default", "stacked", "web"] {
        stage.is(name, "Ready", "True").await?;
    }
    Ok(())
}

async fn a_profile_that_breaks_the_operators_rules_is_refused_when_it_is_applied(
    stage: &mut Stage,
) -> Result<()> {
    stage.carrier = Carrier::Webhook;
    let spec = json!({ "profile": "web", "mode": "enforce" });
    let admission = Admission::bound(stage, &spec).await?;
    let base = not_allowed()[0].clone();
    stage.create(profile(base.0, &base.1)).await?;
    stage.controller_with(&RULES)?;
    admission
        .is_effective("bound", &pod("p"), "localhost/operator/web.json")
        .await?;
    let api = profiles(&stage.client);
    let post = async |name: &str, spec: &Value| {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let object: DynamicObject = serde_json::from_value(profile(name, spec))?;
        Ok::<_, anyhow::Error>(api.create(&dry, &object).await.map(drop)?)
    };
    for (name, spec, expected) in not_allowed() {
        let name = format!("new-{name}");
        let expected =
            format!("admission webhook \"kinds.portcullis.dev\" denied the request: {expected}");
        // Where it takes longer than the API server waits, the profile is let in.
        until(&format!("{name} is refused"), async || {
            let Err(error) = post(&name, &spec).await else {
                bail!("it was accepted");
            };
            let message = message(&error)?;
            ensure!(message == expected, "{message}");
            Ok(())
        })
        .await?;
    }
    post("good", &json!({ "allow": ["mkdir"] })).await?;
    // What the webhook was not asked about is in the status all the same.
    is_not_allowed(stage, base.0, base.2).await
}
