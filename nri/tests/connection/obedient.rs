//! A plugin that does as it is told, by the name of a container.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_nri::api::{
    Container, ContainerAdjustment, ContainerUpdate, CreateContainerRequest, Event, PodSandbox,
    ValidateContainerAdjustmentRequest,
};
use portcullis_nri::{Answer, Code, Creation, Events, Plugin, Refusal, Runtime};

use crate::runtime::Fake;

/// Does as the container's name says.
#[derive(Clone, Default)]
pub(crate) struct Obedient {
    pub(crate) events: Option<Events>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) running: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
}

impl Obedient {
    fn saw(&self, what: &str) {
        self.seen.lock().expect("not poisoned").push(what.into());
    }
}

impl Plugin for Obedient {
    fn events(&self) -> Events {
        let default = [Event::CreateContainer, Event::StartContainer];
        self.events.unwrap_or_else(|| default.into_iter().collect())
    }

    async fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        _runtime: Runtime,
    ) -> Answer<Vec<ContainerUpdate>> {
        self.saw(&format!(
            "{} pods, {} containers",
            pods.len(),
            containers.len()
        ));
        Ok(Vec::new())
    }

    async fn start_container(&self, pod: PodSandbox, container: Container) -> Answer<()> {
        self.saw(&format!("start {} {}", pod.id, container.id));
        Ok(())
    }

    async fn create_container(&self, _pod: PodSandbox, container: Container) -> Answer<Creation> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let (verb, argument) = container
            .name
            .split_once(' ')
            .unwrap_or((&container.name, ""));
        let number = argument.parse().unwrap_or(0);
        match verb {
            "wait" => tokio::time::sleep(Duration::from_millis(number)).await,
            "refuse" => return Err(Refusal::new(Code::NotFound, argument)),
            "panic" => panic!("as it was told"),
            _ => {}
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        let mut adjust = ContainerAdjustment::default();
        let length = if verb == "fill" { number } else { 1 };
        let value = "x".repeat(usize::try_from(length).expect("a length"));
        adjust.annotations.insert("done".into(), value);
        Ok(Creation {
            adjust: Some(adjust),
            ..Creation::default()
        })
    }

    async fn validate_container_adjustment(
        &self,
        _request: ValidateContainerAdjustmentRequest,
    ) -> Answer<()> {
        Err(Refusal::failed_precondition("never"))
    }
}

pub(crate) fn creation(name: &str) -> CreateContainerRequest {
    CreateContainerRequest {
        pod: Some(PodSandbox::default()),
        container: Some(Container {
            name: name.into(),
            ..Container::default()
        }),
    }
}

pub(crate) async fn configured(plugin: Obedient) -> Fake {
    let mut fake = Fake::start(plugin).await;
    fake.register().await;
    fake.configure().await;
    fake
}
