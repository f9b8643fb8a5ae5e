//! Handling requests: how many at once, for how long, and what becomes of those that are not handled.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::dispatch::{self, Handled};
use crate::error::{Code, Error, Refusal};
use crate::plugin::Plugin;
use crate::session::Session;
use crate::ttrpc::{self, Request};

/// How many requests are handled at once; reading waits beyond that. The runtime creates one container at a time.
const AT_ONCE: usize = 32;
/// How many encoded bytes they may have together: two of the longest.
const BYTES: usize = 2 * ttrpc::MAX_MESSAGE;
/// How much earlier than the runtime's deadline a handler's ends: a tenth of it within these bounds. A plugin that is
/// late is dropped and the container created without it; a refusal in time keeps both from happening.
const MARGIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// The requests of a connection that are being handled. Dropping it stops them.
pub(crate) struct Handlers {
    running: JoinSet<Result<(), Error>>,
    bytes: Arc<Semaphore>,
}

impl Default for Handlers {
    fn default() -> Self {
        Self {
            running: JoinSet::new(),
            bytes: Arc::new(Semaphore::new(BYTES)),
        }
    }
}

impl Handlers {
    /// Handles a request of that length, once there is room.
    pub(crate) async fn handle<P: Plugin>(
        &mut self,
        session: &Arc<Session<P>>,
        stream: u32,
        request: Request,
        length: usize,
    ) -> Result<(), Error> {
        let share = self.reserve(length).await?;
        let session = Arc::clone(session);
        self.running.spawn(async move {
            let (answer, ends) = match within_deadline(&session, request).await {
                Ok(answer) => (answer, Ok(())),
                Err(Error::Closed) => return Err(Error::Closed),
                // Without an answer a runtime would create the container.
                Err(error) => {
                    let reason = error.to_string();
                    (Err(Refusal::new(Code::InvalidArgument, reason)), Err(error))
                }
            };
            session.link.answer(stream, answer).await?;
            drop(share);
            ends
        });
        Ok(())
    }

    /// The end of one of them, if there are any; an error is the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Result<(), Error>> {
        let done = self.running.join_next().await?;
        Some(done.unwrap_or(Err(Error::Panicked)))
    }

    /// Whether nothing is being handled.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    async fn reserve(&mut self, length: usize) -> Result<OwnedSemaphorePermit, Error> {
        let share = u32::try_from(length).unwrap_or(u32::MAX);
        loop {
            if self.running.len() < AT_ONCE
                && let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(share)
            {
                return Ok(permit);
            }
            // A message is shorter than all there is, so somebody holds the rest.
            self.next().await.unwrap_or(Err(Error::Closed))?;
        }
    }
}

/// The caller's deadline holds, else the one that it told when it configured the plugin. If the handler panics, the
/// request is refused: the runtime would create the container without a plugin that vanishes.
async fn within_deadline<P: Plugin>(
    session: &Arc<Session<P>>,
    request: Request,
) -> Result<Handled, Error> {
    let deadline = u64::try_from(request.timeout_nano)
        .ok()
        .filter(|nanos| *nanos > 0)
        .map(Duration::from_nanos)
        .or(session.request_timeout())
        .map(allowed);
    let method = request.method.clone();
    let handling = caught(dispatch::handle(session, request));
    let finished = match deadline {
        None => handling.await,
        Some(deadline) => {
            let Ok(finished) = tokio::time::timeout(deadline, handling).await else {
                let reason = format!("{method} was not handled within {}", rounded(deadline));
                return Ok(Err(Refusal::new(Code::DeadlineExceeded, reason)));
            };
            finished
        }
    };
    finished.unwrap_or_else(|| {
        let reason = format!("the plugin panicked while it handled {method}");
        Ok(Err(Refusal::new(Code::Internal, reason)))
    })
}

/// What comes of a handler, or `None` if it panics.
async fn caught<F: Future>(handling: F) -> Option<F::Output> {
    let mut handling = pin!(handling);
    poll_fn(|context| {
        // It is not polled again after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// How long a handler has, where the runtime waits for `deadline`.
fn allowed(deadline: Duration) -> Duration {
    let margin = (deadline / 10).clamp(MARGIN.0, MARGIN.1);
    deadline.saturating_sub(margin.min(deadline / 2))
}

/// Runtimes say what is left of their timeout to the nanosecond.
fn rounded(deadline: Duration) -> String {
    format!("{} ms", deadline.as_micros().div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_has_less_time_than_the_runtime_waits() {
        for (waits, has) in [(10_000, 9_750), (2_000, 1_800), (50, 40), (10, 5), (0, 0)] {
            let expected = Duration::from_millis(has);
            assert_eq!(
                allowed(Duration::from_millis(waits)),
                expected,
                "{waits} ms"
            );
        }
    }
}
