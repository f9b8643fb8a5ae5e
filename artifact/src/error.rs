//! Why an artifact can't be transferred or used.

use crate::{ContentError, Digest};
use std::time::Duration;

/// Why an artifact can't be transferred or used. Messages don't repeat the reference.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The certificates of the system can't be loaded.
    #[error("no TLS: {0}")]
    Tls(std::io::Error),
    /// The registry can't be reached, or the connection broke.
    #[error("{host}: {error}")]
    Connection {
        /// The host that was asked.
        host: String,
        /// What failed.
        error: String,
    },
    /// The registry did not answer in time.
    #[error("{host}: {what} within {within:?}")]
    Late {
        /// The host that was asked.
        host: String,
        /// What it failed to do.
        what: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// The registry refused the request.
    #[error("{host} refused {what}: {status}{}", detail(.says))]
    Refused {
        /// The host that was asked.
        host: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: http::StatusCode,
        /// What the registry says about it, if anything.
        says: String,
    },
    /// There is no such artifact.
    #[error("there is no such artifact")]
    NotFound,
    /// An answer is larger than what is read.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The registry redirects to where we don't follow.
    #[error("{host} redirects to {to:?}, which is not followed")]
    Redirect {
        /// The host that was asked.
        host: String,
        /// Where it points to.
        to: String,
    },
    /// The registry wants credentials to be shown to another host, and has said so without TLS.
    #[error(
        "{host} has its tokens from {realm}, and credentials are not sent to another host without TLS"
    )]
    Realm {
        /// The host that was asked.
        host: String,
        /// The host that it has named.
        realm: String,
    },
    /// An answer is not what the protocol says.
    #[error("{host}: {problem}")]
    Protocol {
        /// The host that was asked.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// What the registry sent is not what was asked for.
    #[error("{what} was tampered with: its digest is {found}, not {expected}")]
    Digest {
        /// The manifest, or the profile.
        what: &'static str,
        /// What was asked for.
        expected: Digest,
        /// What was sent.
        found: Digest,
    },
    /// It is not an artifact with a profile.
    #[error("{0}")]
    Layout(String),
    /// The profile in it can't be used.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It has no signature.
    #[error("it is not signed")]
    NotSigned,
    /// None of its signatures is by the key.
    #[error("none of its {0} signatures was made for it with the given key")]
    WrongSignature(usize),
    /// None of the signatures that can be read is by the key, but there are or may be others.
    #[error("{}: {why}", read(*.seen))]
    Unread {
        /// How many signatures were read.
        seen: usize,
        /// What can't be read, and why.
        why: String,
        /// Whether the artifact itself is at fault with each.
        is_refusal: bool,
    },
    /// The signature can't be made.
    #[error("the signature can't be made")]
    Sign,
}

impl ArtifactError {
    /// Whether the artifact itself is at fault, so that another try can't help unless it is replaced.
    pub fn is_refusal(&self) -> bool {
        if let ArtifactError::Unread { is_refusal, .. } = self {
            return *is_refusal;
        }
        matches!(
            self,
            ArtifactError::Digest { .. }
                | ArtifactError::Layout(_)
                | ArtifactError::Content(_)
                | ArtifactError::NotSigned
                | ArtifactError::WrongSignature(_)
                | ArtifactError::TooLarge { .. }
        )
    }
}

fn read(seen: usize) -> String {
    match seen {
        0 => "no signature can be read".to_owned(),
        seen => format!(
            "none of its {seen} signatures was made for it with the given key, and others can't be read"
        ),
    }
}

fn detail(says: &str) -> String {
    if says.is_empty() {
        String::new()
    } else {
        format!(" ({says})")
    }
}
