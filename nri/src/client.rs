//! Keeps a plugin connected: connects, serves, and tries again with back-off until it is stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::RegisterPluginRequest;
use crate::backoff::Backoff;
use crate::endpoint::{self, DEFAULT_SOCKET, Launched};
use crate::error::Error;
use crate::plugin::Plugin;
use crate::session::{self, Phase};

type Observer = Box<dyn Fn(&Error, Duration) + Send + Sync>;

/// The version of NRI that the messages are of; told to the runtime.
const NRI_VERSION: &str = "v0.12.5";

/// A plugin's connection, before it runs.
pub struct Client {
    registration: RegisterPluginRequest,
    endpoint: Endpoint,
    stop: watch::Sender<bool>,
    observer: Observer,
}

enum Endpoint {
    Socket(PathBuf),
    Launched(std::os::unix::net::UnixStream),
}

/// Stops a running [`Client`].
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<bool>);

impl StopHandle {
    /// Requests are answered until none has come for a quarter of a second, for 2 s at most; then [`Client::run`] returns.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Client {
    /// A plugin that connects to the runtime's socket. Runtimes call plugins in the order of their index, two digits.
    ///
    /// # Errors
    /// Where `index` is not two digits.
    pub fn new(name: impl Into<String>, index: impl Into<String>) -> Result<Self, Error> {
        let index = index.into();
        if index.len() != 2 || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::Index(index));
        }
        Ok(Self {
            registration: RegisterPluginRequest {
                plugin_name: name.into(),
                plugin_idx: index,
                nri_version: NRI_VERSION.into(),
            },
            endpoint: Endpoint::Socket(DEFAULT_SOCKET.into()),
            stop: watch::Sender::new(false),
            observer: Box::new(|_, _| {}),
        })
    }

    /// A plugin that the runtime has launched; see [`Launched::from_env`].
    ///
    /// # Errors
    /// Where the index that the runtime gave is not two digits.
    pub fn launched(launched: Launched) -> Result<Self, Error> {
        let mut client = Self::new(launched.name, launched.index)?;
        client.endpoint = Endpoint::Launched(launched.stream);
        Ok(client)
    }

    /// Connects to `path` instead of [`DEFAULT_SOCKET`].
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.endpoint = Endpoint::Socket(path.into());
        self
    }

    /// Is told of each failed connection, and after which pause the next one is tried.
    #[must_use]
    pub fn on_disconnect(
        mut self,
        observer: impl Fn(&Error, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Ends [`Client::run`] from elsewhere, for example on SIGTERM.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Serves `plugin` until it is stopped. A connection that ends is made again; a launched plugin has only one.
    ///
    /// # Errors
    /// Where the connection of a launched plugin ends.
    pub async fn run<P: Plugin>(self, plugin: P) -> Result<(), Error> {
        let plugin = Arc::new(plugin);
        let path = match self.endpoint {
            Endpoint::Socket(path) => path,
            Endpoint::Launched(stream) => {
                stream.set_nonblocking(true)?;
                let stream = UnixStream::from_std(stream)?;
                let reached = watch::Sender::new(Phase::New);
                let stopped = self.stop.subscribe();
                return serve(stream, plugin, self.registration, reached, stopped).await;
            }
        };
        let mut stopped = self.stop.subscribe();
        let mut backoff = Backoff::default();
        loop {
            let reached = watch::Sender::new(Phase::New);
            let phase = reached.subscribe();
            let stream = tokio::select! {
                stream = endpoint::connect(&path) => stream,
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            };
            let begun = Instant::now();
            let ended = match stream {
                Ok(stream) => {
                    let (plugin, registration) = (Arc::clone(&plugin), self.registration.clone());
                    let stopped = self.stop.subscribe();
                    serve(stream, plugin, registration, reached, stopped).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return Ok(()) };
            let synchronized = *phase.borrow() == Phase::Synchronized;
            let pause = backoff.after(synchronized.then(|| begun.elapsed()));
            (self.observer)(&error, pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            }
        }
    }
}

/// Serves a connection in a task, not where the caller waits: from there each request would go to another thread, and
/// its answer come back.
async fn serve<P: Plugin>(
    stream: UnixStream,
    plugin: Arc<P>,
    registration: RegisterPluginRequest,
    reached: watch::Sender<Phase>,
    stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    // A set stops its task when it is dropped.
    let mut task = JoinSet::new();
    task.spawn(session::serve(
        stream,
        plugin,
        registration,
        reached,
        stopped,
    ));
    match task.join_next().await {
        Some(Ok(ended)) => ended,
        _ => Err(Error::Panicked),
    }
}
