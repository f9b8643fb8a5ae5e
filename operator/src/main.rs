//! The program: reads its arguments and runs one of the parts.

use clap::{CommandFactory, Parser, Subcommand};
use portcullis_operator::{
    agent::run::{Options, Source},
    controller::{self, ControllerError},
};
use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Keeps `SeccompProfile` resources as files on the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What is logged: error, warn, info, debug or trace, also by module: warn,kube=debug
    #[arg(long, env = "RUST_LOG", default_value = "info", global = true)]
    log_level: Targets,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keeps the profiles as files on this node
    Agent(AgentArguments),
    /// Keeps the profiles' status, and those that are in use from going
    Controller(ControllerArguments),
    /// Prints the custom resource definitions
    Crds,
    /// Prints a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// The controller's exit code where it has lost its lease.
const LEASE_LOST: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  1   it can't start\n  2   wrong command line\n  3   the lease is lost"
)]
struct ControllerArguments {
    /// Where /healthz, /readyz and /metrics answer
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Whether only the one that holds the lease `portcullis/portcullis-controller` works
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// How long the lease lasts without being renewed
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease_seconds: u64,
}

impl ControllerArguments {
    fn options(&self) -> controller::Options {
        controller::Options {
            listen: self.listen,
            lease: self
                .leader_elect
                .then(|| Duration::from_secs(self.lease_seconds)),
        }
    }
}

#[derive(Debug, clap::Args)]
struct AgentArguments {
    /// Where profiles come from: `cluster`, or `dir:/path` of a folder of manifests
    #[arg(long, default_value = "cluster")]
    source: String,
    /// This node's name in the cluster
    #[arg(long, env = "NODE_NAME")]
    node_name: Option<String>,
    /// The seccomp root
    #[arg(long, default_value = "/var/lib/kubelet/seccomp")]
    seccomp_root: PathBuf,
    /// Where the agent remembers which files are its own
    #[arg(long, default_value = "/var/lib/portcullis/agent")]
    state: PathBuf,
    /// Where the gate's decisions come in
    #[arg(long, default_value = "/run/portcullis/gate.sock")]
    gate_socket: PathBuf,
    /// Where /healthz, /readyz and /metrics answer
    #[arg(long)]
    listen: Option<SocketAddr>,
}

impl AgentArguments {
    fn options(self) -> anyhow::Result<Options> {
        let source = match (self.source.as_str(), self.node_name) {
            ("cluster", Some(node)) => Source::Cluster { node },
            ("cluster", None) => anyhow::bail!("--node-name (or NODE_NAME) is needed"),
            (other, _) => match other.strip_prefix("dir:/") {
                Some(path) => Source::Folder(PathBuf::from("/").join(path)),
                None => anyhow::bail!("--source is `cluster` or `dir:/path`, not {other:?}"),
            },
        };
        Ok(Options {
            source,
            root: self.seccomp_root,
            state: self.state,
            gate_socket: self.gate_socket,
            listen: self.listen,
        })
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Agent(arguments) => {
            let options = arguments.options()?;
            runtime()?.block_on(portcullis_operator::agent::run::run(options))?;
        }
        Command::Controller(arguments) => {
            runtime()?.block_on(controller::run(arguments.options()))?;
        }
        Command::Crds => print!("{}", portcullis_operator::crd::yaml()?),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                shell,
                &mut command,
                "portcullis-operator",
                &mut io::stdout(),
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
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
                _ => ExitCode::FAILURE,
            }
        }
    }
}
