//! Prints each event. `logger [SOCKET [NAME [INDEX]]]`, or launched by the runtime.

use portcullis_nri::api::{Container, ContainerUpdate, Event, PodSandbox};
use portcullis_nri::{
    Answer, Client, Creation, Error, Events, Launched, Plugin, Runtime, RuntimeInfo,
};
use tokio::signal::unix::{SignalKind, signal};

struct Logger;

impl Plugin for Logger {
    fn events(&self) -> Events {
        [
            Event::RunPodSandbox,
            Event::CreateContainer,
            Event::PostStartContainer,
            Event::StopContainer,
        ]
        .into_iter()
        .collect()
    }

    async fn configure(&self, config: &str, runtime: &RuntimeInfo) -> Answer<()> {
        println!(
            "configured by {runtime:?}, which has {:?}: {config:?}",
            runtime.capabilities()
        );
        Ok(())
    }

    async fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        _runtime: Runtime,
    ) -> Answer<Vec<ContainerUpdate>> {
        println!(
            "synchronized: {} pods, {} containers",
            pods.len(),
            containers.len()
        );
        Ok(Vec::new())
    }

    async fn run_pod_sandbox(&self, pod: PodSandbox) -> Answer<()> {
        println!("pod {}/{}", pod.namespace, pod.name);
        Ok(())
    }

    async fn create_container(&self, pod: PodSandbox, container: Container) -> Answer<Creation> {
        println!("create {}/{}: {}", pod.namespace, pod.name, container.name);
        Ok(Creation::default())
    }

    async fn post_start_container(&self, _pod: PodSandbox, container: Container) -> Answer<()> {
        println!("started {}", container.id);
        Ok(())
    }

    async fn stop_container(
        &self,
        _pod: PodSandbox,
        container: Container,
    ) -> Answer<Vec<ContainerUpdate>> {
        println!("stopped {}", container.id);
        Ok(Vec::new())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let client = if let Some(launched) = Launched::from_env()? {
        Client::launched(launched)?
    } else {
        let socket = arguments
            .next()
            .unwrap_or_else(|| portcullis_nri::DEFAULT_SOCKET.into());
        let name = arguments.next().unwrap_or_else(|| "logger".into());
        Client::new(name, arguments.next().unwrap_or_else(|| "10".into()))?.socket(socket)
    };
    let client =
        client.on_disconnect(|error, pause| eprintln!("{error}; trying again in {pause:?}"));
    let stop = client.stop_handle();
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminated.recv().await;
        stop.stop();
    });
    client.run(Logger).await
}
