//! One connection from registration to its end.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Notify, watch};

use crate::api::{
    ContainerEviction, ContainerUpdate, Empty, RegisterPluginRequest, SynchronizeRequest,
    UpdateContainersRequest, UpdateContainersResponse,
};
use crate::error::Error;
use crate::events::Events;
use crate::handlers::Handlers;
use crate::link::{self, Link};
use crate::mux::{Channel, Decoder};
use crate::plugin::Plugin;
use crate::runtime::RuntimeInfo;
use crate::ttrpc::{Kind, Message, Request};
use crate::weight;

/// How long registration and configuration may take. The runtime takes in one plugin at a time, and waits 5 s for each
/// that is silent.
const REGISTRATION: Duration = Duration::from_secs(30);
/// How long the runtime may take for a call where it names no timeout.
const REQUEST: Duration = Duration::from_secs(2);
/// How long requests that are being handled may take to finish once the caller stops the plugin.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the connection stays open after the last answer: the Go side may lose one that is followed by the end at once.
const LINGER: Duration = Duration::from_millis(250);
/// How long the last answers may take to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// Calls the runtime; of use as long as the connection lives.
#[derive(Clone, Debug)]
pub struct Runtime {
    link: Arc<Link>,
    deadline: Duration,
}

impl Runtime {
    /// Changes or evicts containers outside of any request. Returns the updates that failed.
    ///
    /// # Errors
    /// Where the connection ended, the runtime refused, or it did not answer in time.
    pub async fn update_containers(
        &self,
        update: Vec<ContainerUpdate>,
        evict: Vec<ContainerEviction>,
    ) -> Result<Vec<ContainerUpdate>, Error> {
        let request = UpdateContainersRequest { update, evict };
        let answer: UpdateContainersResponse = self
            .link
            .call("UpdateContainers", &request, self.deadline)
            .await?;
        Ok(answer.failed)
    }
}

/// What the requests of a connection share.
pub(crate) struct Session<P> {
    pub(crate) plugin: Arc<P>,
    pub(crate) link: Arc<Link>,
    state: Mutex<State>,
    synchronized: watch::Sender<Phase>,
}

#[derive(Default)]
struct State {
    request_timeout: Option<Duration>,
    subscribed: Option<Events>,
    parts: SynchronizeRequest,
    gathered: usize,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    New,
    Configured,
    Synchronized,
}

impl<P: Plugin> Session<P> {
    pub(crate) fn configured(&self, info: &RuntimeInfo, events: Events) {
        let mut state = self.state();
        state.request_timeout = info.request_timeout;
        state.subscribed = Some(events);
        drop(state);
        self.synchronized.send_replace(Phase::Configured);
    }

    pub(crate) fn synchronized(&self) {
        self.synchronized.send_replace(Phase::Synchronized);
    }

    /// How long the runtime said that it waits, when it configured the plugin.
    pub(crate) fn request_timeout(&self) -> Option<Duration> {
        self.state().request_timeout
    }

    /// The events that the plugin has asked for, once it is configured.
    pub(crate) fn subscribed(&self) -> Option<Events> {
        self.state().subscribed
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime {
            link: Arc::clone(&self.link),
            deadline: self.state().request_timeout.unwrap_or(REQUEST),
        }
    }

    /// Adds a part; all of them together once the last one is here.
    pub(crate) fn gather(
        &self,
        part: SynchronizeRequest,
    ) -> Result<Option<SynchronizeRequest>, Error> {
        let mut state = self.state();
        state.gathered += weight::of(part.encoded_len(), part.pods.len() + part.containers.len());
        if state.gathered > weight::MAX {
            return Err(Error::Protocol(format!(
                "the parts of Synchronize exceed the limit of {} bytes in memory",
                weight::MAX
            )));
        }
        let more = part.more;
        append(&mut state.parts.pods, part.pods);
        append(&mut state.parts.containers, part.containers);
        if more {
            return Ok(None);
        }
        state.gathered = 0;
        Ok(Some(std::mem::take(&mut state.parts)))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn establish(&self, registration: &RegisterPluginRequest) -> Result<Infallible, Error> {
        let _: Empty = self
            .link
            .call("RegisterPlugin", registration, REGISTRATION)
            .await?;
        let mut phase = self.synchronized.subscribe();
        tokio::time::timeout(
            REGISTRATION,
            phase.wait_for(|phase| *phase >= Phase::Configured),
        )
        .await
        .map_err(|_| Error::Timeout {
            what: "Configure",
            after: REGISTRATION,
        })?
        .map_err(|_| Error::Closed)?;
        std::future::pending().await
    }
}

/// Most often the first part is the only one, and is not copied.
fn append<T>(all: &mut Vec<T>, part: Vec<T>) {
    if all.is_empty() {
        *all = part;
    } else {
        all.extend(part);
    }
}

/// Serves `plugin` until the connection ends, which is an error, or `stopped` says so. `reached` is told how far the
/// connection came.
pub(crate) async fn serve<P: Plugin>(
    stream: UnixStream,
    plugin: Arc<P>,
    registration: RegisterPluginRequest,
    reached: watch::Sender<Phase>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let (mut input, output) = stream.into_split();
    let mut decoder = Decoder::default();
    let (link, outgoing) = Link::new();
    let session = Arc::new(Session {
        plugin,
        link: Arc::new(link),
        state: Mutex::default(),
        synchronized: reached,
    });
    let mut handlers = Handlers::default();
    let end = Notify::new();
    let writing = link::write(outgoing, output, &end);
    tokio::pin!(writing);
    let ended = tokio::select! {
        result = read(&mut input, &mut decoder, &session, &mut handlers, None) => result,
        result = &mut writing => return Err(result.err().map_or(Error::Closed, Error::Io)),
        result = session.establish(&registration) => result.map(|never| match never {}),
        _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
    };
    if ended.is_ok() {
        tokio::select! {
            _ = read(&mut input, &mut decoder, &session, &mut handlers, Some(LINGER)) => {}
            _ = &mut writing => return ended,
            () = tokio::time::sleep(DRAIN) => {}
        }
    }
    end.notify_one();
    let _ = tokio::time::timeout(FLUSH, writing).await;
    if matches!(ended, Err(Error::Decode { .. } | Error::Protocol(_))) {
        let _ = tokio::time::timeout(LINGER, discard(&mut input)).await;
    }
    ended
}

/// Reads until the connection ends or, if a time is given, nothing is being handled and nothing has come for so long.
async fn read<P: Plugin>(
    input: &mut OwnedReadHalf,
    decoder: &mut Decoder,
    session: &Arc<Session<P>>,
    handlers: &mut Handlers,
    idle: Option<Duration>,
) -> Result<(), Error> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let leaves = idle.filter(|_| handlers.is_idle());
        let length = tokio::select! {
            length = input.read(&mut buffer) => length?,
            Some(done) = handlers.next() => { done?; continue }
            () = tokio::time::sleep(leaves.unwrap_or_default()), if leaves.is_some() => return Ok(()),
        };
        if length == 0 {
            return Err(if decoder.is_at_boundary() {
                Error::Closed
            } else {
                Error::Protocol("the stream ends in the middle of a message".into())
            });
        }
        decoder.push(&buffer[..length]);
        while let Some((channel, message)) = decoder.next_message()? {
            accept(channel, message, session, handlers).await?;
        }
    }
}

/// Reads until the runtime has closed the connection.
async fn discard(input: &mut OwnedReadHalf) {
    let mut buffer = [0; 4 << 10];
    while matches!(input.read(&mut buffer).await, Ok(length) if length > 0) {}
}

async fn accept<P: Plugin>(
    channel: Channel,
    message: Message,
    session: &Arc<Session<P>>,
    handlers: &mut Handlers,
) -> Result<(), Error> {
    match (channel, message.kind) {
        (Channel::Runtime, Kind::Response) => {
            session.link.answered(message.stream, message.payload)
        }
        (Channel::Plugin, Kind::Request) => {
            let length = message.payload.len();
            let request = Request::decode(message.payload).map_err(|source| Error::Decode {
                what: "request".into(),
                source,
            })?;
            handlers
                .handle(session, message.stream, request, length)
                .await
        }
        (channel, kind) => Err(Error::Protocol(format!(
            "unexpected {kind:?} on the {channel:?} connection"
        ))),
    }
}
