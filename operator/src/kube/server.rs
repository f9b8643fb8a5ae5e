//! The HTTP server of the operator's endpoints.
//!
//! No number of other connections can make a probe fail: a request has to arrive within
//! [`Limits::header_timeout`], every connection is closed after [`Limits::connection_timeout`], and
//! once there are [`Limits::connections`] of them, a new one replaces the oldest that has not sent
//! a request. Callers that come all at once don't replace each other: each has
//! [`Limits::idle_grace`] to send its request, and then [`Limits::asked_grace`] for the answer; the
//! next one waits meanwhile. The server has a thread of its own, so that an answer never waits for
//! other work, such as files on a slow disk; whether that work still gets on is what `/healthz` tells.

mod connections;
mod routes;

use super::metrics::ServerMetrics;
use connections::Connections;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use nix::sys::resource::{Resource, getrlimit};
pub use routes::{Routes, discard};
use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    time::sleep,
};

/// How long a TLS handshake, a request's line and its headers may take.
const HEADER_TIMEOUT: Duration = Duration::from_millis(800);
/// How long a connection may last altogether.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept where others wait for its place: many times what
/// sending one takes.
const IDLE_GRACE: Duration = Duration::from_millis(100);
/// How long one is kept whose request has arrived. Nearly every answer takes a fraction of it.
const ASKED_GRACE: Duration = Duration::from_secs(1);
/// The highest limit on connections, however many descriptors the process may have.
const MAX_CONNECTIONS: usize = 256;
/// The lowest limit on connections, however few descriptors it may have.
const MIN_CONNECTIONS: usize = 16;
/// How long to wait after no connection could be accepted.
const RETRY_DELAY: Duration = Duration::from_millis(20);
/// How long requests in progress may take when the server shuts down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A response with its whole body.
pub type Response = http::Response<Full<Bytes>>;

/// A plain text response.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What happens on an accepted TCP connection before HTTP: nothing ([`Plain`]) or a TLS handshake.
/// It counts towards [`Limits::header_timeout`].
pub trait Acceptor: Send + Sync + 'static {
    /// The stream for HTTP.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Turns a connection into that stream.
    fn accept(
        &self,
        connection: TcpStream,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// HTTP without TLS.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Acceptor for Plain {
    type Stream = TcpStream;

    async fn accept(&self, connection: TcpStream) -> io::Result<TcpStream> {
        Ok(connection)
    }
}

/// The limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections may be open at once.
    pub connections: usize,
    /// How long the handshake, and then the request's line and headers, may take.
    pub header_timeout: Duration,
    /// How long a connection may last altogether.
    pub connection_timeout: Duration,
    /// Where there are too many, how long one is kept nevertheless before it has sent its request.
    pub idle_grace: Duration,
    /// The same once it has.
    pub asked_grace: Duration,
}

impl Default for Limits {
    /// Limits that leave three quarters of the process's descriptors for its other work.
    fn default() -> Limits {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let connections = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
        Limits {
            connections: connections.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
            header_timeout: HEADER_TIMEOUT,
            connection_timeout: CONNECTION_TIMEOUT,
            idle_grace: IDLE_GRACE,
            asked_grace: ASKED_GRACE,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Server {
    /// Listens on an address and serves requests on a thread, until [`Server::shutdown`].
    ///
    /// # Errors
    /// If the address can't be listened on, or there can't be another thread.
    pub async fn start(
        address: SocketAddr,
        acceptor: impl Acceptor,
        routes: Routes,
        limits: Limits,
        metrics: ServerMetrics,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel::<()>();
        let connections = Connections::new(Arc::new(acceptor), routes, limits, metrics);
        let serving = move || {
            let _ending = ending;
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, connections, stopped).await,
                    Err(error) => tracing::error!("nothing is served on {address}: {error}"),
                }
            });
        };
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(serving)?;
        Ok(Server {
            address,
            stop,
            ended,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and waits briefly until the requests that have arrived are answered.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

async fn serve<A: Acceptor>(
    listener: TcpListener,
    mut connections: Connections<A>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = connections.ended() => {}
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => connections.begin(connection).await,
                Err(error) => {
                    // Probably no descriptor is left; closing a connection frees one.
                    tracing::debug!("no connection could be accepted: {error}");
                    connections.displace().await;
                    sleep(RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    connections.finish(SHUTDOWN_TIMEOUT).await;
}

#[cfg(test)]
mod tests;
