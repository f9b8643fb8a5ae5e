//! When a controller's next pass is due.

use std::{future::pending, time::Duration};
use tokio::time::{Instant, sleep_until};

/// When the next pass is due, if at all. A pass that is put off happens earlier if there is a change.
#[derive(Debug)]
pub struct Schedule {
    due: Option<Instant>,
}

impl Schedule {
    /// The first pass is due after `delay`.
    #[must_use]
    pub fn after(delay: Duration) -> Schedule {
        Schedule {
            due: Some(Instant::now() + delay),
        }
    }

    /// From now on, the next pass is due at this time.
    pub const fn set(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// The next pass is due after `delay` at the latest.
    pub fn bring_forward(&mut self, delay: Duration) {
        let soon = Instant::now() + delay;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Waits until the next pass is due.
    pub async fn reached(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_change_brings_a_pass_forward_and_never_puts_it_off() {
        let begun = Instant::now();
        let mut schedule = Schedule::after(Duration::from_secs(5));
        schedule.bring_forward(Duration::from_secs(9));
        schedule.reached().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        schedule.set(Some(Instant::now() + Duration::from_secs(60)));
        schedule.bring_forward(Duration::from_secs(1));
        schedule.reached().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(6));
        schedule.set(None);
        assert!(schedule.reached().now_or_never().is_none());
        schedule.bring_forward(Duration::from_secs(1));
        schedule.reached().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
    }
}
