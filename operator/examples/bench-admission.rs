//! Times admission on a running control plane with a controller and the installed policies: 1,000
//! namespaces with five bindings each, how soon a changed rule is effective, what the API server's own
//! metric says that the policy takes for each pod, and how long the API server takes to create one.
//! `bench-admission pods` measures only what pods take, on a control plane on which it ran before;
//! `bench-admission webhook` does so where the webhook is installed instead.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use portcullis_operator::crd::{
    SeccompBinding, SeccompBindingSpec, SeccompProfile, SeccompProfileSpec,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    error::Error,
    time::{Duration, Instant},
};

type Anything<T> = Result<T, Box<dyn Error>>;

/// The namespace of each pod.
type Place = fn(usize) -> String;

const NAMESPACES: usize = 1_000;
const RULES: usize = 5;
const PODS: u16 = 500;
/// How many objects are created at once.
const AT_ONCE: usize = 32;
/// The time that the API server spends in mutating policies.
const POLICY: [&str; 2] = [
    "apiserver_mutating_admission_policy_check_duration_seconds",
    "",
];
/// The time that it waits for the webhook.
const WEBHOOK: [&str; 2] = [
    "apiserver_admission_webhook_admission_duration_seconds",
    "name=\"pods.portcullis.dev\"",
];

fn object<T: DeserializeOwned>(value: Value) -> Anything<T> {
    Ok(serde_json::from_value(value)?)
}

fn namespace(number: usize) -> String {
    format!("team-{number:04}")
}

/// The calls and seconds that a metric has counted, of those with a label.
async fn counted(client: &Client, [metric, label]: [&str; 2]) -> Anything<(f64, f64)> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let sum = |suffix: &str| -> f64 {
        let name = format!("{metric}_{suffix}");
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&name) && line.contains(label));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    Ok((sum("count"), sum("sum")))
}

/// A pod that is created only for a try.
struct Try {
    labels: Value,
    annotations: Value,
    containers: usize,
}

impl Try {
    fn new(labels: Value) -> Try {
        Try {
            labels,
            annotations: json!({}),
            containers: 1,
        }
    }

    /// What the API server would make of it.
    async fn create(&self, client: &Client, namespace: &str) -> Anything<Pod> {
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let containers: Vec<Value> = (0..self.containers)
            .map(|number| json!({"name": format!("c{number}"), "image": "x"}))
            .collect();
        let pod = object(json!({
            "metadata": {"generateName": "p-", "labels": self.labels, "annotations": self.annotations},
            "spec": {"automountServiceAccountToken": false, "containers": containers},
        }))?;
        let api = Api::<Pod>::namespaced(client.clone(), namespace);
        Ok(api.create(&parameters, &pod).await?)
    }
}

/// The path of the profile that a pod of the last rule gets.
async fn path(client: &Client, namespace: &str) -> Anything<Option<String>> {
    let labels = json!({"app": format!("app-{}", RULES - 1)});
    let made = serde_json::to_value(Try::new(labels).create(client, namespace).await?)?;
    let field = &made["spec"]["containers"][0]["securityContext"]["seccompProfile"];
    Ok(field["localhostProfile"].as_str().map(str::to_owned))
}

/// Waits until such pods get a profile, and says how long that took.
async fn effective(client: &Client, namespace: &str, profile: &str) -> Anything<Duration> {
    let begin = Instant::now();
    let wanted = format!("operator/{profile}.json");
    loop {
        // A webhook that is not there yet refuses pods.
        let found = path(client, namespace).await;
        if matches!(&found, Ok(Some(path)) if *path == wanted) {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > Duration::from_secs(120) {
            return Err(format!("not within two minutes; seen last: {found:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the API server asks the webhook about pods, and they get what the last change of
/// [`rules`] has left.
async fn asked(client: &Client) -> Anything<()> {
    let begin = Instant::now();
    loop {
        effective(client, &namespace(NAMESPACES - 1), "api").await?;
        if counted(client, WEBHOOK).await?.0 > 0.0 {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(120) {
            return Err("the webhook was not asked within two minutes".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn prepare(client: &Client) -> Anything<()> {
    let parameters = PostParams::default();
    for name in ["web", "api"] {
        let spec: SeccompProfileSpec = object(json!({"allow": ["read"], "offeredTo": {}}))?;
        Api::all(client.clone())
            .create(&parameters, &SeccompProfile::new(name, spec))
            .await?;
    }
    let all = stream::iter((0..NAMESPACES).map(|number| fill(client, namespace(number))));
    all.buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Creates a namespace and its bindings.
async fn fill(client: &Client, name: String) -> Anything<()> {
    let parameters = PostParams::default();
    let made: Namespace = object(json!({"metadata": {"name": name}}))?;
    Api::all(client.clone()).create(&parameters, &made).await?;
    let bindings = Api::<SeccompBinding>::namespaced(client.clone(), &name);
    for rule in 0..RULES {
        let spec: SeccompBindingSpec = object(json!({
            "profile": "web", "podSelector": {"matchLabels": {"app": format!("app-{rule}")}}}))?;
        let binding = SeccompBinding::new(&format!("rule-{rule}"), spec);
        bindings.create(&parameters, &binding).await?;
    }
    Ok(())
}

/// Prints a row: how often a metric's calls are made for each pod and their mean, and how long the API
/// server takes to create one.
async fn row(
    client: &Client,
    metric: [&str; 2],
    what: &str,
    place: Place,
    tried: &Try,
) -> Anything<()> {
    // The first ones find nothing in caches.
    for number in 0..PODS / 10 {
        tried.create(client, &place(number.into())).await?;
    }
    let before = counted(client, metric).await?;
    let mut times = Vec::new();
    for number in 0..PODS {
        let begin = Instant::now();
        tried.create(client, &place(number.into())).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let after = counted(client, metric).await?;
    times.sort_unstable_by(f64::total_cmp);
    let (calls, seconds) = (after.0 - before.0, after.1 - before.1);
    let mean = if calls > 0.0 {
        format!("{:.2} ms", seconds / calls * 1e3)
    } else {
        "–".to_owned()
    };
    println!(
        "| {what} | {:.1} | {mean} | {:.2} ms | {:.2} ms |",
        calls / f64::from(PODS),
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    Ok(())
}

async fn rules(client: &Client) -> Anything<()> {
    let begun = Instant::now();
    prepare(client).await?;
    let all = NAMESPACES * RULES;
    eprintln!("{all} bindings were created in {:.0?}", begun.elapsed());
    let last = namespace(NAMESPACES - 1);
    let first = effective(client, &last, "web").await?;
    eprintln!("the last one is effective {first:.1?} later");
    // Until the controller has written each status, it has other work.
    let bindings = Api::<SeccompBinding>::all(client.clone());
    let begun = Instant::now();
    loop {
        let all = bindings.list(&ListParams::default()).await?;
        let without = all
            .iter()
            .filter(|binding| binding.status.is_none())
            .count();
        if without == 0 {
            break;
        }
        if begun.elapsed() > Duration::from_secs(300) {
            return Err(format!("{without} bindings have no status after five minutes").into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    eprintln!("each has its status {:.1?} later", begun.elapsed());
    let mut times = Vec::new();
    let bindings = Api::<SeccompBinding>::namespaced(client.clone(), &last);
    for profile in ["api", "web", "api", "web", "api"] {
        let patch = Patch::Merge(json!({"spec": {"profile": profile}}));
        let rule = format!("rule-{}", RULES - 1);
        bindings
            .patch(&rule, &PatchParams::default(), &patch)
            .await?;
        times.push(effective(client, &last, profile).await?);
    }
    times.sort_unstable();
    println!("a changed rule, {all} rules in {NAMESPACES} namespaces: effective after {times:.2?}");
    Ok(())
}

async fn pods(client: &Client, metric: [&str; 2]) -> Anything<()> {
    println!(
        "| pods | calls for each | mean of a call | creation, p50 | p99 |\n| --- | --- | --- | --- | --- |"
    );
    let of_team = |number: usize| namespace(number * 7 % NAMESPACES);
    let outside = |_| "default".to_owned();
    let nothing = Try::new(json!({}));
    let annotated = Try {
        annotations: json!({"seccomp.security.alpha.kubernetes.io/pod": "localhost/a.json"}),
        ..Try::new(json!({}))
    };
    let selected = || Try::new(json!({"app": "app-1"}));
    let three = Try {
        containers: 3,
        ..selected()
    };
    let rows: [(&str, Place, &Try); 5] = [
        ("in a namespace without rules", outside, &nothing),
        (
            "the same, with an annotation that becomes a field",
            outside,
            &annotated,
        ),
        ("in a namespace with rules, none applies", of_team, &nothing),
        (
            "in a namespace with rules, one applies",
            of_team,
            &selected(),
        ),
        ("the same, three containers", of_team, &three),
    ];
    for (what, place, tried) in rows {
        row(client, metric, what, place, tried).await?;
    }
    Ok(())
}

async fn run() -> Anything<()> {
    let client = Client::try_default().await?;
    match std::env::args().nth(1).as_deref() {
        None => {
            rules(&client).await?;
            pods(&client, POLICY).await
        }
        Some("pods") => pods(&client, POLICY).await,
        Some("webhook") => {
            asked(&client).await?;
            pods(&client, WEBHOOK).await
        }
        Some(other) => Err(format!("{other:?} is neither pods nor webhook").into()),
    }
}

fn main() -> Anything<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}
