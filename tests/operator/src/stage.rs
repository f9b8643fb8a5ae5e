//! What a case runs on: an API server of its own, a folder, and the operator's processes that it
//! starts. Nothing is left when the case is over. If it failed, the error contains the processes'
//! logs.

use crate::{
    admission::Carrier,
    api_server::{self, ApiServer, Release},
    objects::{self, api, condition, create, file_name},
    process::Process,
    wait::until,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::TcpListener,
    os::unix::net::UnixDatagram,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
    sync::{PoisonError, RwLock},
    time::Instant,
};
use tempfile::TempDir;

/// A case: what it does on its stage.
pub(crate) type Case = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The node of every case.
pub(crate) const NODE: &str = "n1";
/// Where the operator is installed.
pub(crate) const NAMESPACE: &str = "portcullis";
/// How long a controller's lease lasts, in seconds. A controller that could not renew it for two
/// thirds of that ends, and the API server of a case may be busy for longer than a few seconds.
const LEASE_SECONDS: u16 = 15;
/// As short as a lease may be, for cases in which controllers come and go.
pub(crate) const SHORT_LEASE: u16 = 3;

/// What the API server of a case is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On {
    /// What applies rules of admission, where the case installs that.
    pub(crate) carrier: Carrier,
    pub(crate) release: Release,
}

/// What a case runs on.
pub(crate) struct Stage {
    server: ApiServer,
    folder: TempDir,
    /// Where the operator is installed.
    pub(crate) namespace: String,
    /// What applies rules of admission, where a case installs that.
    pub(crate) carrier: Carrier,
    /// The port on which controllers serve their webhook.
    pub(crate) webhook: u16,
    /// How long a controller's lease lasts.
    pub(crate) lease_seconds: u16,
    /// Whether the next case can use the API server.
    pub(crate) is_spoilt: bool,
    /// As the administrator.
    pub(crate) client: Client,
    /// The run's seed.
    pub(crate) seed: u64,
    /// Random numbers, by the run's seed and the case's name.
    pub(crate) random: fastrand::Rng,
    /// The operator's processes, in the order in which they were started.
    pub(crate) processes: Vec<Process>,
    marks: usize,
}

impl Stage {
    async fn set(name: &str, on: On, seed: u64) -> Result<Self> {
        let server = ApiServer::take(on.release)?;
        let client = server.client().await?;
        let mut hasher = DefaultHasher::new();
        (name, seed).hash(&mut hasher);
        let stage = Self {
            server,
            folder: tempfile::Builder::new()
                .prefix("portcullis-operator-")
                .tempdir()?,
            namespace: NAMESPACE.to_owned(),
            carrier: on.carrier,
            webhook: free_port()?,
            lease_seconds: LEASE_SECONDS,
            is_spoilt: false,
            client,
            seed,
            random: fastrand::Rng::with_seed(hasher.finish()),
            processes: Vec::new(),
            marks: 0,
        };
        stage
            .create(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux" } } }))
            .await?;
        Ok(stage)
    }

    /// The API for profiles.
    pub(crate) fn profiles(&self) -> Api<DynamicObject> {
        objects::profiles(&self.client)
    }

    /// The API for pods of the namespace `default`.
    pub(crate) fn pods(&self) -> Api<k8s_openapi::api::core::v1::Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object from its manifest, as the administrator.
    pub(crate) async fn create(&self, manifest: Value) -> Result<DynamicObject> {
        match manifest["kind"].as_str() {
            Some("SeccompProfile") => create(&self.profiles(), manifest).await,
            Some("SeccompNode") => create(&objects::nodes(&self.client), manifest).await,
            _ => {
                let made = self
                    .server
                    .kubectl(&["create", "-f", "-", "-o", "json"], Some(&manifest))?;
                Ok(serde_json::from_str(&made)?)
            }
        }
    }

    /// Replaces an object's specification, or creates the object, as `kubectl apply` would.
    pub(crate) async fn apply(&self, manifest: &Value) -> Result<()> {
        let name = manifest["metadata"]["name"].as_str().context("no name")?;
        let parameters = PatchParams::apply("tests").force();
        self.profiles()
            .patch(name, &parameters, &Patch::Apply(manifest))
            .await?;
        Ok(())
    }

    /// Asks for a profile's deletion.
    pub(crate) async fn delete_profile(&self, name: &str) -> Result<()> {
        self.profiles()
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Whether a profile's file is to the byte what it was.
    pub(crate) fn has_still(&self, name: &str, good: &[u8]) -> Result<()> {
        ensure!(
            fs::read(self.file(name))? == good,
            "the file of {name} was changed"
        );
        Ok(())
    }

    /// Deletes a pod at once.
    pub(crate) async fn delete_pod(&self, name: &str) -> Result<()> {
        let now = DeleteParams::default().grace_period(0);
        self.pods().delete(name, &now).await?;
        Ok(())
    }

    /// Stops the API server, starts it again, or does with it what else tests/cluster/component can.
    pub(crate) fn api_server(&self, verb: &str) -> Result<()> {
        self.server.component(verb, "kube-apiserver")
    }

    /// Has the API server be of the newest release from its next start on.
    pub(crate) fn upgrade(&mut self) -> Result<()> {
        self.is_spoilt = true;
        self.api_server("upgrade")
    }

    /// Runs kubectl as the administrator, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.server.kubectl(arguments, None)
    }

    /// The same with an object on its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &Value) -> Result<String> {
        self.server.kubectl(arguments, Some(input))
    }

    /// Runs kubectl with an object, and returns its warnings.
    pub(crate) fn kubectl_warnings(&self, arguments: &[&str], input: &Value) -> Result<String> {
        let output = self.server.kubectl_output(arguments, Some(input))?;
        Ok(String::from_utf8(output.stderr)?)
    }

    /// The seccomp root of the node.
    pub(crate) fn seccomp_root(&self) -> PathBuf {
        self.folder.path().join("seccomp")
    }

    /// The folder of the agent's ledger.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The file of a profile on the node.
    pub(crate) fn file(&self, profile: &str) -> PathBuf {
        self.seccomp_root()
            .join("operator")
            .join(file_name(profile))
    }

    /// Waits until a profile's file has a text.
    pub(crate) async fn file_says(&self, profile: &str, text: &str) -> Result<()> {
        let file = self.file(profile);
        until(&format!("the file of {profile} has {text:?}"), async || {
            let content = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            ensure!(content.contains(text), "it has {content}");
            Ok(())
        })
        .await
    }

    /// Waits until there is no file of a profile.
    pub(crate) async fn no_file(&self, profile: &str) -> Result<()> {
        let file = self.file(profile);
        until(&format!("there is no file of {profile}"), async || {
            ensure!(!file.exists(), "there is one");
            Ok(())
        })
        .await
    }

    /// Waits until a profile's condition has a status.
    pub(crate) async fn is(&self, profile: &str, kind: &str, status: &str) -> Result<()> {
        let profiles = self.profiles();
        until(&format!("{profile} is {kind}={status}"), async || {
            condition(&profiles, profile, kind, status).await
        })
        .await
    }

    /// Waits until the message of a profile's condition has a text.
    pub(crate) async fn says(&self, profile: &str, kind: &str, text: &str) -> Result<()> {
        let profiles = self.profiles();
        until(&format!("{kind} of {profile} says {text:?}"), async || {
            let object = profiles.get(profile).await?;
            let conditions = object.data["status"]["conditions"].as_array();
            let message = conditions
                .context("it has no condition yet")?
                .iter()
                .find(|condition| condition["type"] == kind)
                .and_then(|condition| condition["message"].as_str())
                .unwrap_or_default();
            ensure!(message.contains(text), "it has {}", object.data["status"]);
            Ok(())
        })
        .await
    }

    /// Waits until a profile is gone from the API.
    pub(crate) async fn gone(&self, profile: &str) -> Result<()> {
        let profiles = self.profiles();
        until(&format!("{profile} is gone"), async || {
            match profiles.get_opt(profile).await? {
                None => Ok(()),
                Some(left) => bail!("it is there: {}", left.data["status"]),
            }
        })
        .await
    }

    /// Waits until an event about an object says something, and gives how often it came.
    pub(crate) async fn event(&self, about: &str, reason: &str, text: &str) -> Result<i64> {
        let events = api(&self.client, "events.k8s.io", "v1", "Event", "events");
        until(
            &format!("an event {reason} about {about} says {text:?}"),
            async || {
                let all = events.list(&ListParams::default()).await?;
                let mut others = Vec::new();
                for event in all {
                    if event.data["regarding"]["name"] != about {
                        continue;
                    }
                    let note = event.data["note"].as_str().unwrap_or_default().to_owned();
                    if event.data["reason"] == reason && note.contains(text) {
                        return Ok(event.data["series"]["count"].as_i64().unwrap_or(1));
                    }
                    others.push(format!("{}: {note}", event.data["reason"]));
                }
                bail!("events about it: {others:?}")
            },
        )
        .await
    }

    /// Waits until controller and agent have seen everything that happened before: a new profile
    /// comes through both. What should not have happened by then did not happen.
    pub(crate) async fn settled(&mut self) -> Result<()> {
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        self.create(objects::allowing(&mark, &["mkdir"])).await?;
        self.is(&mark, "Ready", "True").await
    }

    /// Starts an agent of the node, under its account.
    pub(crate) async fn agent(&mut self) -> Result<usize> {
        self.agent_with(&[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn agent_with(&mut self, arguments: &[&str]) -> Result<usize> {
        let config = self.agent_config();
        if !config.exists() {
            let namespace = &self.namespace;
            self.create(objects::agent_pod(namespace, NODE)).await?;
            self.server
                .account(namespace, "portcullis-agent", Some("agent"), &config)?;
        }
        let folder = self.folder.path();
        let mut command = Command::new(api_server::operator()?);
        command
            .env("KUBECONFIG", config)
            .arg("agent")
            .args(arguments)
            .args(["--node-name", NODE, "--seccomp-root"])
            .arg(self.seccomp_root())
            .arg("--state")
            .arg(self.state())
            .arg("--gate-socket")
            .arg(folder.join("gate.sock"))
            .arg("--gate-check")
            .arg(folder.join("run/check.json"))
            .arg("--gate-decided")
            .arg(folder.join("run/decided"));
        self.start("agent", &mut command)
    }

    /// Starts a controller.
    pub(crate) fn controller(&mut self) -> Result<usize> {
        self.controller_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn controller_with(&mut self, arguments: &[&str]) -> Result<usize> {
        if self.carrier != Carrier::Webhook {
            return self.controller_serving(arguments);
        }
        let webhook = self.webhook_arguments();
        let webhook = webhook.iter().map(String::as_str);
        let all: Vec<&str> = arguments.iter().copied().chain(webhook).collect();
        self.controller_serving(&all)
    }

    /// Starts a controller with these arguments, which also say whether and where it serves the
    /// webhook.
    pub(crate) fn controller_serving(&mut self, arguments: &[&str]) -> Result<usize> {
        let config = self.controller_config();
        if !config.exists() {
            self.server
                .account(&self.namespace, "portcullis-controller", None, &config)?;
        }
        let mut command = Command::new(api_server::operator()?);
        command
            .env("KUBECONFIG", config)
            .args([
                "controller",
                "--lease-seconds",
                &self.lease_seconds.to_string(),
            ])
            .args(["--namespace", &self.namespace])
            .args(arguments);
        self.start("controller", &mut command)
    }

    /// With these a controller serves the webhook where the API server reaches it.
    pub(crate) fn webhook_arguments(&self) -> [String; 2] {
        let address = format!("127.0.0.1:{}", self.webhook);
        [
            format!("--webhook-listen={address}"),
            format!("--webhook-url=https://{address}"),
        ]
    }

    /// Starts what has to happen before the operator is removed, as the administrator.
    pub(crate) fn remove_profiles(&mut self, arguments: &[&str]) -> Result<usize> {
        let mut command = Command::new(api_server::operator()?);
        command
            .env("KUBECONFIG", self.server.kubeconfig())
            .args(["remove-profiles", "--namespace", &self.namespace])
            .args(arguments);
        self.start("remove-profiles", &mut command)
    }

    /// Starts a controller and an agent.
    pub(crate) async fn operator(&mut self) -> Result<()> {
        self.controller()?;
        self.agent().await?;
        Ok(())
    }

    fn start(&mut self, part: &str, command: &mut Command) -> Result<usize> {
        let number = self.processes.len();
        let process = Process::start(&format!("{part}-{number}"), command, self.folder.path())?;
        self.processes.push(process);
        Ok(number)
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        self.server.kubeconfig()
    }

    /// The kubeconfig of the agent, once it was started.
    pub(crate) fn agent_config(&self) -> PathBuf {
        self.folder.path().join("agent.conf")
    }

    /// The kubeconfig of the controllers, once one was started.
    pub(crate) fn controller_config(&self) -> PathBuf {
        self.folder.path().join("controller.conf")
    }

    /// The folder of the case.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a decision to the agent as the gate does, once it listens.
    pub(crate) async fn decide(&self, decision: &Value) -> Result<()> {
        let path = self.folder.path().join("gate.sock");
        until("the agent takes a decision", async || {
            let socket = UnixDatagram::unbound()?;
            socket.send_to(decision.to_string().as_bytes(), &path)?;
            Ok(())
        })
        .await
    }

    /// The controllers' lease: who has it, and how often it changed hands.
    pub(crate) async fn lease(&self) -> Result<(Option<String>, i32)> {
        let spec = self
            .leases()
            .get("portcullis-controller")
            .await?
            .spec
            .unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        Ok((holder, spec.lease_transitions.unwrap_or(0)))
    }

    /// Deletes the controllers' lease.
    pub(crate) fn delete_lease(&self) -> Result<()> {
        self.kubectl(&["delete", "lease", "portcullis-controller", "-n", NAMESPACE])?;
        Ok(())
    }

    /// The API for the controllers' lease.
    pub(crate) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Takes away what the case made, or says what can't be taken away.
    async fn clean(&self) -> Result<()> {
        let none = json!({ "metadata": { "finalizers": null } });
        let profiles = self.profiles();
        let parameters = DeleteParams::default();
        profiles
            .delete_collection(&parameters, &ListParams::default())
            .await?;
        for left in profiles.list(&ListParams::default()).await? {
            let name = left.metadata.name.unwrap_or_default();
            match profiles
                .patch(&name, &PatchParams::default(), &Patch::Merge(&none))
                .await
            {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other?),
            }
        }
        self.server.kubectl(
            &["delete", "scn,nodes,events", "--all", "--wait=false"],
            None,
        )?;
        for namespace in ["default", &self.namespace] {
            let which = ["delete", "pods", "--all", "-n", namespace];
            let now = ["--force", "--grace-period=0"];
            self.server.kubectl(&[&which[..], &now].concat(), None)?;
        }
        self.server
            .kubectl(&["-n", "portcullis", "delete", "daemonsets", "--all"], None)?;
        let free = json!({ "spec": null });
        self.leases()
            .patch(
                "portcullis-controller",
                &PatchParams::default(),
                &Patch::Merge(&free),
            )
            .await?;
        until("nothing of the case is left", async || {
            let left = self
                .server
                .kubectl(&["get", "scp,scn,nodes,pods", "-o", "name"], None)?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await
    }
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Held shared by cases that run beside others, and alone by one that is repeated.
static TURN: RwLock<()> = RwLock::new(());

/// Runs a case by its name on a stage of its own. A case that failed is repeated once, while no other
/// case runs: what fails only beside others is listed by `tests/run`, what fails twice has failed.
pub(crate) fn run(name: &str, case: Case, on: On, seed: u64) -> Result<(), String> {
    let first = {
        let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        run_timed(name, case, on, seed)
    };
    let Err(failure) = first else { return Ok(()) };
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    run_timed(name, case, on, seed)
        .map_err(|error| format!("{error}\nIt had failed before, beside others:\n{failure}"))?;
    let why = failure.lines().next().unwrap_or_default();
    eprintln!("{failure}\nREPEATED {name}: it passed alone, after: {why}");
    Ok(())
}

fn run_timed(name: &str, case: Case, on: On, seed: u64) -> Result<(), String> {
    let begun = Instant::now();
    let result = run_inside(name, case, on, seed).map_err(|error| format!("{error:#}"));
    eprintln!("{name}: {:.1} s", begun.elapsed().as_secs_f64());
    result
}

fn run_inside(name: &str, case: Case, on: On, seed: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stage = runtime.block_on(Stage::set(name, on, seed))?;
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(&mut stage))))
        .unwrap_or_else(|_| Err(anyhow!("it panicked")));
    let logs: String = stage.processes.iter().map(Process::end_of_log).collect();
    stage.processes.clear();
    let cleaned = runtime.block_on(stage.clean());
    let Stage {
        server, is_spoilt, ..
    } = stage;
    // A server that could not be cleaned serves nobody else.
    if cleaned.is_ok() && !is_spoilt {
        server.give_back();
    }
    result.map_err(|error| anyhow!("{error:#}\n{logs}"))?;
    cleaned.context("after the case")
}
