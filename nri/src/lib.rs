//! The plugin side of the Node Resource Interface (NRI) of containerd and CRI-O.
//!
//! Implement [`Plugin`] for what you want to hear of, and run it with a [`Client`]:
//!
//! ```no_run
//! use portcullis_nri::api::{Container, Event, PodSandbox};
//! use portcullis_nri::{Answer, Client, Creation, Events, Plugin, Refusal};
//!
//! struct Named;
//!
//! impl Plugin for Named {
//!     fn events(&self) -> Events {
//!         Event::CreateContainer.into()
//!     }
//!
//!     async fn create_container(&self, pod: PodSandbox, container: Container) -> Answer<Creation> {
//!         if container.name.is_empty() {
//!             return Err(Refusal::failed_precondition(format!("a container of {} has no name", pod.name)));
//!         }
//!         Ok(Creation::default())
//!     }
//! }
//!
//! # async fn run() -> Result<(), portcullis_nri::Error> {
//! Client::new("named", "10")?.run(Named).await
//! # }
//! ```
//!
//! # Changing a container
//!
//! What a plugin answers to `CreateContainer` is a [`Creation`]; a [`Refusal`] keeps the container from being created, and
//! users see its text. This plugin gives containers of one namespace a seccomp policy, which it encodes only once:
//!
//! ```
//! use portcullis_nri::api::{Container, Event, LinuxSeccomp, PodSandbox};
//! use portcullis_nri::{Answer, Creation, EncodedPolicy, Events, Plugin, Refusal, RuntimeInfo};
//!
//! struct Confined(EncodedPolicy);
//!
//! impl Plugin for Confined {
//!     fn events(&self) -> Events {
//!         Event::CreateContainer.into()
//!     }
//!
//!     async fn configure(&self, _config: &str, runtime: &RuntimeInfo) -> Answer<()> {
//!         match runtime.capabilities().seccomp_policy {
//!             Some(false) => Err(Refusal::failed_precondition("the runtime drops seccomp policies")),
//!             _ => Ok(()),
//!         }
//!     }
//!
//!     async fn create_container(&self, pod: PodSandbox, _: Container) -> Answer<Creation> {
//!         Ok(Creation {
//!             seccomp_policy: (pod.namespace == "confined").then(|| self.0.clone()),
//!             ..Default::default()
//!         })
//!     }
//! }
//! # let policy = EncodedPolicy::new(LinuxSeccomp::default());
//! # let _ = portcullis_nri::Client::new("confined", "10").unwrap().run(Confined(policy));
//! ```
//!
//! # Runtimes
//!
//! A runtime of NRI 0.6 to 0.12 will do. What it cannot do is in [`RuntimeInfo::capabilities`], and as text in
//! [`Capabilities::lacking`]: below 0.10 a seccomp policy vanishes silently. A runtime starts a plugin itself
//! ([`Launched`]), or the plugin connects to it ([`DEFAULT_SOCKET`]), as root in both cases.
//!
//! # What fails, and how
//!
//! A runtime creates a container without a plugin that is gone or late, unless a validator requires the plugin. So:
//!
//! - A handler that panics refuses its request (unless the program is built to abort).
//! - One that takes too long is dropped, and its request refused shortly before the runtime's deadline.
//! - A connection that lasted a second is made again at once; others after growing pauses, up to 10 s.
//! - A container that was created meanwhile is in the next [`Plugin::synchronize`].
//!
//! Where no container may be created without the plugin, both are needed: the validator's `required_plugins`, and
//! [`Plugin::failure_policy`] with `fail_request` for the request during which the plugin dies, since the validator still
//! counts it then.
//!
//! # Limits
//!
//! A message has at most 4 MiB ([`ttrpc::MAX_MESSAGE`]). 32 requests, or 8 MiB of them, are handled at once; reading
//! waits beyond that. The parts of `Synchronize` together weigh at most 64 MiB, where each pod and container weighs
//! 1.5 KiB beyond its bytes. A list inside of a pod or container takes up to a hundred times its encoded size if its items
//! are empty. Malformed input ends the connection with an [`Error`] that names the reason; a request that is malformed is
//! refused with it.
#![deny(unsafe_code)]

pub mod api;
mod backoff;
mod client;
mod dispatch;
mod encoded;
mod endpoint;
mod error;
mod events;
mod handlers;
mod link;
pub mod mux;
mod plugin;
mod runtime;
mod session;
pub mod ttrpc;
mod weight;

pub use client::{Client, StopHandle};
pub use encoded::EncodedPolicy;
pub use endpoint::{DEFAULT_SOCKET, Launched};
pub use error::{Code, Error, FrameError, Refusal};
pub use events::Events;
pub use plugin::{Answer, Creation, Plugin, Update};
pub use runtime::{Capabilities, NriVersion, RuntimeInfo};
pub use session::Runtime;
