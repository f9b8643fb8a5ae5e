//! Waiting for something, always with a deadline, and with the last observed state in the error.

use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// How long anything may take. Far more than it does, since the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// How long to wait before looking again.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `look` succeeds, and gives what it gave.
///
/// # Errors
/// After 90 s the error says what was waited for and what `look` said last.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    within(DEADLINE, what, look).await
}

/// The same with a deadline of its own, for what has to happen in time. It has to leave room for a
/// busy machine.
pub(crate) async fn within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let said = match look().await {
            Ok(found) => return Ok(found),
            Err(said) => said,
        };
        if begun.elapsed() > deadline {
            return Err(anyhow!(
                "{what}: not within {deadline:?}; seen last: {said:#}"
            ));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
