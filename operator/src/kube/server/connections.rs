//! The open connections of a server, oldest first.

use super::{Acceptor, Limits, Routes};
use crate::kube::metrics::{Closed, ClosedLabels, ServerMetrics};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet, yield_now},
    time::timeout,
};

/// The longest request line and headers, in bytes: the smallest value that hyper accepts.
const MAX_HEADERS: usize = 8192;

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// Whether its request has arrived.
    asked: Arc<AtomicBool>,
}

/// The open connections, each a task.
pub(super) struct Connections<A> {
    acceptor: Arc<A>,
    routes: Arc<Routes>,
    limits: Limits,
    metrics: ServerMetrics,
    open: VecDeque<Connection>,
    tasks: JoinSet<()>,
}

impl<A: Acceptor> Connections<A> {
    pub(super) fn new(
        acceptor: Arc<A>,
        routes: Routes,
        limits: Limits,
        metrics: ServerMetrics,
    ) -> Connections<A> {
        Connections {
            acceptor,
            routes: Arc::new(routes),
            limits,
            metrics,
            open: VecDeque::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves a connection. If there are too many, it replaces another one.
    pub(super) async fn begin(&mut self, connection: TcpStream) {
        while self.open.len() >= self.limits.connections {
            self.displace().await;
        }
        let asked = Arc::new(AtomicBool::new(false));
        let serving = serve(
            connection,
            Arc::clone(&self.acceptor),
            Arc::clone(&self.routes),
            Arc::clone(&asked),
            self.limits,
        );
        let metrics = self.metrics.clone();
        let limit = self.limits.connection_timeout;
        let task = self.tasks.spawn(async move {
            if timeout(limit, serving).await.is_ok_and(|in_time| in_time) {
                return;
            }
            count(&metrics, Closed::Late);
        });
        self.open.push_back(Connection { task, asked });
    }

    /// Closes the oldest connection that has sent no request, or else the oldest one.
    pub(super) async fn displace(&mut self) {
        let asked = |connection: &Connection| connection.asked.load(Ordering::Relaxed);
        let idle = self.open.iter().position(|connection| !asked(connection));
        if let Some(connection) = self.open.remove(idle.unwrap_or(0)) {
            connection.task.abort();
            count(&self.metrics, Closed::Displaced);
            // The task and its descriptor are dropped when the task is scheduled the next time.
            yield_now().await;
        }
    }

    /// Waits until a connection has ended; forever if there is none.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            futures::future::pending::<()>().await;
        }
        self.open
            .retain(|connection| !connection.task.is_finished());
    }

    /// Closes the connections that have sent no request, and waits for the others.
    pub(super) async fn finish(mut self, patience: Duration) {
        for connection in &self.open {
            if !connection.asked.load(Ordering::Relaxed) {
                connection.task.abort();
            }
        }
        let _ = timeout(patience, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
    }
}

fn count(metrics: &ServerMetrics, reason: Closed) {
    let labels = ClosedLabels { reason };
    metrics.connections_closed.get_or_create(&labels).inc();
}

/// Answers one request on a connection. Returns whether it arrived in time.
async fn serve<A: Acceptor>(
    connection: TcpStream,
    acceptor: Arc<A>,
    routes: Arc<Routes>,
    asked: Arc<AtomicBool>,
    limits: Limits,
) -> bool {
    let stream = match timeout(limits.header_timeout, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!("a connection: {error}");
            return true;
        }
        Err(_) => return false,
    };
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADERS)
        // Keep-alive would leave idle connections.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    !served.is_err_and(|error| error.is_timeout())
}
