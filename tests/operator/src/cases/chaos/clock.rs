//! How much time has passed for a test that shares its machine.
//!
//! A moment counts only as far as there is a processor for everything that wants to run: with four
//! processors and eight runnable threads, half of it. So a deadline means the same on a busy machine
//! as on one at rest.

use anyhow::{Context, Result};
use std::{fs, thread, time::Duration, time::Instant};
use tokio::time::sleep;

/// How often it looks how busy the machine is.
const TICK: Duration = Duration::from_millis(50);

/// The time since it was made.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    last: Instant,
    rest: Duration,
}

impl Default for Clock {
    fn default() -> Clock {
        let now = Instant::now();
        Clock {
            begun: now,
            last: now,
            rest: Duration::ZERO,
        }
    }
}

impl Clock {
    /// Waits a moment.
    pub(super) async fn tick(&mut self) {
        sleep(TICK).await;
        let now = Instant::now();
        self.rest += (now - self.last).mul_f64(share().unwrap_or(1.0));
        self.last = now;
    }

    /// How long this would have been on a machine at rest.
    pub(super) fn rest(&self) -> Duration {
        self.rest
    }

    /// How long it was.
    pub(super) fn all(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The part of a processor that each runnable thread has.
fn share() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let runnable: u32 = text
        .split(['/', ' '])
        .nth(3)
        .and_then(|word| word.parse().ok())
        .context("/proc/loadavg")?;
    let processors = u32::try_from(thread::available_parallelism()?.get())?;
    Ok((f64::from(processors) / f64::from(runnable.max(1))).min(1.0))
}
