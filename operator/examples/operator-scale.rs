//! For tests and benchmarks with many nodes: creates Node objects, runs the real agents of all of
//! them in one process, creates profiles and pods, and counts the writes to the API server.

use clap::{Parser, Subcommand};
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Node, Pod, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::AuthInfo,
};
use portcullis_operator::{
    agent::{self, Options, Source, gate::Traces, node_report},
    crd::{InstalledProfile, SeccompNode, SeccompNodeSpec, SeccompProfile, SeccompProfileSpec},
    kube::{health::Health, metrics::AgentMetrics},
};
use portcullis_profile::program::{Limits, Memo, compile::in_child};
use prometheus_client::registry::Registry;
use serde_json::json;
use std::{
    error::Error,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

/// How long a wait for profiles bears that no node has one more of them.
const STALLED_AFTER: Duration = Duration::from_secs(180);

type Anything<T> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes Node objects node-FROM … node-TO
    Nodes { from: usize, to: usize },
    /// Runs the agents of nodes, each under the agents' account with a token of its node, with
    /// their files in FOLDER, as a user (a user may watch 128 folders), until the standard input
    /// ends
    Agents {
        from: usize,
        to: usize,
        folder: PathBuf,
        user: u32,
    },
    /// Makes profiles PREFIX-…, names of 20 characters, of so many system calls
    Profiles {
        prefix: String,
        count: usize,
        calls: usize,
    },
    /// Deletes all pods and profiles and waits until the profiles are gone
    Clear,
    /// Deletes the Node objects node-FROM … node-TO and what they said
    Gone { from: usize, to: usize },
    /// Makes pods that use the profile `PREFIX-…` of their number by annotation, of COUNT profiles
    Pods {
        count: usize,
        prefix: String,
        profiles: usize,
    },
    /// Gives nodes the report of another
    Mirror { of: String, from: usize, to: usize },
    /// Waits until so many profiles are ready on so many nodes; says how long that took
    Ready { profiles: usize, nodes: usize },
    /// Says how often the API server was written objects of this project
    Writes,
    /// Says how many objects of this project there are
    Objects,
    /// Writes the `SeccompNode` NODE with as many profiles as it can name, names of 20 characters
    Report { node: String },
}

fn node_name(index: usize) -> String {
    format!("node-{index:04}")
}

/// 20 characters.
fn profile_name(prefix: &str, index: usize) -> String {
    format!(
        "{prefix}-{index:0width$}",
        width = 19 - prefix.len().min(18)
    )
}

async fn nodes(client: Client, from: usize, to: usize) -> Anything<()> {
    let api = Api::<Node>::all(client);
    for index in from..=to {
        let node = Node {
            metadata: ObjectMeta {
                name: Some(node_name(index)),
                ..ObjectMeta::default()
            },
            ..Node::default()
        };
        api.create(&PostParams::default(), &node).await?;
    }
    Ok(())
}

/// A client of the agents' account that is bound to a node, as a pod's on that node is.
async fn client_of(client: &Client, config: &Config, node: &str) -> Anything<Client> {
    let uid = Api::<Node>::all(client.clone()).get(node).await?.uid();
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.to_owned()),
                uid,
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = Api::<ServiceAccount>::namespaced(client.clone(), "portcullis")
        .create_token_request("portcullis-agent", &PostParams::default(), &request)
        .await?;
    let token = token.status.ok_or("no token")?.token;
    let mut config = config.clone();
    config.auth_info = AuthInfo {
        token: Some(token.into()),
        ..AuthInfo::default()
    };
    Ok(Client::try_from(config)?)
}

#[allow(clippy::print_stdout)]
async fn agents(from: usize, to: usize, folder: &Path, user: u32) -> Anything<()> {
    let config = Config::infer().await?;
    let client = Client::try_from(config.clone())?;
    let mut clients = Vec::new();
    for index in from..=to {
        let node = node_name(index);
        let folder = folder.join(&node);
        fs::create_dir_all(&folder)?;
        chown(&folder, Some(user), Some(user))?;
        clients.push((client_of(&client, &config, &node).await?, node));
    }
    // Shared, so that this machine compiles each profile about as often as a node of its own would.
    let findings = folder.join(format!("findings-{from}"));
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&findings)?;
    chown(&findings, Some(user), Some(user))?;
    let memo = Memo::at(&findings, "agent");
    nix::unistd::setgid(user.into())?;
    nix::unistd::setuid(user.into())?;
    let agents = LocalSet::new();
    for (client, node) in clients {
        let folder = folder.join(&node);
        let memo = memo.clone();
        agents.spawn_local(async move {
            let options = Options {
                memo,
                limits: Limits::default(),
                nri: None,
                source: Source::Cluster { node, client },
                root: folder.join("seccomp"),
                state: folder.join("state"),
                gate_socket: folder.join("gate.sock"),
                gate_traces: Traces {
                    check: folder.join("check.json"),
                    decided: folder.join("decided"),
                },
            };
            let metrics = AgentMetrics::register(&mut Registry::default());
            let health = Health::default();
            let result = Box::pin(agent::run(&options, &health, &metrics)).await;
            eprintln!("{}: {result:?}", options.root.display());
        });
    }
    println!("started");
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = end.send(());
    });
    agents.run_until(ended).await?;
    Ok(())
}

fn spec(calls: usize) -> Anything<SeccompProfileSpec> {
    let names: Vec<&str> = portcullis_profile::filter::syscalls::names()
        .iter()
        .copied()
        .filter(|name| *name != "mseal")
        .take(calls)
        .collect();
    Ok(serde_json::from_value(json!({ "allow": names }))?)
}

async fn profiles(client: Client, prefix: &str, count: usize, calls: usize) -> Anything<()> {
    let api = Api::<SeccompProfile>::all(client);
    for index in 0..count {
        let profile = SeccompProfile::new(&profile_name(prefix, index), spec(calls)?);
        api.create(&PostParams::default(), &profile).await?;
    }
    Ok(())
}

async fn clear(client: Client) -> Anything<()> {
    let parameters = (
        DeleteParams::default().grace_period(0),
        ListParams::default(),
    );
    let pods = Api::<Pod>::default_namespaced(client.clone());
    pods.delete_collection(&parameters.0, &parameters.1).await?;
    let api = Api::<SeccompProfile>::all(client);
    api.delete_collection(&DeleteParams::default(), &parameters.1)
        .await?;
    let end = Instant::now() + Duration::from_secs(120);
    while !api
        .list_metadata(&ListParams::default())
        .await?
        .items
        .is_empty()
    {
        if Instant::now() > end {
            return Err("not within two minutes".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn gone(client: Client, from: usize, to: usize) -> Anything<()> {
    let nodes = Api::<Node>::all(client.clone());
    let reports = Api::<SeccompNode>::all(client);
    for index in from..=to {
        let name = node_name(index);
        nodes.delete(&name, &DeleteParams::default()).await?;
        reports.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn pods(client: Client, count: usize, prefix: &str, profiles: usize) -> Anything<()> {
    let api = Api::<Pod>::default_namespaced(client);
    // About as large as pods are.
    let env: Vec<_> = (0..10)
        .map(|index| json!({"name": format!("VARIABLE_{index}"), "value": "x".repeat(100)}))
        .collect();
    for index in 0..count {
        let reference = format!(
            "localhost/operator/{}.json",
            profile_name(prefix, index % profiles)
        );
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{index:06}"), "annotations":
                {"container.seccomp.security.alpha.kubernetes.io/app": reference}},
            "spec": {"automountServiceAccountToken": false, "nodeName": node_name(1),
                "containers": [{"name": "app", "image": "example.org/app:1", "env": env}]}}))?;
        api.create(&PostParams::default(), &pod).await?;
    }
    Ok(())
}

async fn write_report(api: &Api<SeccompNode>, node: &str, spec: SeccompNodeSpec) -> Anything<()> {
    let parameters = PatchParams::apply("portcullis-agent").force();
    let object = SeccompNode::new(node, spec);
    api.patch(node, &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}

#[allow(clippy::print_stdout)]
async fn ready(client: Client, profiles: usize, nodes: usize) -> Anything<()> {
    let api = Api::<SeccompProfile>::all(client);
    let wanted = format!("{nodes}/{nodes}");
    let start = Instant::now();
    // How many files all nodes have together, and since when: slow is not stuck.
    let (mut files, mut since) = (0, start);
    loop {
        let (mut count, mut files_now) = (0, 0_usize);
        let mut parameters = ListParams::default().limit(100);
        loop {
            let page = api.list(&parameters).await?;
            for status in page.items.iter().filter_map(|it| it.status.as_ref()) {
                let installed = status.nodes.split_once('/');
                files_now += installed.and_then(|(has, _)| has.parse().ok()).unwrap_or(0);
                let ready = status.nodes == wanted && status.conditions.iter().any(is_ready);
                count += usize::from(ready);
            }
            match page.metadata.continue_ {
                Some(more) if !more.is_empty() => parameters = parameters.continue_token(&more),
                _ => break,
            }
        }
        if count == profiles {
            println!("{:.1}", start.elapsed().as_secs_f64());
            return Ok(());
        }
        if files_now > files {
            (files, since) = (files_now, Instant::now());
        }
        if since.elapsed() > STALLED_AFTER {
            return Err(format!("{count} of {profiles} are ready on {wanted} nodes").into());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn is_ready(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.type_ == "Ready" && condition.status == "True"
}

/// Writes that the API server answered, of our kinds (leases and events apart).
async fn writes(client: &Client) -> Anything<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let verbs = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
    let lines = text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
        .filter(|line| line.contains("group=\"portcullis.dev\""))
        .filter(|line| {
            verbs
                .iter()
                .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        });
    let mut count = 0;
    for line in lines {
        let number = line.rsplit(' ').next().ok_or("no number")?;
        // A whole number, in a form like 1.2e+06 where it is large.
        count += format!("{:.0}", number.parse::<f64>()?).parse::<u64>()?;
    }
    Ok(count)
}

async fn objects(client: Client) -> Anything<usize> {
    let parameters = ListParams::default();
    let profiles = Api::<SeccompProfile>::all(client.clone());
    let nodes = Api::<SeccompNode>::all(client);
    Ok(profiles.list_metadata(&parameters).await?.items.len()
        + nodes.list_metadata(&parameters).await?.items.len())
}

#[allow(clippy::print_stdout)]
async fn run(command: Command) -> Anything<()> {
    let client = Client::try_default().await?;
    match command {
        Command::Nodes { from, to } => nodes(client, from, to).await?,
        Command::Agents {
            from,
            to,
            folder,
            user,
        } => agents(from, to, &folder, user).await?,
        Command::Profiles {
            prefix,
            count,
            calls,
        } => profiles(client, &prefix, count, calls).await?,
        Command::Clear => clear(client).await?,
        Command::Gone { from, to } => gone(client, from, to).await?,
        Command::Pods {
            count,
            prefix,
            profiles,
        } => pods(client, count, &prefix, profiles).await?,
        Command::Mirror { of, from, to } => {
            let api = Api::<SeccompNode>::all(client);
            let spec = api.get(&of).await?.spec;
            for index in from..=to {
                write_report(&api, &node_name(index), spec.clone()).await?;
            }
        }
        Command::Ready { profiles, nodes } => ready(client, profiles, nodes).await?,
        Command::Writes => println!("{}", writes(&client).await?),
        Command::Objects => println!("{}", objects(client).await?),
        Command::Report { node } => {
            let count = node_report::capacity(20);
            let installed = (0..count).map(|index| InstalledProfile {
                name: profile_name("p", index),
                digest: format!("{:016x}", index * 0x9e37_79b9),
                generation: Some(1),
            });
            let spec = SeccompNodeSpec {
                count: count as u64,
                installed: installed.collect(),
                ..SeccompNodeSpec::default()
            };
            let length = serde_json::to_string(&spec)?.len();
            write_report(&Api::all(client), &node, spec).await?;
            println!("{count} profiles, {length} bytes");
        }
    }
    Ok(())
}

fn main() -> Anything<()> {
    if in_child().is_some() {
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(Arguments::parse().command))
}
