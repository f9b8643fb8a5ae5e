//! Requests to the API server, limited by a deadline.

use kube::api::{DeleteParams, Preconditions};
use std::time::Duration;
use tokio::time::timeout;

/// How long the API server may take to answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server refused it, or can't be reached.
    #[error("{0}")]
    Refused(#[from] kube::Error),
    /// The API server did not answer.
    #[error("no answer within {REQUEST_TIMEOUT:?}")]
    Late,
}

impl RequestError {
    /// Whether the error is about the requested object rather than the connection to the API
    /// server. If so, requests for other objects may still succeed.
    pub fn is_about_the_object(&self) -> bool {
        matches!(self, RequestError::Refused(kube::Error::Api(_)))
    }

    /// Whether the object is gone or has changed meanwhile. The watch will report it.
    pub fn is_outdated(&self) -> bool {
        matches!(self.code(), Some(404 | 409))
    }

    /// The HTTP status of the API server's answer, or `None` if there was no answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            RequestError::Refused(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// Waits for the answer to a request, but at most for [`REQUEST_TIMEOUT`].
///
/// # Errors
/// [`RequestError`].
pub async fn request<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(RequestError::Late),
    }
}

/// Deletes an object only if it is still the one with this UID, and nobody has changed it since this
/// version.
pub fn unless_changed(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        resource_version,
        uid,
    })
}

/// The delay before a retry. It doubles with each failure, up to a limit.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// A delay that starts at `first`.
    pub const fn new(first: Duration, limit: Duration) -> Backoff {
        Backoff {
            first,
            limit,
            next: first,
        }
    }

    /// The delay after another failure.
    pub fn fail(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.limit);
        delay
    }

    /// Resets the delay after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_its_limit_and_begins_anew_after_a_success() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(2), seconds(7));
        assert_eq!([(); 4].map(|()| backoff.fail()), [2, 4, 7, 7].map(seconds));
        backoff.reset();
        assert_eq!(backoff.fail(), seconds(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends() {
        let never = futures::future::pending::<Result<(), kube::Error>>();
        assert!(matches!(request(never).await, Err(RequestError::Late)));
    }
}
