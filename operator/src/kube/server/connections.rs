//! The open connections of a server, oldest first.

use super::{Acceptor, Limits, Routes};
use crate::kube::metrics::{Closed, ClosedLabels, ServerMetrics};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet, yield_now},
    time::{Instant, timeout, timeout_at},
};

/// The longest request line and headers, in bytes: the smallest value that hyper accepts.
const MAX_HEADERS: usize = 8192;

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    accepted: Instant,
    /// When its request arrived, if it has.
    asked: Arc<OnceLock<Instant>>,
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

    /// Serves a connection. If there are too many, it replaces another one, or waits for one to end.
    pub(super) async fn begin(&mut self, connection: TcpStream) {
        while self.open.len() >= self.limits.connections {
            self.make_room().await;
        }
        let asked = Arc::new(OnceLock::new());
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
        self.open.push_back(Connection {
            task,
            accepted: Instant::now(),
            asked,
        });
    }

    /// Closes a connection that may be closed, or waits until one has ended or may be.
    async fn make_room(&mut self) {
        let Some((index, due)) = self.first_to_go() else {
            return;
        };
        if due <= Instant::now() {
            self.close(index).await;
        } else {
            let _ = timeout_at(due, self.ended()).await;
        }
    }

    /// Closes a connection at once: the oldest that has sent no request, or else the one that sent its
    /// request first.
    pub(super) async fn displace(&mut self) {
        if let Some((index, _)) = self.first_to_go() {
            self.close(index).await;
        }
    }

    /// The connection that makes room first, and from when on it may.
    fn first_to_go(&self) -> Option<(usize, Instant)> {
        let now = Instant::now();
        let all = self.open.iter().enumerate().map(|(index, connection)| {
            let asked = connection.asked.get();
            let due = match asked {
                Some(asked) => *asked + self.limits.asked_grace,
                None => connection.accepted + self.limits.idle_grace,
            };
            (due > now, asked.is_some(), due, index)
        });
        all.min().map(|(_, _, due, index)| (index, due))
    }

    async fn close(&mut self, index: usize) {
        if let Some(connection) = self.open.remove(index) {
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
            if connection.asked.get().is_none() {
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
    asked: Arc<OnceLock<Instant>>,
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
        let _ = asked.set(Instant::now());
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
