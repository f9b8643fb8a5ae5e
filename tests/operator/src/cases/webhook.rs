//! The webhook: what only it has, such as certificates, and how it takes turns with the policies.

mod alike;
mod certificates;
mod given;

use super::cases;
use crate::{
    admission::{Admission, Carrier, annotation, install_carrier, message, pod},
    crowd::Crowd,
    objects::{profile, profiles},
    stage::Stage,
    wait::until,
};
use anyhow::{Context, Result, bail, ensure};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use std::{fs, time::Instant};

cases![
    while_no_controller_runs_only_pods_that_a_rule_may_concern_are_refused,
    carriers_take_turns_and_no_pod_misses_its_rule,
    what_is_removed_before_the_operator_lets_pods_through,
    our_own_kinds_are_checked_when_they_are_applied,
    malformed_and_huge_reviews_are_answered_with_an_error,
];

const WEB: &str = "localhost/operator/web.json";

/// The profile of the first container's field, as in an annotation.
fn of(pod: &Value) -> String {
    let field = &pod["spec"]["containers"][0]["securityContext"]["seccompProfile"];
    match field["localhostProfile"].as_str() {
        Some(path) => format!("localhost/{path}"),
        None => field["type"].as_str().unwrap_or_default().to_owned(),
    }
}

fn annotated(name: &str, profile: &str) -> Value {
    let mut annotated = pod(name);
    annotated["metadata"]["annotations"] = json!({ annotation("c"): profile });
    annotated
}

/// A namespace `bound` whose pods get `web`, and one without rules.
async fn bound(stage: &mut Stage) -> Result<Admission> {
    let spec = json!({ "profile": "web", "mode": "enforce" });
    let admission = Admission::bound(stage, &spec).await?;
    admission.namespace("free", &json!({}), &json!({})).await?;
    Ok(admission)
}

async fn while_no_controller_runs_only_pods_that_a_rule_may_concern_are_refused(
    stage: &mut Stage,
) -> Result<()> {
    let admission = bound(stage).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let made = admission
        .make("free", &annotated("first", "localhost/a"))
        .await?;
    ensure!(of(&made) == "localhost/a", "{made}");
    stage.processes.clear();
    for (namespace, refused) in [("bound", pod("p")), ("free", annotated("p", "localhost/a"))] {
        let Err(error) = admission.create(namespace, &refused).await else {
            bail!("{namespace}: accepted without its rule");
        };
        let message = message(&error)?;
        ensure!(
            message.contains("failed calling webhook \"pods.portcullis.dev\""),
            "{message}"
        );
    }
    admission.make("free", &pod("second")).await?;
    admission.create("kube-system", &pod("p")).await?;
    // Reports of kubelets, and everything else that changes no annotation of ours.
    for subresource in ["", "status"] {
        let patch = json!({ "metadata": { "annotations": { "other": subresource } } });
        admission
            .patch("free", "first", subresource, &patch)
            .await?;
        let patch = json!({ "metadata": { "annotations": { annotation("c"): "localhost/b" } } });
        let changed = admission.patch("free", "first", subresource, &patch).await;
        ensure!(
            changed.is_err(),
            "{subresource:?}: the annotation could be changed"
        );
    }
    // Our own kinds are not checked then.
    let wrong = profile(
        "wrong",
        &json!({ "allow": ["read"], "baseProfileName": "wrong" }),
    );
    stage.create(wrong).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await
}

async fn carriers_take_turns_and_no_pod_misses_its_rule(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let crowd = Crowd::begin(stage, "operator/web.json");
    live(stage, &admission, "mutatingwebhookconfiguration").await?;
    // An upgrade of the API server, and then of the operator's manifests.
    policies_could_be_installed(stage, &admission).await?;
    install_carrier(stage, Carrier::Policies)?;
    live(stage, &admission, "mutatingadmissionpolicybinding").await?;
    // And back, with a controller that prefers the webhook.
    stage.processes.clear();
    stage.controller_with(&["--admission-carrier=webhook"])?;
    live(stage, &admission, "mutatingwebhookconfiguration").await?;
    eprintln!("{} pods, eight at once", crowd.end()?);
    // The policies take over where the webhook is taken out, and the other way round.
    stage.kubectl(&[
        "delete",
        "mutatingwebhookconfiguration",
        "portcullis-admission",
    ])?;
    // Nobody promises that no pod misses its rule meanwhile; afterwards none does.
    until("the policies have taken over", async || {
        let said = says_live(stage, "mutatingadmissionpolicybinding")?;
        ensure!(said == "true", "their binding says {said:?}");
        for number in 0..20 {
            let made = admission.create("bound", &pod("p")).await?;
            ensure!(of(&made) == WEB, "pod {number}: {made}");
        }
        Ok(())
    })
    .await?;
    live(stage, &admission, "mutatingadmissionpolicybinding").await
}

/// What a carrier's object says about being live; nothing, if it is not there.
fn says_live(stage: &Stage, kind: &str) -> Result<String> {
    stage.kubectl(&[
        "get",
        kind,
        "portcullis-admission",
        "--ignore-not-found",
        "-o",
        r"jsonpath={.metadata.annotations.portcullis\.dev/live}",
    ])
}

async fn what_is_removed_before_the_operator_lets_pods_through(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    install_carrier(stage, Carrier::Policies)?;
    stage.controller_with(&["--admission-carrier=webhook"])?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    live(stage, &admission, "mutatingwebhookconfiguration").await?;
    let pods = [("bound", pod("p")), ("free", annotated("p", "localhost/a"))];
    let removal = stage.remove_profiles(&["--keep"])?;
    // As long as it takes; the controller, which here is no Deployment's, still answers.
    while stage.processes[removal].is_running()? {
        for (namespace, pod) in &pods {
            let made = admission.create(namespace, pod).await;
            made.context("while admission is taken out")?;
        }
    }
    ensure!(stage.processes[removal].ended().await?.success());
    stage.processes[removal]
        .says("1 kept; admission is taken out")
        .await?;
    stage.processes.clear();
    for kind in ["mutating", "validating"] {
        for kind in [
            "webhookconfiguration",
            "admissionpolicybinding",
            "admissionpolicy",
        ]
        .map(|object| format!("{kind}{object}"))
        {
            let left =
                stage.kubectl(&["get", &kind, "portcullis-admission", "--ignore-not-found"])?;
            ensure!(left.is_empty(), "{left}");
        }
    }
    until("pods are created as they are", async || {
        for (namespace, pod) in &pods {
            let made = admission.create(namespace, pod).await?;
            ensure!(of(&made).is_empty(), "{made}");
        }
        Ok(())
    })
    .await
}

/// That a pod gets its rule.
async fn always(admission: &Admission) -> Result<()> {
    let made = admission.create("bound", &pod("p")).await?;
    // Not to be waited for.
    assert!(of(&made) == WEB, "a pod has missed its rule: {made}");
    Ok(())
}

/// Waits until the webhook says that the policies could be there, too, and creates pods meanwhile.
async fn policies_could_be_installed(stage: &Stage, admission: &Admission) -> Result<()> {
    until("the webhook says what else there could be", async || {
        let annotations = stage.kubectl(&[
            "get",
            "mutatingwebhookconfiguration",
            "portcullis-admission",
            "-o",
            "jsonpath={.metadata.annotations}",
        ])?;
        let says = annotations.contains(r#""portcullis.dev/could-install":"policies""#);
        ensure!(says, "{annotations}");
        always(admission).await
    })
    .await
}

/// Waits until a carrier is live and the other one is not, and creates pods meanwhile.
async fn live(stage: &Stage, admission: &Admission, kind: &str) -> Result<()> {
    let kinds = [
        "mutatingwebhookconfiguration",
        "mutatingadmissionpolicybinding",
    ];
    until(&format!("{kind} is live alone"), async || {
        for _ in 0..20 {
            always(admission).await?;
        }
        for each in kinds {
            let found = says_live(stage, each)?;
            ensure!((found == "true") == (each == kind), "{each}: {found:?}");
        }
        Ok(())
    })
    .await
}

/// The cases of the files below this one.
pub(super) fn more() -> Vec<(&'static str, crate::stage::Case)> {
    [alike::all(), certificates::all(), given::all()].concat()
}

/// The cases for an older API server.
pub(super) fn on_older() -> Vec<(&'static str, crate::stage::Case)> {
    let all = all().into_iter();
    let also = all.filter(|(name, _)| *name == "our_own_kinds_are_checked_when_they_are_applied");
    let upgrade: crate::stage::Case =
        |stage| Box::pin(pods_are_decided_on_before_and_after_an_upgrade(stage));
    also.chain([("pods_are_decided_on_before_and_after_an_upgrade", upgrade)])
        .collect()
}

async fn pods_are_decided_on_before_and_after_an_upgrade(stage: &mut Stage) -> Result<()> {
    let version = stage.kubectl(&["get", "--raw", "/version"])?;
    ensure!(version.contains(r#""gitVersion": "v1.32."#), "{version}");
    let served = stage.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"])?;
    ensure!(!served.contains("mutatingadmissionpolicies"), "{served}");
    let admission = bound(stage).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    admission.says("bound", "b", "Live", "True", "").await?;
    let made = admission
        .make("free", &annotated("before", "localhost/a"))
        .await?;
    ensure!(of(&made) == "localhost/a", "{made}");
    stage.api_server("stop")?;
    stage.upgrade()?;
    stage.api_server("start")?;
    until("the API server answers", async || {
        stage.kubectl(&["get", "--raw", "/readyz"])
    })
    .await?;
    let version = stage.kubectl(&["get", "--raw", "/version"])?;
    ensure!(!version.contains("v1.32."), "{version}");
    // It may have lost its lease meanwhile, which the kubelet would start it again for.
    stage.processes.clear();
    stage.controller()?;
    policies_could_be_installed(stage, &admission).await?;
    install_carrier(stage, Carrier::Policies)?;
    live(stage, &admission, "mutatingadmissionpolicybinding").await?;
    // What the webhook made of a pod, the policies leave as it is.
    let label = json!({ "metadata": { "labels": { "touched": "yes" } } });
    admission.patch("free", "before", "", &label).await
}

async fn our_own_kinds_are_checked_when_they_are_applied(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    stage.controller()?;
    let api = profiles(&stage.client);
    let post = async |name: &str, spec: Value| {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let object: DynamicObject = serde_json::from_value(profile(name, &spec))?;
        Ok::<_, anyhow::Error>(api.create(&dry, &object).await.map(drop)?)
    };
    let wrong = json!({ "allow": ["read"], "baseProfileName": "new" });
    until("a profile that is not valid is refused", async || {
        let Err(error) = post("new", wrong.clone()).await else {
            bail!("it was accepted");
        };
        let message = message(&error)?;
        let by = "admission webhook \"kinds.portcullis.dev\" denied the request: spec.";
        ensure!(message.starts_with(by), "{message}");
        Ok(())
    })
    .await?;
    post("new", json!({ "allow": ["read"] })).await?;
    let Err(error) = post("web.json", json!({ "allow": ["read"] })).await else {
        bail!("two profiles with one file were accepted");
    };
    ensure!(
        message(&error)?.contains("older SeccompProfile \"web\""),
        "{error:#}"
    );
    // What is only unwise is a warning.
    let said = stage.kubectl_warnings(
        &["apply", "--dry-run=server", "-f", "-"],
        &profile(
            "new",
            &json!({ "allow": ["read"], "baseProfileName": "later" }),
        ),
    )?;
    let warning = "Warning: spec.baseProfileName: there is no SeccompProfile \"later\"";
    ensure!(said.contains(warning), "{said}");
    drop(admission);
    Ok(())
}

async fn malformed_and_huge_reviews_are_answered_with_an_error(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    stage.controller()?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let url = format!("https://127.0.0.1:{}", stage.webhook);
    let body = stage.folder().join("body");
    let is = |path: &str, more: &[&str], wanted: &str, what: &str| {
        let begun = Instant::now();
        let data = format!("@{}", body.display());
        let output = std::process::Command::new("curl")
            .args(["-ksS", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["--max-time", "60", "-H", "Expect:", "--data-binary", &data])
            .args(more)
            .arg(format!("{url}{path}"))
            .output()?;
        let found = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let took = begun.elapsed();
        ensure!(
            found == wanted,
            "{what}: {found}, not {wanted}, after {took:.1?}: {said}"
        );
        Ok(())
    };
    for text in [
        "",
        "null",
        "{",
        "[]",
        r#"{"kind":"AdmissionReview"}"#,
        "\u{0}",
    ] {
        fs::write(&body, text)?;
        for path in ["/pods/mutate", "/pods/validate", "/kinds/validate"] {
            is(path, &[], "400", &format!("{path} {text:?}"))?;
        }
    }
    fs::write(&body, "[".repeat(1 << 20))?;
    is("/pods/mutate", &[], "400", "a deep one")?;
    fs::write(&body, vec![b'x'; (8 << 20) + 1])?;
    is("/pods/mutate", &[], "413", "a huge one")?;
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    is("/pods/mutate", &chunked, "411", "one of unknown length")?;
    is("/elsewhere", &[], "404", "another path")?;
    // Many clients that never ask anything keep nobody else from asking.
    let idle: Vec<_> = (0..400)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", stage.webhook)))
        .collect::<Result<_, _>>()
        .context("many idle clients")?;
    always(&admission).await.context("beside idle clients")?;
    drop(idle);
    Ok(())
}
