//! API servers for the cases. A case has one to itself; if it leaves that clean, the next case uses
//! it.

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

static IDLE: Mutex<Vec<ApiServer>> = Mutex::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The operator's program.
pub(crate) fn operator() -> Result<PathBuf> {
    program("portcullis-operator")
}

/// A program of this repository, which is next to this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if !program.is_file() {
        bail!(
            "{} is missing; start these tests by tests/operator/run",
            program.display()
        );
    }
    Ok(program)
}

/// Why there can't be an API server on this machine.
pub(crate) fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("a test cluster needs root");
    }
    match Command::new("go").arg("version").output() {
        Ok(output) if output.status.success() => None,
        _ => Some("there is no go, which builds the control plane"),
    }
}

/// Which Kubernetes it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Release {
    /// The newest one, which is that of the test cluster.
    #[default]
    Newest,
    /// One without `MutatingAdmissionPolicy`: tests/cluster/older.
    Older,
}

/// A running etcd and API server with the operator's definitions, accounts and rights in it.
#[derive(Debug)]
pub(crate) struct ApiServer {
    /// As it was started.
    release: Release,
    name: String,
    /// The cluster ends when this is closed.
    up: Child,
    kubeconfig: PathBuf,
}

impl ApiServer {
    /// A server of a release that nobody else uses.
    pub(crate) fn take(release: Release) -> Result<Self> {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().position(|server| server.release == release);
        let found = found.map(|index| idle.swap_remove(index));
        drop(idle);
        found.map_or_else(|| Self::start(release), Ok)
    }

    /// Returns it for the next case.
    pub(crate) fn give_back(self) {
        IDLE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self);
    }

    fn start(release: Release) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("operator-tests-{}-{number}", std::process::id());
        let log = tempfile::NamedTempFile::new()?;
        // It ends with this process, however that ends, since it then has no input any more.
        let mut up = Command::new(repository().join("tests/cluster/up"))
            .args(["--name", &name, "--api-only", "--until-eof"])
            .args((release == Release::Older).then_some("--older"))
            .stdin(Stdio::piped())
            .stdout(log.reopen()?)
            .stderr(log.reopen()?)
            .spawn()
            .context("tests/cluster/up")?;
        let input = up.stdin.take();
        let status = up.wait()?;
        up.stdin = input;
        let mut server = Self {
            release,
            name,
            up,
            kubeconfig: PathBuf::new(),
        };
        if !status.success() {
            bail!(
                "tests/cluster/up: {status}\n{}",
                fs::read_to_string(log.path())?
            );
        }
        server.kubeconfig = server
            .environment()?
            .remove("KUBECONFIG")
            .context("no KUBECONFIG")?
            .into();
        let packaging = repository().join("packaging");
        server.kubectl(
            &["apply", "-f", &packaging.join("crds").to_string_lossy()],
            None,
        )?;
        for rights in ["manifests/rbac.yaml", "manifests/admission.yaml"] {
            let rights = packaging.join(rights);
            server.kubectl(&["apply", "-f", &rights.to_string_lossy()], None)?;
        }
        server.kubectl(
            &[
                "wait",
                "--for=condition=Established",
                "--timeout=90s",
                "crd",
                "--all",
            ],
            None,
        )?;
        Ok(server)
    }

    /// The values that tests/cluster provides to programs.
    fn environment(&self) -> Result<HashMap<String, String>> {
        let state = std::env::var("PORTCULLIS_CLUSTER_STATE")
            .unwrap_or_else(|_| "/var/lib/portcullis-cluster".to_owned());
        let path = Path::new(&state).join(&self.name).join("env");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect())
    }

    /// Runs kubectl as the administrator, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: Option<&Value>) -> Result<String> {
        let output = self.kubectl_output(arguments, input)?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, with its warnings.
    pub(crate) fn kubectl_output(
        &self,
        arguments: &[&str],
        input: Option<&Value>,
    ) -> Result<Output> {
        let mut file = tempfile::tempfile()?;
        if let Some(input) = input {
            serde_json::to_writer(&mut file, input)?;
            std::io::Seek::rewind(&mut file)?;
        }
        let output = Command::new(repository().join("tests/cluster/kubectl"))
            .args(["--name", &self.name])
            .args(arguments)
            .stdin(file)
            .output()
            .context("kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(output)
    }

    /// Stops or starts one of its components, which tests/cluster/component lists.
    pub(crate) fn component(&self, verb: &str, component: &str) -> Result<()> {
        let output = Command::new(repository().join("tests/cluster/component"))
            .args(["--name", &self.name, verb, component])
            .stdin(Stdio::null())
            .output()
            .context("tests/cluster/component")?;
        if !output.status.success() {
            bail!(
                "tests/cluster/component {verb} {component}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client as the administrator.
    pub(crate) async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig).await
    }

    /// Writes a kubeconfig for a service account of the operator. The token is bound to a pod, if
    /// there is one, as a kubelet would have it; it then names the pod's node.
    pub(crate) fn account(
        &self,
        namespace: &str,
        account: &str,
        pod: Option<&str>,
        path: &Path,
    ) -> Result<()> {
        // Longer than any test.
        let mut arguments = vec!["-n", namespace, "create", "token", account];
        arguments.extend(["--duration", "24h"]);
        if let Some(name) = pod {
            arguments.extend(["--bound-object-kind", "Pod", "--bound-object-name", name]);
        }
        let token = self.kubectl(&arguments, None)?;
        let config = self.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"], None)?;
        let mut config: Value = serde_json::from_str(&config)?;
        config["users"][0]["user"] = json!({ "token": token.trim() });
        fs::write(path, config.to_string()).with_context(|| path.display().to_string())
    }
}

/// A client for a kubeconfig.
pub(crate) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.up.stdin.take());
        let down = Command::new(repository().join("tests/cluster/down"))
            .args(["--name", &self.name])
            .stdin(Stdio::null())
            .output();
        if let Err(error) = down {
            eprintln!("tests/cluster/down --name {}: {error}", self.name);
        }
    }
}

/// Ends the servers that no case uses any more.
pub(crate) fn stop_all() {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
