//! HTTP as it is spoken to registries: every answer has a limit and a deadline, and a redirect stays
//! with its scheme.

use crate::{ArtifactError, Authorities, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::RootCertStore;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long a request may take, with its answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// How many redirects are followed, one after the other.
const MAX_REDIRECTS: usize = 5;

/// An answer.
pub(crate) struct Answer {
    /// What was asked last, after redirects.
    pub(crate) from: Uri,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) headers: &'a [(header::HeaderName, &'a str)],
    pub(crate) body: &'a [u8],
    /// The largest answer, in bytes.
    pub(crate) limit: usize,
    /// What is asked for, in messages.
    pub(crate) what: &'a str,
}

/// Speaks HTTP.
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: Scheme,
}

impl Transport {
    /// Speaks to registries whose certificates are of these authorities, or of the system's.
    pub(crate) fn new(
        scheme: Scheme,
        authorities: Option<&Authorities>,
    ) -> Result<Transport, ArtifactError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = match (scheme, authorities) {
            (Scheme::Https, None) => builder
                .with_provider_and_native_roots(provider)
                .map_err(ArtifactError::Tls)?,
            (_, authorities) => {
                // Without TLS, no certificate is looked at.
                let roots = authorities.map_or_else(RootCertStore::empty, |it| it.0.clone());
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|error| ArtifactError::Tls(std::io::Error::other(error)))?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                builder.with_tls_config(config)
            }
        };
        let builder = match scheme {
            Scheme::Https => builder.https_only(),
            Scheme::Http => builder.https_or_http(),
        };
        let connector = builder.enable_http1().build();
        Ok(Transport {
            client: Client::builder(TokioExecutor::new()).build(connector),
            scheme,
        })
    }

    /// Asks, and follows redirects of what only reads.
    pub(crate) async fn ask(&self, mut ask: Ask<'_>) -> Result<Answer, ArtifactError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(&ask).await?;
            let reads = ask.method == Method::GET || ask.method == Method::HEAD;
            if !answer.status.is_redirection() || !reads {
                return Ok(answer);
            }
            let to = answer.header(header::LOCATION).unwrap_or_default();
            let next = self.follow(&ask.uri, to)?;
            // What is for one host is not for another.
            if next.authority() != ask.uri.authority() {
                ask.authorization = None;
            }
            ask.uri = next;
        }
        Err(ArtifactError::Redirect {
            host: host(&ask.uri),
            to: ask.uri.to_string(),
        })
    }

    /// Where a location leads that an answer from `from` names.
    pub(crate) fn follow(&self, from: &Uri, to: &str) -> Result<Uri, ArtifactError> {
        let refused = || ArtifactError::Redirect {
            host: host(from),
            to: to.to_owned(),
        };
        let absolute = if to.starts_with('/') && !to.starts_with("//") {
            format!("{}://{}{to}", self.scheme.as_str(), host(from))
        } else {
            to.to_owned()
        };
        let uri: Uri = absolute.parse().map_err(|_| refused())?;
        let is_same = uri.scheme_str() == Some(self.scheme.as_str());
        let has_user = uri.authority().is_none_or(|it| it.as_str().contains('@'));
        if is_same && !has_user {
            Ok(uri)
        } else {
            Err(refused())
        }
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, ArtifactError> {
        timeout(DEADLINE, self.answer(ask))
            .await
            .unwrap_or_else(|_| {
                Err(ArtifactError::Late {
                    host: host(&ask.uri),
                    what: "no complete answer",
                    within: DEADLINE,
                })
            })
    }

    async fn answer(&self, ask: &Ask<'_>) -> Result<Answer, ArtifactError> {
        let failed = |error: &dyn Error| ArtifactError::Connection {
            host: host(&ask.uri),
            error: causes(error),
        };
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(ask.uri.clone())
            .header(header::USER_AGENT, "portcullis");
        for (name, value) in ask.headers {
            request = request.header(name, *value);
        }
        if let Some(value) = ask.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = Full::new(Bytes::copy_from_slice(ask.body));
        let request = request.body(body).map_err(|error| failed(&error))?;
        let answer = self.client.request(request).await;
        let (head, body) = answer.map_err(|error| failed(&error))?.into_parts();
        let collected = Limited::new(body, ask.limit).collect().await;
        let body = collected.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                ArtifactError::TooLarge {
                    what: ask.what.to_owned(),
                    limit: ask.limit,
                }
            } else {
                failed(&*error)
            }
        })?;
        Ok(Answer {
            from: ask.uri.clone(),
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

/// The host of a URI, with its port.
pub(crate) fn host(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

/// An error and what caused it, each once.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_keeps_its_scheme_and_has_no_user() {
        let transport = Transport::new(Scheme::Http, None).unwrap();
        let from: Uri = "http://a.example:5000/v2/x".parse().unwrap();
        let leads = |to: &str| transport.follow(&from, to).map(|uri| uri.to_string()).ok();
        assert_eq!(leads("/y?z").as_deref(), Some("http://a.example:5000/y?z"));
        assert_eq!(
            leads("http://b.example/y").as_deref(),
            Some("http://b.example/y")
        );
        for to in [
            "https://b.example/y",
            "//b.example/y",
            "y",
            "",
            "ftp://b.example/",
            "http://u:p@b.example/",
        ] {
            assert_eq!(leads(to), None, "{to}");
        }
    }
}
