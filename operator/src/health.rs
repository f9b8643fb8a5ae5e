//! `/healthz`, `/readyz` and `/metrics` over a few lines of HTTP.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How long the work may give no sign of life.
const SILENCE: Duration = Duration::from_secs(90);
/// How many callers are answered at once.
const CALLERS: usize = 8;
/// How long a caller may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a value only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
}

/// Something that is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

impl Metric {
    /// A number of what has happened.
    pub const fn counter(name: &'static str, help: &'static str) -> Metric {
        Metric {
            name,
            kind: Kind::Counter,
            help,
        }
    }

    /// A number of what is there now.
    pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
        Metric {
            name,
            kind: Kind::Gauge,
            help,
        }
    }
}

/// A metric's labels: names and values that are known when the program is built, so that their
/// number is bounded.
pub type Labels = Vec<(&'static str, &'static str)>;

/// Whether the program is alive and ready, and its metrics.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    beat: Option<Instant>,
    values: BTreeMap<(Metric, Labels), u64>,
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

    /// A sign of life of the work itself; without one for long, `/healthz` says no.
    pub fn beat(&self) {
        self.with(|state| state.beat = Some(Instant::now()));
    }

    fn silent_for(&self, now: Instant) -> Option<Duration> {
        let beat = self.with(|state| state.beat)?;
        Some(now.saturating_duration_since(beat)).filter(|silence| *silence > SILENCE)
    }

    /// Counts.
    pub fn add(&self, metric: Metric, count: u64) {
        self.add_labelled(metric, Labels::new(), count);
    }

    /// Counts under labels.
    pub fn add_labelled(&self, metric: Metric, labels: Labels, count: u64) {
        self.with(|state| *state.values.entry((metric, labels)).or_default() += count);
    }

    /// Says how many there are now.
    pub fn set(&self, metric: Metric, count: usize) {
        self.set_labelled(metric, Labels::new(), count);
    }

    /// Says how many there are now under labels.
    pub fn set_labelled(&self, metric: Metric, labels: Labels, count: usize) {
        self.with(|state| state.values.insert((metric, labels), count as u64));
    }

    /// Answers on an address, in the background.
    ///
    /// # Errors
    /// Where it can't be listened on.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let health = self.clone();
        tokio::spawn(async move {
            let callers = Arc::new(tokio::sync::Semaphore::new(CALLERS));
            loop {
                let Ok(place) = Arc::clone(&callers).acquire_owned().await else {
                    return;
                };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let health = health.clone();
                        // A caller that says nothing keeps no other from its answer.
                        tokio::spawn(async move {
                            let _ = tokio::time::timeout(PATIENCE, health.answer(stream)).await;
                            drop(place);
                        });
                    }
                    // Out of descriptors, for example: that passes.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Ok(())
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await?;
        let line = String::from_utf8_lossy(&request[..length]);
        let no = "503 Service Unavailable";
        let (code, body) = match line.split(' ').nth(1) {
            Some("/healthz") => match self.silent_for(Instant::now()) {
                None => ("200 OK", "ok\n".to_owned()),
                Some(silence) => (no, format!("no sign of life for {} s\n", silence.as_secs())),
            },
            Some("/readyz") if self.is_ready() => ("200 OK", "ok\n".to_owned()),
            Some("/readyz") => (no, "not ready\n".to_owned()),
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

    /// The metrics in Prometheus' text form.
    pub fn metrics(&self) -> String {
        self.with(|state| {
            let mut text = String::new();
            let mut last = "";
            for ((metric, labels), value) in &state.values {
                let Metric { name, kind, help } = *metric;
                if name != last {
                    let kind = match kind {
                        Kind::Counter => "counter",
                        Kind::Gauge => "gauge",
                    };
                    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
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
    fn a_metric_with_labels_has_its_help_and_type_once() {
        const A: Metric = Metric::gauge("a", "As.");
        const B: Metric = Metric::counter("b_total", "Bs.");
        let health = Health::default();
        health.add_labelled(B, vec![("reason", "x"), ("to", "y")], 2);
        health.add_labelled(B, vec![("reason", "z"), ("to", "y")], 1);
        health.set(A, 7);
        health.set(A, 1);
        assert_eq!(
            health.metrics(),
            "# HELP a As.\n# TYPE a gauge\na 1\n# HELP b_total Bs.\n# TYPE b_total counter\n\
             b_total{reason=\"x\",to=\"y\"} 2\nb_total{reason=\"z\",to=\"y\"} 1\n"
        );
    }

    #[test]
    fn work_that_gives_no_sign_of_life_is_not_healthy() {
        let health = Health::default();
        let now = Instant::now();
        assert_eq!(
            health.silent_for(now + SILENCE * 2),
            None,
            "it has not begun"
        );
        health.beat();
        assert_eq!(health.silent_for(now + SILENCE / 2), None);
        assert!(health.silent_for(now + SILENCE * 2).is_some());
    }
}
