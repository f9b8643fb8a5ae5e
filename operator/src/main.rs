//! The program: parses its arguments, then wires up and runs one of the parts.

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use kube::Client;
use portcullis_operator::{
    agent,
    controller::{self, ControllerError},
    kube::{
        endpoints,
        health::Health,
        lease,
        metrics::{AgentMetrics, ControllerMetrics, ServerMetrics},
        namespace,
        server::{Limits, Plain, Server},
    },
};
use portcullis_profile::{
    check,
    program::{
        compile::in_child,
        memo::{self, Memo},
    },
    stamp,
};
use prometheus_client::registry::Registry;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Keeps `SeccompProfile` resources as files on the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The log level: error, warn, info, debug or trace, optionally by module (warn,kube=debug)
    #[arg(long, env = "RUST_LOG", default_value = "info", global = true)]
    log_level: Targets,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep the profiles on this node as files
    Agent(AgentArguments),
    /// Maintain the status of profiles, and prevent the deletion of those in use
    Controller(ControllerArguments),
    /// Print the custom resource definitions
    Crds,
    /// Print a completion script
    Completions {
        /// The shell to print it for
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder to write them to
        folder: PathBuf,
    },
}

/// The exit code of a controller that has lost its lease.
const LEASE_LOST: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  1   it can't start\n  2   wrong command line\n  3   the lease is lost"
)]
struct ControllerArguments {
    /// The address to serve /healthz, /readyz and /metrics on [default: none]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Work only while holding the lease portcullis-controller
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// How many seconds the lease is valid without being renewed
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease_seconds: u64,
    /// The namespace of the lease and of the agents [default: the pod's own; portcullis outside a pod]
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: Option<String>,
}

impl ControllerArguments {
    fn lease(&self, namespace: &str) -> Option<lease::Settings> {
        self.leader_elect.then(|| lease::Settings {
            namespace: namespace.to_owned(),
            duration: Duration::from_secs(self.lease_seconds),
        })
    }
}

#[derive(Debug, clap::Args)]
struct AgentArguments {
    /// Where to read profiles from: `cluster`, or `dir:/PATH` for a folder of manifests
    #[arg(long, default_value = "cluster")]
    source: String,
    /// This node's name in the cluster
    #[arg(long, env = "NODE_NAME")]
    node_name: Option<String>,
    /// The seccomp root of the node
    #[arg(long, default_value = "/var/lib/kubelet/seccomp")]
    seccomp_root: PathBuf,
    /// The folder of the agent's ledger, which records its own files
    #[arg(long, default_value = "/var/lib/portcullis/agent")]
    state: PathBuf,
    /// The socket that receives the gate's decisions
    #[arg(long, default_value = "/run/portcullis/gate.sock")]
    gate_socket: PathBuf,
    /// The file that `portcullis-hook check --output` writes
    #[arg(long, default_value = check::FILE)]
    gate_check: PathBuf,
    /// The folder in which the gate leaves a stamp of each decision
    #[arg(long, default_value = stamp::FOLDER)]
    gate_decided: PathBuf,
    /// The address to serve /healthz, /readyz and /metrics on [default: none]
    #[arg(long)]
    listen: Option<SocketAddr>,
}

impl AgentArguments {
    async fn options(self) -> anyhow::Result<agent::Options> {
        let source = match (self.source.as_str(), self.node_name) {
            ("cluster", Some(node)) => {
                let client = client().await?;
                agent::Source::Cluster { node, client }
            }
            ("cluster", None) => anyhow::bail!("--node-name (or NODE_NAME) is needed"),
            (other, _) => match other.strip_prefix("dir:/") {
                Some(path) => agent::Source::Folder(PathBuf::from("/").join(path)),
                None => anyhow::bail!("--source is `cluster` or `dir:/path`, not {other:?}"),
            },
        };
        Ok(agent::Options {
            source,
            root: self.seccomp_root,
            state: self.state,
            gate_socket: self.gate_socket,
            gate_traces: agent::gate::Traces {
                check: self.gate_check,
                decided: self.gate_decided,
            },
            memo: Memo::at(Path::new(memo::FOLDER), "agent"),
        })
    }
}

async fn client() -> anyhow::Result<Client> {
    Client::try_default().await.context("the API server")
}

/// Starts the HTTP server, if it has an address.
async fn serve(
    listen: Option<SocketAddr>,
    health: &Health,
    mut registry: Registry,
) -> anyhow::Result<Option<Server>> {
    let Some(address) = listen else {
        return Ok(None);
    };
    let metrics = ServerMetrics::register(&mut registry);
    let routes = endpoints::routes(health.clone(), Arc::new(registry));
    let server = Server::start(address, Plain, routes, Limits::default(), metrics)
        .await
        .with_context(|| address.to_string())?;
    Ok(Some(server))
}

/// Waits for SIGTERM or SIGINT.
fn ended(what: &'static str) -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        let signal = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        tracing::info!("{signal}: {what}");
    })
}

async fn run_agent(arguments: AgentArguments) -> anyhow::Result<()> {
    let ended = ended("the agent ends, the files stay")?;
    let (health, mut registry) = (Health::default(), Registry::default());
    let metrics = AgentMetrics::register(&mut registry);
    let listen = arguments.listen;
    let options = arguments.options().await?;
    let server = serve(listen, &health, registry).await?;
    let result = tokio::select! {
        result = agent::run(&options, &health, &metrics) => result,
        () = ended => Ok(()),
    };
    if let Some(server) = server {
        server.shutdown().await;
    }
    Ok(result?)
}

async fn run_controller(arguments: ControllerArguments) -> anyhow::Result<()> {
    let ended = ended("the controller ends")?;
    let (health, mut registry) = (Health::default(), Registry::default());
    let metrics = ControllerMetrics::register(&mut registry);
    let server = serve(arguments.listen, &health, registry).await?;
    let client = client().await?;
    let namespace = namespace::own(arguments.namespace.clone());
    let lease = arguments.lease(&namespace);
    let result = controller::run(client, &namespace, lease, &health, &metrics, ended).await;
    if let Some(server) = server {
        server.shutdown().await;
    }
    Ok(result?)
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    match arguments.command {
        Command::Agent(arguments) => runtime()?.block_on(run_agent(arguments)),
        Command::Controller(arguments) => runtime()?.block_on(run_controller(arguments)),
        Command::Crds => {
            print!("{}", portcullis_operator::crd::yaml()?);
            Ok(())
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let name = "portcullis-operator";
            clap_complete::generate(shell, &mut command, name, &mut io::stdout());
            Ok(())
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), &folder)
            .with_context(|| folder.display().to_string()),
    }
}

fn main() -> ExitCode {
    if let Some(answered) = in_child() {
        return answered.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_filter(arguments.log_level.clone());
    tracing_subscriber::registry().with(lines).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis-operator: {error:#}");
            match error.downcast_ref() {
                Some(ControllerError::LeaseLost(_)) => ExitCode::from(LEASE_LOST),
                None => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_has_a_text() {
        let command = Arguments::command();
        let mut commands = vec![&command];
        commands.extend(command.get_subcommands());
        for command in commands {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let text = argument.get_help().unwrap_or_default().to_string();
                assert!(!text.is_empty(), "{} {argument}", command.get_name());
            }
        }
    }
}
