//! The distribution protocol, as far as artifacts need it: manifests, blobs, and tokens.

use crate::{
    ArtifactError, Authorities, Credentials, Digest, Repository, Scheme,
    layout::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST},
    transport::{Answer, Ask, Transport, host},
};
use http::{Method, StatusCode, Uri, header};
use hyper::body::Bytes;
use serde::Deserialize;
use std::sync::Mutex;

/// The largest manifest, in bytes.
const MAX_MANIFEST: usize = 1024 * 1024;
/// The largest token, and the largest answer that holds nothing that we need.
const MAX_OTHER: usize = 64 * 1024;

/// What registries answer that have no lists of referrers: they don't know the path.
const NO_REFERRERS: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::GONE,
    StatusCode::NOT_IMPLEMENTED,
];

/// A list of what refers to a digest.
pub(crate) struct Referrers {
    /// An index, as it was sent.
    pub(crate) list: Bytes,
    /// Whether it is only the first page.
    pub(crate) goes_on: bool,
}

/// How a registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// With TLS or without.
    pub scheme: Scheme,
    /// What is shown to a registry that asks for it.
    pub credentials: Option<Credentials>,
    /// Who may have signed its certificate; without any, the authorities that the system trusts.
    pub authorities: Option<Authorities>,
}

/// A repository, and how to speak to its registry.
pub(crate) struct Registry<'a> {
    transport: Transport,
    access: &'a Access,
    repository: &'a Repository,
    /// What the registry wants to see, once it has said so.
    authorization: Mutex<Option<String>>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        access: &'a Access,
    ) -> Result<Registry<'a>, ArtifactError> {
        Ok(Registry {
            transport: Transport::new(access.scheme, access.authorities.as_ref())?,
            access,
            repository,
            authorization: Mutex::new(None),
        })
    }

    /// The manifest that a tag or a digest stands for. `None` if there is none.
    pub(crate) async fn manifest(&self, wanted: &str) -> Result<Option<Bytes>, ArtifactError> {
        let accept = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        let what = "the manifest";
        let ask = Ask {
            headers: &[(header::ACCEPT, &accept)],
            ..self.get(&format!("manifests/{wanted}"), MAX_MANIFEST, what)?
        };
        let answer = self.ask(ask).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        expect(&answer, StatusCode::OK, self.repository.host(), what)?;
        Ok(Some(answer.body))
    }

    /// The list of what refers to a digest. `None` if the registry does not keep such lists.
    pub(crate) async fn referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<Referrers>, ArtifactError> {
        let what = "their list";
        let ask = Ask {
            headers: &[(header::ACCEPT, INDEX)],
            ..self.get(&format!("referrers/{digest}"), MAX_MANIFEST, what)?
        };
        let answer = self.ask(ask).await?;
        let kind = answer.header(header::CONTENT_TYPE).unwrap_or_default();
        let is_index = kind.split(';').next().map(str::trim) == Some(INDEX);
        if NO_REFERRERS.contains(&answer.status) || !is_index && answer.status == StatusCode::OK {
            return Ok(None);
        }
        expect(&answer, StatusCode::OK, self.repository.host(), what)?;
        let links = answer.headers.get_all(header::LINK).iter();
        let goes_on = links
            .filter_map(|link| link.to_str().ok())
            .any(|link| link.contains("rel=\"next\"") || link.contains("rel=next"));
        Ok(Some(Referrers {
            list: answer.body,
            goes_on,
        }))
    }

    /// A blob, which has this digest and at most that many bytes.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        limit: usize,
        what: &'static str,
    ) -> Result<Bytes, ArtifactError> {
        let ask = self.get(&format!("blobs/{digest}"), limit, what)?;
        let answer = self.ask(ask).await?;
        expect(&answer, StatusCode::OK, self.repository.host(), what)?;
        check(what, &answer.body, digest)?;
        Ok(answer.body)
    }

    /// Sends a blob, unless the registry has it.
    pub(crate) async fn send_blob(&self, bytes: &[u8]) -> Result<(), ArtifactError> {
        let digest = Digest::of(bytes);
        let what = "a blob";
        let head = Ask {
            method: Method::HEAD,
            ..self.get(&format!("blobs/{digest}"), MAX_OTHER, what)?
        };
        if self.ask(head).await?.status == StatusCode::OK {
            return Ok(());
        }
        let begin = Ask {
            method: Method::POST,
            ..self.get("blobs/uploads/", MAX_OTHER, "an upload")?
        };
        let from = begin.uri.clone();
        let answer = self.ask(begin).await?;
        let host = self.repository.host();
        expect(&answer, StatusCode::ACCEPTED, host, "an upload")?;
        let place = answer.header(header::LOCATION).unwrap_or_default();
        let place = self.transport.follow(&from, place)?;
        let joint = if place.query().is_some() { '&' } else { '?' };
        let uri = format!("{place}{joint}digest={digest}");
        let send = Ask {
            method: Method::PUT,
            uri: uri
                .parse()
                .map_err(|_| self.protocol("where to upload to"))?,
            headers: &[(header::CONTENT_TYPE, "application/octet-stream")],
            body: bytes,
            ..self.get("", MAX_OTHER, what)?
        };
        let answer = self.ask(send).await?;
        expect(&answer, StatusCode::CREATED, host, what)
    }

    /// Sends a manifest under a tag or its digest.
    pub(crate) async fn send_manifest(
        &self,
        wanted: &str,
        bytes: &[u8],
    ) -> Result<(), ArtifactError> {
        let what = "the manifest";
        let send = Ask {
            method: Method::PUT,
            headers: &[(header::CONTENT_TYPE, MANIFEST)],
            body: bytes,
            ..self.get(&format!("manifests/{wanted}"), MAX_OTHER, what)?
        };
        let answer = self.ask(send).await?;
        expect(&answer, StatusCode::CREATED, self.repository.host(), what)
    }

    fn get<'b>(&self, path: &str, limit: usize, what: &'b str) -> Result<Ask<'b>, ArtifactError> {
        let (scheme, host) = (self.access.scheme.as_str(), self.repository.host());
        let uri = format!("{scheme}://{host}/v2/{}/{path}", self.repository.path());
        Ok(Ask {
            method: Method::GET,
            uri: uri.parse().map_err(|_| self.protocol("the reference"))?,
            authorization: None,
            headers: &[],
            body: &[],
            limit,
            what,
        })
    }

    fn protocol(&self, what: &str) -> ArtifactError {
        ArtifactError::Protocol {
            host: self.repository.host().to_owned(),
            problem: format!("{what} is not a valid address"),
        }
    }

    /// Asks, and once more with what the registry wants to see if it says so.
    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, ArtifactError> {
        let is_own = host(&ask.uri) == self.repository.host();
        let known = self.known().filter(|_| is_own);
        let first = Ask {
            authorization: known.as_deref(),
            ..ask.clone()
        };
        let answer = self.transport.ask(first).await?;
        // Only the registry says what it wants to see, not whom it redirects to.
        let is_own = is_own && host(&answer.from) == self.repository.host();
        if answer.status != StatusCode::UNAUTHORIZED || !is_own {
            return Ok(answer);
        }
        let Some(challenge) = answer.header(header::WWW_AUTHENTICATE) else {
            return Ok(answer);
        };
        let writes = ask.method != Method::GET && ask.method != Method::HEAD;
        let Some(value) = self.authorize(challenge, writes).await? else {
            return Ok(answer);
        };
        if let Ok(mut known) = self.authorization.lock() {
            *known = Some(value.clone());
        }
        let again = Ask {
            authorization: Some(&value),
            ..ask
        };
        self.transport.ask(again).await
    }

    fn known(&self) -> Option<String> {
        self.authorization.lock().ok()?.clone()
    }

    /// What to show to a registry that has sent this challenge; `None` if we have nothing.
    async fn authorize(
        &self,
        challenge: &str,
        writes: bool,
    ) -> Result<Option<String>, ArtifactError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let basic = self.access.credentials.as_ref().map(Credentials::basic);
        let (kind, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Ok(basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let parameter = |name: &str| parameter(parameters, name).unwrap_or_default();
        let registry = format!(
            "{}://{}/",
            self.access.scheme.as_str(),
            self.repository.host()
        );
        let from: Uri = registry
            .parse()
            .map_err(|_| self.protocol("the registry"))?;
        let realm = self.transport.follow(&from, parameter("realm"))?;
        // Without TLS, anybody on the way may have named it.
        let is_safe = self.access.scheme == Scheme::Https || host(&realm) == host(&from);
        if basic.is_some() && !is_safe {
            return Err(ArtifactError::Realm {
                host: host(&from),
                realm: host(&realm),
            });
        }
        let actions = if writes { "pull,push" } else { "pull" };
        let joint = if realm.query().is_some() { '&' } else { '?' };
        let uri = format!(
            "{realm}{joint}service={}&scope=repository:{}:{actions}",
            encoded(parameter("service")),
            self.repository.path()
        );
        let what = "a token";
        let ask = Ask {
            uri: uri.parse().map_err(|_| self.protocol("where tokens are"))?,
            authorization: basic.as_deref(),
            ..self.get("", MAX_OTHER, what)?
        };
        let answer = self.transport.ask(ask).await?;
        expect(&answer, StatusCode::OK, &host(&realm), what)?;
        let token: Option<Token> = serde_json::from_slice(&answer.body).ok();
        let token = token.and_then(|it| it.token.or(it.access_token));
        let token = token.ok_or_else(|| ArtifactError::Protocol {
            host: host(&realm),
            problem: "it sent no token".to_owned(),
        })?;
        Ok(Some(format!("Bearer {token}")))
    }
}

/// Checks what was sent against its digest.
pub(crate) fn check(
    what: &'static str,
    bytes: &[u8],
    expected: &Digest,
) -> Result<(), ArtifactError> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(ArtifactError::Digest {
        what,
        expected: *expected,
        found,
    })
}

fn expect(
    answer: &Answer,
    status: StatusCode,
    host: &str,
    what: &str,
) -> Result<(), ArtifactError> {
    #[derive(Deserialize)]
    struct Said {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        message: String,
    }
    if answer.status == status {
        return Ok(());
    }
    let said: Option<Said> = serde_json::from_slice(&answer.body).ok();
    let first = said.and_then(|said| said.errors.into_iter().next());
    let says = first.map_or_else(String::new, |one| one.message);
    Err(ArtifactError::Refused {
        host: host.to_owned(),
        what: what.to_owned(),
        status: answer.status,
        says: says
            .chars()
            .filter(|it| !it.is_control())
            .take(200)
            .collect(),
    })
}

/// A parameter of a challenge: `realm="…",service="…"`.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = parameters;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next.trim_start().trim_start_matches(',');
    }
    None
}

/// A text as a part of a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = text.bytes();
    bytes
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_taken_apart() {
        let text = r#"realm="https://auth.example/token?a=b,c",service="registry.example",scope=x, error="y""#;
        let of = |name| parameter(text, name);
        assert_eq!(of("realm"), Some("https://auth.example/token?a=b,c"));
        assert_eq!(of("Service"), Some("registry.example"));
        assert_eq!(of("scope"), Some("x"));
        assert_eq!(of("error"), Some("y"));
        assert_eq!(of("other"), None);
        assert_eq!(parameter(r#"realm="open"#, "realm"), None);
        assert_eq!(encoded("a b&c"), "a%20b%26c");
    }
}
