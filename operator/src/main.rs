//! The program: parses its arguments, then wires up and runs one of the parts.

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use kube::Client;
use portcullis_operator::{
    admission::{
        configurations::{self, Address},
        rules::{Configuration, NamespaceName, ProfileRef},
    },
    agent,
    controller::{
        self, ControllerError,
        artifacts::{self, Allowed},
        config_maps::ConfigMaps,
        webhook,
    },
    crd::binding::Mode,
    kube::{
        endpoints,
        health::Health,
        lease,
        metrics::{AgentMetrics, ControllerMetrics, ServerMetrics, admission::Carrier},
        namespace,
        server::{self, Plain, Server},
    },
    limits::LimitArguments,
    removal::{self, Fate, RemovalError},
};
use portcullis_profile::{
    check,
    program::{
        compile::in_child,
        memo::{self, Memo},
    },
    settings, stamp,
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
    /// Prepare the operator's removal: let go of all profiles, or delete those that no pod uses
    RemoveProfiles(RemoveProfilesArguments),
    /// Print the custom resource definitions
    Crds,
    /// Print the admission policies, without rules and bound to no namespace
    AdmissionPolicies,
    /// Print the webhook configurations, without webhooks
    AdmissionWebhooks,
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

/// The exit code of `remove-profiles` if the operator has to stay because of profiles.
const PROFILES_STAY: u8 = 5;
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
    /// The profile of namespaces and bindings that say nothing: the name of a SeccompProfile, or runtime/default
    #[arg(long)]
    default_profile: Option<ProfileRef>,
    /// How strictly that profile applies: default or enforce
    #[arg(long, default_value = "default", requires = "default_profile")]
    default_profile_mode: Mode,
    /// A namespace that admission leaves alone, besides kube-system and the operator's own; repeatable
    #[arg(long)]
    exempt_namespace: Vec<NamespaceName>,
    /// Make profiles of the config maps in the operator's namespace labelled portcullis.dev/profiles=true
    #[arg(long)]
    config_maps: bool,
    /// Publish the profiles' files as config maps in this namespace
    #[arg(long, value_name = "NAMESPACE")]
    publish_config_maps: Option<NamespaceName>,
    /// Remove the taint portcullis.dev/not-ready from nodes whose agent has handled every profile
    #[arg(long)]
    startup_taint: bool,
    /// What to apply admission's rules with where both are installed: policies or webhook
    #[arg(long, default_value = "policies", value_parser = carrier)]
    admission_carrier: Carrier,
    /// The address to serve the admission webhook on [default: none]
    #[arg(long)]
    webhook_listen: Option<SocketAddr>,
    /// How the API server reaches it, `https://HOST:PORT` [default: the Service portcullis-webhook of the namespace]
    #[arg(long, requires = "webhook_listen", value_parser = webhook_url)]
    webhook_url: Option<String>,
    /// How many seconds a certificate of the webhook is valid; it is replaced after two thirds of them
    #[arg(long, default_value_t = 90 * 24 * 3600, value_parser = clap::value_parser!(u64).range(12..=315_360_000))]
    webhook_certificate_seconds: u64,
    /// A Secret of the operator's namespace with a certificate to serve, as cert-manager writes it [default: the controller makes its own]
    #[arg(long, value_name = "NAME", requires = "webhook_listen")]
    webhook_certificate_secret: Option<String>,
    #[command(flatten)]
    artifacts: ArtifactArguments,
    #[command(flatten)]
    limits: LimitArguments,
}

/// Bases in registries.
#[derive(Debug, clap::Args)]
struct ArtifactArguments {
    /// A registry that bases may be pulled from, `REGISTRY[/PATH]`, with http:// in front for one without TLS; repeatable [default: none]
    #[arg(long = "artifact-registry", value_name = "REGISTRY")]
    registries: Vec<Allowed>,
    /// The public key that each base must be signed with, in PEM [default: no signature is needed]
    #[arg(long = "artifact-key", value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file with credentials for registries, as `podman login` writes it [default: none]
    #[arg(long = "artifact-auth-file", value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// The certificate authorities of these registries, in PEM [default: the system's]
    #[arg(long = "artifact-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A carrier that can be preferred.
fn carrier(text: &str) -> Result<Carrier, String> {
    match Carrier::parse(text) {
        Some(carrier @ (Carrier::Policies | Carrier::Webhook)) => Ok(carrier),
        _ => Err(format!("{text:?} is neither policies nor webhook")),
    }
}

/// A URL without a path.
fn webhook_url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .map(|rest| rest.trim_end_matches('/'));
    let is_authority = rest.is_some_and(|rest| rest.parse::<http::uri::Authority>().is_ok());
    if is_authority {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not https://HOST[:PORT]"))
    }
}

impl ControllerArguments {
    fn admission(&self) -> Configuration {
        let mode = self.default_profile_mode;
        Configuration {
            cluster: self.default_profile.clone().map(|profile| (mode, profile)),
            exempt: self.exempt_namespace.iter().cloned().collect(),
        }
    }

    fn config_maps(&self) -> ConfigMaps {
        ConfigMaps {
            read: self.config_maps,
            publish: self
                .publish_config_maps
                .as_ref()
                .map(|it| it.as_str().to_owned()),
        }
    }

    fn webhook(&self, namespace: &str) -> Option<webhook::Settings> {
        let by_service = || Address::Service(namespace.to_owned());
        self.webhook_listen.map(|listen| webhook::Settings {
            listen,
            address: self
                .webhook_url
                .clone()
                .map_or_else(by_service, Address::Url),
            life: Duration::from_secs(self.webhook_certificate_seconds),
            secret: self.webhook_certificate_secret.clone(),
        })
    }

    fn lease(&self, namespace: &str) -> Option<lease::Settings> {
        self.leader_elect.then(|| lease::Settings {
            namespace: namespace.to_owned(),
            duration: Duration::from_secs(self.lease_seconds),
        })
    }
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  0   the operator can be removed\n  1   unexpected failure\n  2   wrong command line\n  5   profiles are in use or can't be deleted, so the operator stays"
)]
struct RemoveProfilesArguments {
    /// Keep the profiles and their files; only take the controller's finalizers away
    #[arg(long)]
    keep: bool,
    /// The controller reads config maps: pause that meanwhile
    #[arg(long)]
    config_maps: bool,
    /// How many seconds each step may take
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
    /// The namespace of the controller [default: the pod's own; portcullis outside a pod]
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: Option<String>,
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
    /// Set the filters that containers select while the runtime creates them, as its NRI plugin.
    ///
    /// Whoever has the runtime's NRI socket can do anything on the node.
    #[arg(long)]
    nri: bool,
    /// The runtime's NRI socket
    #[arg(long, default_value = portcullis_nri::DEFAULT_SOCKET, requires = "nri")]
    nri_socket: PathBuf,
    /// portcullis-hook on the node, which is put into containers that select a profile if it exists
    #[arg(
        long,
        default_value = "/usr/libexec/portcullis/portcullis-hook",
        requires = "nri"
    )]
    nri_hook: PathBuf,
    /// The folder below which the agent sees the node's files, to look for that hook
    #[arg(long, default_value = "/", requires = "nri")]
    nri_host_root: PathBuf,
    /// The settings of the node parts, which hold for the NRI plugin too
    #[arg(long, default_value = settings::DEFAULT_PATH, requires = "nri")]
    nri_settings: PathBuf,
    /// The address to serve /healthz, /readyz and /metrics on [default: none]
    #[arg(long)]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    limits: LimitArguments,
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
            limits: self.limits.into(),
            nri: self.nri.then_some(agent::nri::Options {
                socket: self.nri_socket,
                settings: self.nri_settings,
                hook: self.nri_hook,
                host: self.nri_host_root,
            }),
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
    registry: Registry,
    metrics: ServerMetrics,
) -> anyhow::Result<Option<Server>> {
    let Some(address) = listen else {
        return Ok(None);
    };
    let routes = endpoints::routes(health.clone(), Arc::new(registry));
    let server = Server::start(address, Plain, routes, server::Limits::default(), metrics)
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
    let server_metrics = ServerMetrics::register(&mut registry);
    let listen = arguments.listen;
    let options = arguments.options().await?;
    let server = serve(listen, &health, registry, server_metrics).await?;
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
    let server_metrics = ServerMetrics::register(&mut registry);
    let server = serve(arguments.listen, &health, registry, server_metrics.clone()).await?;
    let client = client().await?;
    let namespace = namespace::own(arguments.namespace.clone());
    let settings = controller::Settings {
        admission: arguments.admission(),
        carrier: arguments.admission_carrier,
        webhook: arguments.webhook(&namespace),
        config_maps: arguments.config_maps(),
        startup_taint: arguments.startup_taint,
        lease: arguments.lease(&namespace),
        limits: arguments.limits.into(),
        artifacts: artifacts::Settings::new(
            arguments.artifacts.registries,
            artifacts::Files {
                key: arguments.artifacts.key,
                auth: arguments.artifacts.auth_file,
                authorities: arguments.artifacts.ca_file,
            },
        )?,
        namespace,
    };
    let result = controller::run(client, settings, &health, &metrics, server_metrics, ended).await;
    if let Some(server) = server {
        server.shutdown().await;
    }
    Ok(result?)
}

async fn run_removal(arguments: RemoveProfilesArguments) -> anyhow::Result<()> {
    let namespace = namespace::own(arguments.namespace);
    let fate = if arguments.keep {
        Fate::Keep
    } else {
        Fate::Remove
    };
    let patience = Duration::from_secs(arguments.wait);
    let reads = arguments.config_maps;
    let done = removal::run(client().await?, &namespace, fate, reads, patience).await?;
    println!("{done}");
    Ok(())
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
        Command::RemoveProfiles(arguments) => runtime()?.block_on(run_removal(arguments)),
        Command::Crds => {
            print!("{}", portcullis_operator::crd::yaml()?);
            Ok(())
        }
        Command::AdmissionPolicies => {
            let yaml = portcullis_operator::admission::policies::yaml();
            print!("{}", yaml.map_err(anyhow::Error::from_boxed)?);
            Ok(())
        }
        Command::AdmissionWebhooks => {
            print!("{}", configurations::yaml());
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
            if let Some(ControllerError::LeaseLost(_)) = error.downcast_ref() {
                return ExitCode::from(LEASE_LOST);
            }
            match error.downcast_ref::<RemovalError>() {
                Some(error) if error.is_about_profiles() => ExitCode::from(PROFILES_STAY),
                _ => ExitCode::FAILURE,
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
