//! References to artifacts: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, and those that profiles name as
//! their base.

use crate::Digest;
use std::{fmt, str::FromStr};

/// What a profile's base in a registry begins with.
const SCHEME: &str = "oci://";
/// The longest reference, in bytes.
const MAX_LENGTH: usize = 512;

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not name a registry.
    #[error("{0:?} does not begin with a registry, such as registry.example.com/")]
    NoRegistry(String),
    /// It has no repository, or one with a wrong name.
    #[error(
        "{0:?} has no valid repository: use lower case letters, digits and . _ - between slashes"
    )]
    Repository(String),
    /// Its tag is not valid.
    #[error("{0:?} has no valid tag: use at most 128 letters, digits and . _ -")]
    Tag(String),
    /// Its digest is not valid.
    #[error("{0:?}: {1}")]
    Digest(String, &'static str),
    /// It is too long.
    #[error("the reference is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A base is not pinned.
    #[error("{0:?} has no digest; pin it: {SCHEME}REGISTRY/REPOSITORY@sha256:…")]
    NotPinned(String),
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP over TLS.
    #[default]
    Https,
    /// HTTP without TLS, only where somebody asked for it.
    Http,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry's host, with its port if one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that serves the registry: Docker Hub has another one than its name says.
    pub(crate) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }

    /// The name of the repository in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is this registry, or below this prefix: `REGISTRY[/PATH]`.
    pub fn is_within(&self, prefix: &str) -> bool {
        let own = self.to_string();
        let prefix = prefix.trim_end_matches('/');
        own.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.registry, self.path)
    }
}

/// An artifact in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// Its tag, if one was given.
    pub tag: Option<String>,
    /// Its digest, if one was given. It decides; the tag is then only for readers.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What the registry is asked for: the digest, the tag, or `latest`.
    pub(crate) fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(to, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(to, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        let own = || text.to_owned();
        if text.len() > MAX_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.parse();
                let digest = digest.map_err(|why| ReferenceError::Digest(own(), why))?;
                (rest, Some(digest))
            }
        };
        let (registry, rest) = rest
            .split_once('/')
            .filter(|(registry, _)| is_registry(registry))
            .ok_or_else(|| ReferenceError::NoRegistry(own()))?;
        let (path, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Tag(own())),
        };
        if !path.split('/').all(is_component) {
            return Err(ReferenceError::Repository(own()));
        }
        Ok(Reference {
            repository: Repository {
                registry: registry.to_owned(),
                path: path.to_owned(),
            },
            tag,
            digest,
        })
    }
}

/// A host that can't be the first part of a path: it has a dot or a port, or is localhost.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty()
        && host.bytes().all(is_host)
        && !host.starts_with(['.', '-'])
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && (port.is_some() || host.contains('.') || host == "localhost")
}

fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes
            .iter()
            .all(|byte| plain(*byte) || matches!(byte, b'.' | b'_' | b'-'))
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(is_inner)
}

/// A base in a registry, as `spec.baseProfileName` names it. It is always pinned by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    reference: Reference,
    digest: Digest,
}

impl Base {
    /// Parses what `spec.baseProfileName` says. `None` if it is the name of a profile.
    ///
    /// # Errors
    /// [`ReferenceError`] about a reference that is not valid, or not pinned.
    pub fn parse(text: &str) -> Option<Result<Base, ReferenceError>> {
        let reference = text.strip_prefix(SCHEME)?;
        Some(
            reference
                .parse()
                .and_then(|reference: Reference| match reference.digest {
                    Some(digest) => Ok(Base { reference, digest }),
                    None => Err(ReferenceError::NotPinned(text.to_owned())),
                }),
        )
    }

    /// The artifact.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The name of the `SeccompProfile` that the controller makes of it.
    pub fn profile_name(&self) -> String {
        format!("oci-{}", self.digest.hex())
    }
}

/// Whether this is the name of a profile that is made of an artifact: `oci-` and its digest.
pub fn is_profile_name(name: &str) -> bool {
    name.strip_prefix("oci-")
        .is_some_and(|digits| format!("sha256:{digits}").parse::<Digest>().is_ok())
}

/// As `spec.baseProfileName` says it.
impl fmt::Display for Base {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{SCHEME}{}", self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn a_reference_is_printed_as_it_was_read() {
        for text in [
            "registry.example.com/web".to_owned(),
            "localhost/web:1".to_owned(),
            "localhost:5000/team/web-1_a.b:v1.2-rc".to_owned(),
            format!("ghcr.io/team/web@{DIGEST}"),
            format!("ghcr.io/team/web:1@{DIGEST}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_ambiguous_or_could_lead_elsewhere_is_refused() {
        for text in [
            "web",
            "team/web",
            "example.com/",
            "example.com/../web",
            "example.com/a//b",
            "example.com/Web",
            "example.com/web?x",
            "user@example.com/web",
            "example.com:x/web",
            "example.com:99999/web",
            "example.com/web:",
            "example.com/web:a/b",
            "example.com/web@sha256:00",
            &format!("example.com/{}", "a".repeat(600)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_base_is_pinned_and_its_profile_is_named_after_the_digest() {
        assert_eq!(Base::parse("web"), None);
        let base = Base::parse(&format!("oci://ghcr.io/web:1@{DIGEST}"))
            .unwrap()
            .unwrap();
        assert_eq!(base.profile_name(), format!("oci-{}", &DIGEST[7..]));
        assert!(is_profile_name(&base.profile_name()));
        assert!(!is_profile_name("oci-web") && !is_profile_name(&DIGEST[7..]));
        assert_eq!(base.to_string(), format!("oci://ghcr.io/web:1@{DIGEST}"));
        let error = Base::parse("oci://ghcr.io/web:1").unwrap().unwrap_err();
        assert!(
            error.to_string().contains("has no digest; pin it"),
            "{error}"
        );
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let reference: Reference = "ghcr.io/team/web".parse().unwrap();
        for prefix in ["ghcr.io", "ghcr.io/", "ghcr.io/team", "ghcr.io/team/web"] {
            assert!(reference.repository.is_within(prefix), "{prefix}");
        }
        for prefix in ["ghcr.i", "ghcr.io/te", "ghcr.io/team/web/x", "localhost"] {
            assert!(!reference.repository.is_within(prefix), "{prefix}");
        }
    }
}
