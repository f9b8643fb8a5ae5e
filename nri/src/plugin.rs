//! What a plugin implements.

use std::future::{Future, ready};

use crate::api::{
    Container, ContainerAdjustment, ContainerEviction, ContainerUpdate, FailurePolicy,
    LinuxResources, PodSandbox, UpdatePodSandboxRequest, ValidateContainerAdjustmentRequest,
};
use crate::encoded::EncodedPolicy;
use crate::error::Refusal;
use crate::events::Events;
use crate::runtime::RuntimeInfo;
use crate::session::Runtime;

/// A handler's answer.
pub type Answer<T> = Result<T, Refusal>;

/// What a plugin answers to `CreateContainer`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Creation {
    /// What changes about the container.
    pub adjust: Option<ContainerAdjustment>,
    /// Its seccomp policy, where that is encoded already; takes the place of the one in `adjust`.
    pub seccomp_policy: Option<EncodedPolicy>,
    /// What changes about others.
    pub update: Vec<ContainerUpdate>,
    /// Which others are to go.
    pub evict: Vec<ContainerEviction>,
}

/// What a plugin answers to `UpdateContainer`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// What changes about containers.
    pub update: Vec<ContainerUpdate>,
    /// Which others are to go.
    pub evict: Vec<ContainerEviction>,
}

/// A plugin. A handler whose event is not in [`Plugin::events`] is never called. Handlers run at the same time as each
/// other. Each has a little less time than the runtime waits (2 s by default): then it is dropped at its next await, and
/// the request is refused. A handler that blocks its thread can't be dropped: what computes for long belongs in
/// [`tokio::task::spawn_blocking`]. A node creates one container at a time, so a slow handler delays them all.
#[allow(unused_variables)]
pub trait Plugin: Send + Sync + 'static {
    /// What the plugin wants to hear of; asked once for each connection, after [`Plugin::configure`].
    fn events(&self) -> Events;

    /// What the runtime does with a request during which the plugin dies or is late. Honoured since NRI 0.12.4.
    fn failure_policy(&self) -> Option<FailurePolicy> {
        None
    }

    /// A runtime has taken the plugin in. `config` is the plugin's configuration file, if the runtime launched it.
    fn configure(
        &self,
        config: &str,
        runtime: &RuntimeInfo,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// What there is already, gathered from all parts. `runtime` calls the runtime from now on.
    fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        runtime: Runtime,
    ) -> impl Future<Output = Answer<Vec<ContainerUpdate>>> + Send {
        ready(Ok(Vec::new()))
    }

    /// A pod is about to run.
    fn run_pod_sandbox(&self, pod: PodSandbox) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A pod's resources are about to change.
    fn update_pod_sandbox(
        &self,
        request: UpdatePodSandboxRequest,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A pod's resources have changed.
    fn post_update_pod_sandbox(&self, pod: PodSandbox) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A pod has stopped.
    fn stop_pod_sandbox(&self, pod: PodSandbox) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A pod has been removed.
    fn remove_pod_sandbox(&self, pod: PodSandbox) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A container is about to be created.
    fn create_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<Creation>> + Send {
        ready(Ok(Creation::default()))
    }

    /// A container has been created.
    fn post_create_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A container is about to start.
    fn start_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A container has started.
    fn post_start_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A container's resources are about to change.
    fn update_container(
        &self,
        pod: PodSandbox,
        container: Container,
        resources: LinuxResources,
    ) -> impl Future<Output = Answer<Update>> + Send {
        ready(Ok(Update::default()))
    }

    /// A container's resources have changed.
    fn post_update_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// A container has stopped.
    fn stop_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<Vec<ContainerUpdate>>> + Send {
        ready(Ok(Vec::new()))
    }

    /// A container has been removed.
    fn remove_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }

    /// All plugins have been asked about a container: an `Err` keeps it from being created. Since NRI 0.10.
    fn validate_container_adjustment(
        &self,
        request: ValidateContainerAdjustmentRequest,
    ) -> impl Future<Output = Answer<()>> + Send {
        ready(Ok(()))
    }
}
