//! The webhook: answers the API server's questions about pods and about our own kinds.
//!
//! Every controller answers, whether it leads or not, since the Service has all of them. Only the one
//! that leads makes certificates, and writes the configurations that have the API server ask
//! (`bindings/configurations.rs`).

pub mod answers;
mod keeper;
mod listener;

use crate::{
    admission::{
        certificates::{Certificates, Purpose},
        configurations::Address,
    },
    kube::{metrics::ServerMetrics, server::Server, stores::Stores},
};
use answers::Answers;
use kube::Client;
use listener::{Identity, Tls};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long a controller waits for what it has to know before it says that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a controller that ends goes on answering: as long as somebody may still be sent to it.
const LINGER: Duration = Duration::from_secs(3);

/// How the webhook is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How the API server reaches it.
    pub address: Address,
    /// How long a certificate is valid.
    pub life: Duration,
    /// The Secret of the user's own certificate, if there is one.
    pub secret: Option<String>,
}

/// As if certificates were valid for so long: a user's own one is served after 10 s in which its CA is
/// accepted, and the one before is accepted for as long.
const GIVEN_LIFE: Duration = Duration::from_secs(120);

/// What is known of the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing yet.
    Unknown,
    /// There are none, for this reason.
    Missing(String),
    /// These are served.
    Served(Arc<Certificates>),
}

/// A webhook that is served.
#[derive(Debug)]
pub(super) struct Webhook {
    address: Address,
    purpose: Purpose,
    /// The Secret of the user's own certificate, if there is one.
    secret: Option<String>,
    held: watch::Sender<Held>,
    identity: Identity,
    /// Whether this controller leads.
    leads: AtomicBool,
    /// The CAs that the API server has been told, and since when.
    told: Mutex<Option<(String, Instant)>>,
}

/// Starts to serve these answers.
///
/// # Errors
/// If the address can't be listened on.
pub(super) async fn start(
    settings: &Settings,
    answers: Answers,
    metrics: ServerMetrics,
) -> io::Result<(Arc<Webhook>, Server)> {
    let identity = Identity::default();
    let server = Server::start(
        settings.listen,
        Tls::of(&identity)?,
        listener::routes(&Arc::new(answers)),
        listener::limits(),
        metrics,
    )
    .await?;
    let webhook = Webhook {
        address: settings.address.clone(),
        purpose: Purpose {
            name: settings.address.host(),
            life: match settings.secret {
                Some(_) => GIVEN_LIFE,
                None => settings.life,
            },
        },
        secret: settings.secret.clone(),
        held: watch::Sender::new(Held::Unknown),
        identity,
        leads: AtomicBool::new(false),
        told: Mutex::default(),
    };
    tracing::info!("the webhook is served on {}", server.address());
    Ok((Arc::new(webhook), server))
}

impl Webhook {
    /// Keeps the certificates up to date until the future is dropped. `namespace` is the operator's.
    pub(super) async fn keep(&self, client: Client, namespace: &str) {
        keeper::keep(self, client, namespace).await;
    }

    /// Waits until everything is known that answers need, or for a while.
    pub(super) async fn until_ready(&self, stores: &Stores) {
        let mut held = self.held.subscribe();
        let ready = async {
            let _ = held.wait_for(|held| *held != Held::Unknown).await;
            while !stores.have_rules() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(READY_TIMEOUT, ready).await.is_err() {
            tracing::warn!(
                "not everything that the webhook needs is known after {READY_TIMEOUT:?}"
            );
        }
    }

    /// From now on this controller leads.
    pub(super) fn lead(&self) {
        self.leads.store(true, Ordering::Relaxed);
    }

    fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// How the API server reaches it.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// What is known of the certificates, also when it changes.
    pub(super) fn held(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    /// The API server has been told these CAs.
    pub(super) fn tell(&self, bundle: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref().is_none_or(|(before, _)| before != bundle) {
            *told = Some((bundle.to_owned(), Instant::now()));
        }
    }

    /// Whether the API server has been told these CAs, so long ago that it accepts them.
    fn is_accepted(&self, bundle: &str) -> bool {
        let settled = self.purpose.overlap().min(Duration::from_secs(5));
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.as_ref();
        told.is_some_and(|(told, since)| told == bundle && since.elapsed() >= settled)
    }
}

/// Answers for a while longer, then ends the server.
pub(super) async fn end(server: Server) {
    sleep(LINGER).await;
    server.shutdown().await;
}
