//! When the node's report is written: soon after a change, and less and less often while changes
//! continue.

use std::time::Duration;
use tokio::time::Instant;

/// How long changes are collected at first, so that a burst becomes one report.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// How long at most, while changes continue.
const DEBOUNCE_LIMIT: Duration = Duration::from_millis(2400);

/// When the next report is due.
#[derive(Debug)]
pub(in crate::agent) struct Debounce {
    due: Option<Instant>,
    last: Option<Instant>,
    delay: Duration,
}

impl Debounce {
    pub(in crate::agent) const fn new() -> Debounce {
        Debounce {
            due: None,
            last: None,
            delay: DEBOUNCE,
        }
    }

    /// When a report is due, if there was a change since the last one.
    pub(in crate::agent) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something has changed.
    pub(in crate::agent) fn changed(&mut self, now: Instant) {
        if self.due.is_some() {
            return;
        }
        self.delay = match self.last {
            Some(last) if now < last + DEBOUNCE_LIMIT => (self.delay * 2).min(DEBOUNCE_LIMIT),
            _ => DEBOUNCE,
        };
        self.due = Some(now + self.delay);
    }

    /// The report is being written now.
    pub(in crate::agent) fn done(&mut self, now: Instant) {
        self.due = None;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_reported_soon_and_an_endless_stream_less_and_less_often() {
        let start = Instant::now();
        let mut debounce = Debounce::new();
        debounce.changed(start);
        assert_eq!(debounce.due(), Some(start + DEBOUNCE));
        let mut reports = 0;
        // A change every 10 ms, for 20 seconds.
        for tick in 0..2000 {
            let now = start + Duration::from_millis(10) * tick;
            if debounce.due().is_some_and(|due| due <= now) {
                debounce.done(now);
                reports += 1;
            }
            debounce.changed(now);
        }
        assert!((8..=12).contains(&reports), "{reports}");
        debounce.done(start + Duration::from_secs(20));
        let later = start + Duration::from_secs(30);
        debounce.changed(later);
        assert_eq!(debounce.due(), Some(later + DEBOUNCE));
    }
}
