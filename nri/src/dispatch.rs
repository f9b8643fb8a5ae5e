//! From a request's method to the plugin's handler, in both forms: a call of its own, or `StateChange`.

use bytes::Bytes;
use prost::Message;

use crate::api::{
    ConfigureRequest, ConfigureResponse, Container, CreateContainerRequest, Event, PodSandbox,
    PostCreateContainerRequest, StateChangeEvent, StopContainerResponse, SynchronizeRequest,
    SynchronizeResponse, UpdateContainerRequest, UpdateContainerResponse, UpdatePodSandboxRequest,
    ValidateContainerAdjustmentRequest, ValidateContainerAdjustmentResponse,
};
use crate::encoded;
use crate::error::{Code, Error, Refusal};
use crate::events::Events;
use crate::plugin::Plugin;
use crate::runtime::RuntimeInfo;
use crate::session::Session;
use crate::ttrpc::Request;
use crate::weight;

const SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";

/// What a runtime is asked for where a plugin wants no event: it takes an empty set for all of them.
const RAREST: Event = Event::RemovePodSandbox;

/// An empty answer: nothing changes, nothing is rejected.
const NOTHING: Vec<u8> = Vec::new();

/// The encoded answer, or a refusal.
pub(crate) type Handled = Result<Vec<u8>, Refusal>;

/// The encoded answer or a refusal; an `Err` ends the connection.
pub(crate) async fn handle<P: Plugin>(
    session: &Session<P>,
    request: Request,
) -> Result<Handled, Error> {
    let Request {
        service,
        method,
        payload,
        ..
    } = request;
    if service != SERVICE {
        return Ok(Err(Refusal::new(
            Code::Unimplemented,
            format!("service {service} is not implemented"),
        )));
    }
    let plugin = &*session.plugin;
    if let Some(event) = event(&method) {
        match session.subscribed() {
            None => {
                return Ok(Err(Refusal::failed_precondition(format!(
                    "{method} came before Configure"
                ))));
            }
            Some(events) if !events.contains(event) => return Ok(Ok(NOTHING)),
            Some(_) => {}
        }
    }
    Ok(match method.as_str() {
        "Configure" => configure(session, decode(&method, payload)?).await,
        "Synchronize" => synchronize(session, decode(&method, payload)?).await?,
        "Shutdown" => return Err(Error::Closed),
        "CreateContainer" => create(plugin, decode(&method, payload)?).await,
        "UpdateContainer" => update(plugin, decode(&method, payload)?).await,
        "StopContainer" => stop(plugin, decode(&method, payload)?).await,
        "UpdatePodSandbox" => {
            let request: UpdatePodSandboxRequest = decode(&method, payload)?;
            plugin.update_pod_sandbox(request).await.map(|()| NOTHING)
        }
        "ValidateContainerAdjustment" => validate(plugin, decode(&method, payload)?).await,
        "StateChange" => {
            let change: StateChangeEvent = decode(&method, payload)?;
            let event = change.event();
            match session.subscribed() {
                Some(events) if events.contains(event) => {
                    notify(plugin, event, change.pod, change.container).await
                }
                _ => Ok(NOTHING),
            }
        }
        name => match event(name) {
            // The other requests have the same two fields, or the first of them.
            Some(event) => {
                let request: PostCreateContainerRequest = decode(&method, payload)?;
                notify(plugin, event, request.pod, request.container).await
            }
            None => Err(Refusal::new(
                Code::Unimplemented,
                format!("method {name} is not implemented"),
            )),
        },
    })
}

fn decode<T: Message + Default>(what: &str, payload: Bytes) -> Result<T, Error> {
    weight::check(what, &payload)?;
    T::decode(payload).map_err(|source| Error::Decode {
        what: what.into(),
        source,
    })
}

fn present<T>(part: Option<T>, what: &str) -> Result<T, Refusal> {
    part.ok_or_else(|| Refusal::new(Code::InvalidArgument, format!("the request has no {what}")))
}

/// The event that a method is about, which the plugin has asked for or not.
fn event(method: &str) -> Option<Event> {
    Some(match method {
        "RunPodSandbox" => Event::RunPodSandbox,
        "UpdatePodSandbox" => Event::UpdatePodSandbox,
        "PostUpdatePodSandbox" => Event::PostUpdatePodSandbox,
        "StopPodSandbox" => Event::StopPodSandbox,
        "RemovePodSandbox" => Event::RemovePodSandbox,
        "CreateContainer" => Event::CreateContainer,
        "PostCreateContainer" => Event::PostCreateContainer,
        "StartContainer" => Event::StartContainer,
        "PostStartContainer" => Event::PostStartContainer,
        "UpdateContainer" => Event::UpdateContainer,
        "PostUpdateContainer" => Event::PostUpdateContainer,
        "StopContainer" => Event::StopContainer,
        "RemoveContainer" => Event::RemoveContainer,
        "ValidateContainerAdjustment" => Event::ValidateContainerAdjustment,
        _ => return None,
    })
}

async fn configure<P: Plugin>(session: &Session<P>, request: ConfigureRequest) -> Handled {
    let info = RuntimeInfo::from_request(&request);
    let plugin = &session.plugin;
    plugin.configure(&request.config, &info).await?;
    let events = plugin
        .events()
        .without(info.capabilities().unsupported_events());
    session.configured(&info, events);
    let asked = if events == Events::NONE {
        RAREST.into()
    } else {
        events
    };
    Ok(ConfigureResponse {
        events: asked.bits(),
        failure_policy: plugin.failure_policy(),
    }
    .encode_to_vec())
}

async fn synchronize<P: Plugin>(
    session: &Session<P>,
    part: SynchronizeRequest,
) -> Result<Handled, Error> {
    let Some(all) = session.gather(part)? else {
        return Ok(Ok(SynchronizeResponse {
            update: Vec::new(),
            more: true,
        }
        .encode_to_vec()));
    };
    let answer = session
        .plugin
        .synchronize(all.pods, all.containers, session.runtime())
        .await;
    Ok(answer.map(|update| {
        session.synchronized();
        SynchronizeResponse {
            update,
            more: false,
        }
        .encode_to_vec()
    }))
}

async fn create<P: Plugin>(plugin: &P, request: CreateContainerRequest) -> Handled {
    let (pod, container) = (
        present(request.pod, "pod")?,
        present(request.container, "container")?,
    );
    plugin
        .create_container(pod, container)
        .await
        .map(encoded::response)
}

async fn update<P: Plugin>(plugin: &P, request: UpdateContainerRequest) -> Handled {
    let (pod, container) = (
        present(request.pod, "pod")?,
        present(request.container, "container")?,
    );
    let answer = plugin
        .update_container(pod, container, request.linux_resources.unwrap_or_default())
        .await?;
    Ok(UpdateContainerResponse {
        update: answer.update,
        evict: answer.evict,
    }
    .encode_to_vec())
}

async fn stop<P: Plugin>(plugin: &P, request: crate::api::StopContainerRequest) -> Handled {
    let (pod, container) = (
        present(request.pod, "pod")?,
        present(request.container, "container")?,
    );
    let update = plugin.stop_container(pod, container).await?;
    Ok(StopContainerResponse { update }.encode_to_vec())
}

/// The protocol has a field of its own for what a validator refuses.
async fn validate<P: Plugin>(plugin: &P, request: ValidateContainerAdjustmentRequest) -> Handled {
    let answer = plugin.validate_container_adjustment(request).await;
    let reason = answer.err().map(|refusal| refusal.message);
    let response = ValidateContainerAdjustmentResponse {
        reject: reason.is_some(),
        reason: reason.unwrap_or_default(),
    };
    Ok(response.encode_to_vec())
}

/// Every notification has an empty answer.
async fn notify<P: Plugin>(
    plugin: &P,
    event: Event,
    pod: Option<PodSandbox>,
    container: Option<Container>,
) -> Handled {
    let pod = present(pod, "pod")?;
    match event {
        Event::RunPodSandbox => plugin.run_pod_sandbox(pod).await,
        Event::PostUpdatePodSandbox => plugin.post_update_pod_sandbox(pod).await,
        Event::StopPodSandbox => plugin.stop_pod_sandbox(pod).await,
        Event::RemovePodSandbox => plugin.remove_pod_sandbox(pod).await,
        _ => {
            let container = present(container, "container")?;
            match event {
                Event::PostCreateContainer => plugin.post_create_container(pod, container).await,
                Event::StartContainer => plugin.start_container(pod, container).await,
                Event::PostStartContainer => plugin.post_start_container(pod, container).await,
                Event::PostUpdateContainer => plugin.post_update_container(pod, container).await,
                Event::RemoveContainer => plugin.remove_container(pod, container).await,
                _ => {
                    return Err(Refusal::new(
                        Code::Unimplemented,
                        format!("{event:?} is not a notification"),
                    ));
                }
            }
        }
    }
    .map(|()| NOTHING)
}
