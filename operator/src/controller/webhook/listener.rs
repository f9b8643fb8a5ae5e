//! The HTTPS server of the webhook: its certificate, its limits, and its routes.

use super::answers::{Answers, Ask};
use crate::{
    admission::{
        certificates::Pair,
        configurations::{KINDS, MUTATE, VALIDATE},
    },
    kube::server::{Acceptor, Limits, Response, Routes, discard, text},
};
use futures::FutureExt;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use nix::sys::resource::{Resource, getrlimit};
use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

/// The largest body. The API server takes objects of 3 MB, and a review has two of them.
const LARGEST: usize = 8 << 20;
/// Bodies up to this size need no permit.
const SMALL: usize = 256 << 10;
/// How many larger ones are read at a time.
const LARGE_AT_ONCE: usize = 8;
/// How long the handshake and the headers may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last: as long as the API server waits.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections may be open: API servers ask about as many pods at once as they create.
const CONNECTIONS: usize = 1024;

/// The limits on connections.
pub(super) fn limits() -> Limits {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let connections = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
    Limits {
        connections: connections.clamp(16, CONNECTIONS),
        header_timeout: HEADER_TIMEOUT,
        connection_timeout: CONNECTION_TIMEOUT,
        ..Limits::default()
    }
}

/// A certificate that can be served.
pub(super) struct Served(Arc<CertifiedKey>);

impl Served {
    /// Of a pair; `None` if it can't be used.
    pub(super) fn of(pair: &Pair) -> Option<Served> {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
        let chain: Vec<CertificateDer<'static>> = chain.collect::<Result<_, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).ok()?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).ok()?;
        Some(Served(Arc::new(key)))
    }
}

/// What the server shows of itself. It changes while the server runs; without any, nobody can
/// connect.
#[derive(Clone, Default)]
pub(super) struct Identity(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Identity {
    /// From now on, this is served.
    pub(super) fn serve(&self, served: Served) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(served.0);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identity")
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// HTTP with TLS.
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    /// With an identity.
    ///
    /// # Errors
    /// If the cryptography can't do what TLS needs.
    pub(super) fn of(identity: &Identity) -> io::Result<Tls> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity.clone()));
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }
}

impl Acceptor for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self, connection: TcpStream) -> io::Result<Self::Stream> {
        self.0.accept(connection).await
    }
}

/// The routes of the webhook.
pub(super) fn routes(answers: &Arc<Answers>) -> Routes {
    let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
    let paths = [
        (MUTATE, Ask::Mutate),
        (VALIDATE, Ask::Validate),
        (KINDS, Ask::Kinds),
    ];
    paths
        .into_iter()
        .fold(Routes::default(), |routes, (path, ask)| {
            let (answers, large) = (Arc::clone(answers), Arc::clone(&large));
            routes.post(path, move |request| {
                let (answers, large) = (Arc::clone(&answers), Arc::clone(&large));
                async move { answer(ask, request, &answers, &large).await }.boxed()
            })
        })
}

async fn answer(
    ask: Ask,
    request: Request<Incoming>,
    answers: &Answers,
    large: &Semaphore,
) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let Some(length) = length else {
        discard(request.into_body()).await;
        return text(
            StatusCode::LENGTH_REQUIRED,
            "the length of the body is needed\n",
        );
    };
    if length > LARGEST {
        discard(request.into_body()).await;
        let line = format!("the body has {length} bytes, and may have {LARGEST}\n");
        return text(StatusCode::PAYLOAD_TOO_LARGE, line);
    }
    let _permit = match length {
        0..=SMALL => None,
        _ => large.acquire().await.ok(),
    };
    let body = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("the body: {error}\n")),
    };
    match answers.answer(ask, &body).await {
        Ok(review) => {
            let mut response = Response::new(Full::new(review.to_string().into()));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            tracing::debug!("a review: {error}");
            let status = if error.is_the_askers() {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            text(status, format!("{error}\n"))
        }
    }
}
