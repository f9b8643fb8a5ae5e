//! `/healthz`, `/readyz` and `/metrics` over a few lines of HTTP.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A counter's labels: names and values that are known when the program is built, so that their
/// number is bounded.
pub type Labels = Vec<(&'static str, &'static str)>;

/// Whether the program is ready, and its counters.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    values: BTreeMap<(&'static str, Labels), u64>,
}

impl Health {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is ready.
    pub fn set_ready(&self) {
        self.with(|state| state.ready = true);
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.ready)
    }

    /// Counts.
    pub fn add(&self, counter: &'static str, count: u64) {
        self.add_labelled(counter, Labels::new(), count);
    }

    /// Counts under labels.
    pub fn add_labelled(&self, counter: &'static str, labels: Labels, count: u64) {
        self.with(|state| *state.values.entry((counter, labels)).or_default() += count);
    }

    /// Answers on an address, in the background.
    ///
    /// # Errors
    /// Where it can't be listened on.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let health = self.clone();
        tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let limit = Duration::from_secs(5);
                    let _ = tokio::time::timeout(limit, health.answer(stream)).await;
                }
            }
        });
        Ok(())
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await?;
        let line = String::from_utf8_lossy(&request[..length]);
        let (code, body) = match line.split(' ').nth(1) {
            Some("/healthz") => ("200 OK", "ok\n".to_owned()),
            Some("/readyz") if self.is_ready() => ("200 OK", "ok\n".to_owned()),
            Some("/readyz") => ("503 Service Unavailable", "not ready\n".to_owned()),
            Some("/metrics") => ("200 OK", self.metrics()),
            _ => ("404 Not Found", "not found\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {code}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    }

    /// The counters in Prometheus' text form.
    pub fn metrics(&self) -> String {
        self.with(|state| {
            let mut text = String::new();
            let mut last = "";
            for ((name, labels), value) in &state.values {
                if *name != last {
                    let _ = writeln!(text, "# TYPE {name} counter");
                    last = name;
                }
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(label, value)| format!("{label}=\"{value}\""))
                    .collect();
                let labels = match labels.join(",") {
                    none if none.is_empty() => none,
                    some => format!("{{{some}}}"),
                };
                let _ = writeln!(text, "{name}{labels} {value}");
            }
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_with_labels_has_its_type_once() {
        let health = Health::default();
        health.add_labelled("b_total", vec![("reason", "x"), ("to", "y")], 2);
        health.add_labelled("b_total", vec![("reason", "z"), ("to", "y")], 1);
        health.add("a_total", 1);
        assert_eq!(
            health.metrics(),
            "# TYPE a_total counter\na_total 1\n# TYPE b_total counter\n\
             b_total{reason=\"x\",to=\"y\"} 2\nb_total{reason=\"z\",to=\"y\"} 1\n"
        );
    }
}
