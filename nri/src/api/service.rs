//! What the runtime asks a plugin and what a plugin asks the runtime: requests and their answers.

use super::{
    Container, ContainerAdjustment, ContainerEviction, ContainerUpdate, LinuxResources,
    OwningPlugins, PodSandbox,
};

/// `RegisterPluginRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegisterPluginRequest {
    #[prost(string, tag = "1")]
    pub plugin_name: String,
    #[prost(string, tag = "2")]
    pub plugin_idx: String,
    #[prost(string, tag = "3")]
    pub nri_version: String,
}

/// `UpdateContainersRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateContainersRequest {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
    #[prost(message, repeated, tag = "2")]
    pub evict: Vec<ContainerEviction>,
}

/// `UpdateContainersResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub failed: Vec<ContainerUpdate>,
}

/// `ConfigureRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigureRequest {
    #[prost(string, tag = "1")]
    pub config: String,
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    #[prost(int64, tag = "4")]
    pub registration_timeout: i64,
    #[prost(int64, tag = "5")]
    pub request_timeout: i64,
    #[prost(string, tag = "6")]
    pub nri_version: String,
}

/// `ConfigureResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigureResponse {
    #[prost(int32, tag = "2")]
    pub events: i32,
    #[prost(message, optional, tag = "3")]
    pub failure_policy: Option<FailurePolicy>,
}

/// `FailurePolicy` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FailurePolicy {
    #[prost(bool, tag = "1")]
    pub fail_request: bool,
    #[prost(bool, tag = "2")]
    pub keep_connected: bool,
}

/// `SynchronizeRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SynchronizeRequest {
    #[prost(message, repeated, tag = "1")]
    pub pods: Vec<PodSandbox>,
    #[prost(message, repeated, tag = "2")]
    pub containers: Vec<Container>,
    #[prost(bool, tag = "3")]
    pub more: bool,
}

/// `SynchronizeResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SynchronizeResponse {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
    #[prost(bool, tag = "2")]
    pub more: bool,
}

/// `RunPodSandboxRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// `RunPodSandboxResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunPodSandboxResponse {}

/// `UpdatePodSandboxRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdatePodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub overhead_linux_resources: Option<LinuxResources>,
    #[prost(message, optional, tag = "3")]
    pub linux_resources: Option<LinuxResources>,
}

/// `UpdatePodSandboxResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdatePodSandboxResponse {}

/// `PostUpdatePodSandboxRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostUpdatePodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// `PostUpdatePodSandboxResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostUpdatePodSandboxResponse {}

/// `StopPodSandboxRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StopPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// `StopPodSandboxResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StopPodSandboxResponse {}

/// `RemovePodSandboxRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemovePodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// `RemovePodSandboxResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemovePodSandboxResponse {}

/// `CreateContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `CreateContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub adjust: Option<ContainerAdjustment>,
    #[prost(message, repeated, tag = "2")]
    pub update: Vec<ContainerUpdate>,
    #[prost(message, repeated, tag = "3")]
    pub evict: Vec<ContainerEviction>,
}

/// `PostCreateContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostCreateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `PostCreateContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostCreateContainerResponse {}

/// `StartContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StartContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `StartContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StartContainerResponse {}

/// `PostStartContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostStartContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `PostStartContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostStartContainerResponse {}

/// `UpdateContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
    #[prost(message, optional, tag = "3")]
    pub linux_resources: Option<LinuxResources>,
}

/// `UpdateContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateContainerResponse {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
    #[prost(message, repeated, tag = "2")]
    pub evict: Vec<ContainerEviction>,
}

/// `PostUpdateContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostUpdateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `PostUpdateContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostUpdateContainerResponse {}

/// `StopContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StopContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `StopContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StopContainerResponse {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ContainerUpdate>,
}

/// `RemoveContainerRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
}

/// `RemoveContainerResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveContainerResponse {}

/// `StateChangeEvent` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StateChangeEvent {
    #[prost(enumeration = "Event", tag = "1")]
    pub event: i32,
    #[prost(message, optional, tag = "2")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "3")]
    pub container: Option<Container>,
}

/// `ValidateContainerAdjustmentRequest` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValidateContainerAdjustmentRequest {
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub container: Option<Container>,
    #[prost(message, optional, tag = "3")]
    pub adjust: Option<ContainerAdjustment>,
    #[prost(message, repeated, tag = "4")]
    pub update: Vec<ContainerUpdate>,
    #[prost(message, optional, tag = "5")]
    pub owners: Option<OwningPlugins>,
    #[prost(message, repeated, tag = "6")]
    pub plugins: Vec<PluginInstance>,
}

/// `PluginInstance` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PluginInstance {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub index: String,
}

/// `ValidateContainerAdjustmentResponse` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValidateContainerAdjustmentResponse {
    #[prost(bool, tag = "1")]
    pub reject: bool,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// `Empty` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// `Event` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Event {
    Unknown = 0,
    RunPodSandbox = 1,
    StopPodSandbox = 2,
    RemovePodSandbox = 3,
    CreateContainer = 4,
    PostCreateContainer = 5,
    StartContainer = 6,
    PostStartContainer = 7,
    UpdateContainer = 8,
    PostUpdateContainer = 9,
    StopContainer = 10,
    RemoveContainer = 11,
    UpdatePodSandbox = 12,
    PostUpdatePodSandbox = 13,
    ValidateContainerAdjustment = 14,
}
