//! A plugin that does what it is told, for tests of runtimes and of this crate: `scripted SOCKET NAME INDEX
//! [KEY=VALUE]...`, or launched by the runtime with a KEY=VALUE on each line of its configuration. [`script`] lists the
//! keys. What happens is written to a file, one line each.

mod script;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use portcullis_nri::api::{
    Container, ContainerUpdate, FailurePolicy, LinuxResources, PodSandbox, UpdatePodSandboxRequest,
    ValidateContainerAdjustmentRequest,
};
use portcullis_nri::{
    Answer, Client, Creation, Events, Launched, Plugin, Refusal, Runtime, RuntimeInfo, Update,
};
use script::Script;
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error>;

#[derive(Default)]
struct Scripted {
    script: OnceLock<Script>,
    log: Mutex<Option<File>>,
}

impl Scripted {
    fn script(&self) -> &Script {
        self.script.get_or_init(Script::default)
    }

    fn follow(&self, script: Script) -> std::io::Result<()> {
        if let Some(path) = &script.log {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        }
        let _ = self.script.set(script);
        Ok(())
    }

    fn say(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{line}\n");
        match &mut *log {
            Some(file) => file.write_all(line.as_bytes()),
            None => std::io::stdout().write_all(line.as_bytes()),
        }
        .unwrap_or_else(|error| eprintln!("scripted: {error}"));
    }

    fn saw(&self, event: &str, pod: &PodSandbox, container: Option<&Container>) {
        let container = container.map_or("-", |container| &container.id);
        self.say(&format!("event {event} {} {container}", pod.id));
    }

    #[allow(clippy::unused_async, reason = "handlers await it")]
    async fn notified(&self, event: &str, pod: PodSandbox, container: Container) -> Answer<()> {
        self.saw(event, &pod, Some(&container));
        Ok(())
    }
}

impl Plugin for &'static Scripted {
    fn events(&self) -> Events {
        self.script().events
    }

    fn failure_policy(&self) -> Option<FailurePolicy> {
        self.script().failure_policy.clone()
    }

    async fn configure(&self, config: &str, runtime: &RuntimeInfo) -> Answer<()> {
        if !config.is_empty() {
            let script = Script::read(config.lines()).map_err(Refusal::failed_precondition)?;
            self.follow(script)
                .map_err(|error| Refusal::failed_precondition(error.to_string()))?;
        }
        let nri = runtime.nri.map_or("unknown".into(), |nri| {
            format!("{}.{}.{}", nri.major, nri.minor, nri.patch)
        });
        let waits = runtime.request_timeout.unwrap_or_default();
        self.say(&format!(
            "configured by {} {} nri {nri} waits {waits:?}",
            runtime.name, runtime.version
        ));
        for line in runtime.capabilities().lacking() {
            self.say(&format!("lacking: {line}"));
        }
        Ok(())
    }

    async fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        runtime: Runtime,
    ) -> Answer<Vec<ContainerUpdate>> {
        self.say(&format!("synchronized {} {}", pods.len(), containers.len()));
        if let Some(id) = &self.script().update {
            let update = ContainerUpdate {
                container_id: id.clone(),
                ..ContainerUpdate::default()
            };
            match runtime.update_containers(vec![update], Vec::new()).await {
                Ok(failed) => self.say(&format!("updated, {} failed", failed.len())),
                Err(error) => self.say(&format!("not updated: {error}")),
            }
        }
        Ok(Vec::new())
    }

    async fn create_container(&self, pod: PodSandbox, container: Container) -> Answer<Creation> {
        let script = self.script();
        if !script.quiet {
            self.saw("CreateContainer", &pod, Some(&container));
        }
        // Even none would last until the timer's next millisecond.
        if let Some(delay) = script.delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(reason) = &script.refuse {
            return Err(Refusal::failed_precondition(reason));
        }
        assert!(!script.panic, "as it was told");
        Ok(script.creation(&container))
    }

    async fn update_container(
        &self,
        pod: PodSandbox,
        container: Container,
        _resources: LinuxResources,
    ) -> Answer<Update> {
        self.saw("UpdateContainer", &pod, Some(&container));
        Ok(Update::default())
    }

    async fn stop_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> Answer<Vec<ContainerUpdate>> {
        self.saw("StopContainer", &pod, Some(&container));
        Ok(Vec::new())
    }

    async fn update_pod_sandbox(&self, request: UpdatePodSandboxRequest) -> Answer<()> {
        self.saw("UpdatePodSandbox", &request.pod.unwrap_or_default(), None);
        Ok(())
    }

    async fn run_pod_sandbox(&self, pod: PodSandbox) -> Answer<()> {
        self.saw("RunPodSandbox", &pod, None);
        Ok(())
    }

    async fn post_update_pod_sandbox(&self, pod: PodSandbox) -> Answer<()> {
        self.saw("PostUpdatePodSandbox", &pod, None);
        Ok(())
    }

    async fn stop_pod_sandbox(&self, pod: PodSandbox) -> Answer<()> {
        self.saw("StopPodSandbox", &pod, None);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, pod: PodSandbox) -> Answer<()> {
        self.saw("RemovePodSandbox", &pod, None);
        Ok(())
    }

    async fn post_create_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.notified("PostCreateContainer", pod, container).await
    }

    async fn start_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.notified("StartContainer", pod, container).await
    }

    async fn post_start_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.notified("PostStartContainer", pod, container).await
    }

    async fn post_update_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.notified("PostUpdateContainer", pod, container).await
    }

    async fn remove_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.notified("RemoveContainer", pod, container).await
    }

    async fn validate_container_adjustment(
        &self,
        request: ValidateContainerAdjustmentRequest,
    ) -> Answer<()> {
        let plugins: Vec<_> = request
            .plugins
            .iter()
            .map(|plugin| plugin.name.as_str())
            .collect();
        self.say(&format!(
            "event ValidateContainerAdjustment {} {} by {}",
            request.pod.unwrap_or_default().id,
            request.container.unwrap_or_default().id,
            plugins.join(",")
        ));
        match &self.script().reject {
            Some(reason) => Err(Refusal::failed_precondition(reason)),
            None => Ok(()),
        }
    }
}

async fn run(plugin: &'static Scripted) -> Result<(), Failure> {
    let client = if let Some(launched) = Launched::from_env()? {
        Client::launched(launched)?
    } else {
        let mut arguments = std::env::args().skip(1);
        let (Some(socket), Some(name), Some(index)) =
            (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err("usage: scripted SOCKET NAME INDEX [KEY=VALUE]...".into());
        };
        let rest: Vec<String> = arguments.collect();
        let script = Script::read(rest.iter().map(String::as_str))?;
        plugin.follow(script)?;
        Client::new(name, index)?.socket(socket)
    };
    let client = client.on_disconnect(|error, pause| {
        plugin.say(&format!("disconnected: {error}; pause {pause:?}"));
    });
    let stop = client.stop_handle();
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminated.recv().await;
        stop.stop();
    });
    Ok(client.run(plugin).await?)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let plugin: &'static Scripted = Box::leak(Box::default());
    let ended = run(plugin).await;
    match &ended {
        Ok(()) => plugin.say("stopped"),
        Err(error) => plugin.say(&format!("ended: {error}")),
    }
    ended
}
