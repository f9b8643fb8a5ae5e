//! Times the operator from outside, on a running control plane: `bench SECCOMP-ROOT` creates
//! profiles of 400 names and waits for their files, changes files and waits for their repair, and
//! counts the writes to the API server.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use portcullis_operator::crd::{SeccompProfile, SeccompProfileSpec};
use serde_json::json;
use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

type Anything<T> = Result<T, Box<dyn Error>>;

const SINGLE: usize = 100;
const BURST: usize = 500;

fn profile(name: &str) -> Anything<SeccompProfile> {
    let names: Vec<&str> = portcullis_profile::filter::syscalls::names()
        .iter()
        .copied()
        .filter(|name| *name != "mseal")
        .take(400)
        .collect();
    let spec: SeccompProfileSpec = serde_json::from_value(json!({ "allow": names }))?;
    Ok(SeccompProfile::new(name, spec))
}

/// Looks until a condition holds.
async fn wait(what: impl Fn() -> bool) -> Anything<()> {
    let end = Instant::now() + Duration::from_secs(120);
    while !what() {
        if Instant::now() > end {
            return Err("not within two minutes".into());
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn row(what: &str, times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let index = ((times.len() as f64 - 1.0) * part).round() as usize;
        times[index].as_secs_f64() * 1e3
    };
    format!(
        "| {what} | {} | {:.1} ms | {:.1} ms |",
        times.len(),
        at(0.5),
        at(0.99)
    )
}

/// Writes that the API server answered, of our kinds (leases and events apart).
async fn writes(client: &Client) -> Anything<u64> {
    let request = http_get("/metrics")?;
    let text = client.request_text(request).await?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
        .filter(|line| line.contains("group=\"portcullis.dev\""))
        .filter(|line| {
            ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                .iter()
                .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|count| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let count = count as u64;
            count
        })
        .sum())
}

fn http_get(path: &str) -> Anything<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

fn file(root: &Path, name: &str) -> PathBuf {
    root.join("operator").join(format!("{name}.json"))
}

#[allow(clippy::print_stdout)]
async fn bench(root: &Path) -> Anything<()> {
    let client = Client::try_default().await?;
    let profiles: Api<SeccompProfile> = Api::all(client.clone());
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    println!("{} node(s), profiles of 400 names", nodes.items.len());
    println!("| what | times | p50 | p99 |\n| --- | --- | --- | --- |");

    let mut times = Vec::new();
    for index in 0..SINGLE {
        let name = format!("single-profile-{index:05}");
        let path = file(root, &name);
        let start = Instant::now();
        profiles
            .create(&PostParams::default(), &profile(&name)?)
            .await?;
        wait(|| path.exists()).await?;
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    println!("{}", row("create → file", &mut times));

    let path = file(root, "single-profile-00000");
    let right = fs::read(&path)?;
    let (mut deleted, mut edited) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE / 2 {
        fs::remove_file(&path)?;
        let start = Instant::now();
        wait(|| path.exists()).await?;
        deleted.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(30)).await;
        fs::write(&path, "{}")?;
        let start = Instant::now();
        wait(|| fs::read(&path).is_ok_and(|text| text == right)).await?;
        edited.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    println!("{}", row("deleted file → repaired", &mut deleted));
    println!("{}", row("edited file → repaired", &mut edited));

    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = writes(&client).await?;
    for index in 0..SINGLE {
        let name = format!("counted-profile-{index:04}");
        profiles
            .create(&PostParams::default(), &profile(&name)?)
            .await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = writes(&client).await?;
    println!(
        "\nAPI writes for {SINGLE} profiles beyond the user's own: {}",
        after - before - SINGLE as u64
    );

    let mut last = String::new();
    for index in 0..BURST {
        last = format!("burst-profile-{index:06}");
        profiles
            .create(&PostParams::default(), &profile(&last)?)
            .await?;
    }
    let accepted = Instant::now();
    wait(|| (0..BURST).all(|index| file(root, &format!("burst-profile-{index:06}")).exists()))
        .await?;
    println!(
        "{BURST} profiles at once: every file {:.0} ms after the last ({last}) was accepted",
        accepted.elapsed().as_secs_f64() * 1e3
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    profiles
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    wait(|| fs::read_dir(root.join("operator")).is_ok_and(|mut files| files.next().is_none()))
        .await?;
    Ok(())
}

fn main() -> Anything<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [root] = &arguments[..] else {
        return Err("usage: bench SECCOMP-ROOT".into());
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(bench(Path::new(root)))
}
