//! When the node's report is written: soon after the last of several changes, and less often while
//! changes continue.

use std::time::Duration;
use tokio::time::Instant;

/// How long nothing must change at first, so that a burst becomes one report.
const QUIET: Duration = Duration::from_millis(300);
/// How long at most, while one report follows another.
const QUIET_LIMIT: Duration = Duration::from_millis(2400);
/// How long a change waits at most while others follow it.
const LONGEST: Duration = Duration::from_secs(8);

/// When the next report is due.
#[derive(Debug)]
pub(in crate::agent) struct Debounce {
    /// The first change that was not reported yet, and when to report it.
    pending: Option<(Instant, Instant)>,
    last: Option<Instant>,
    quiet: Duration,
}

impl Debounce {
    pub(in crate::agent) const fn new() -> Debounce {
        Debounce {
            pending: None,
            last: None,
            quiet: QUIET,
        }
    }

    /// When a report is due, if there was a change since the last one.
    pub(in crate::agent) fn due(&self) -> Option<Instant> {
        self.pending.map(|(_, due)| due)
    }

    /// Something has changed.
    pub(in crate::agent) fn changed(&mut self, now: Instant) {
        let first = if let Some((first, _)) = self.pending {
            first
        } else {
            self.quiet = match self.last {
                Some(last) if now < last + QUIET_LIMIT => (self.quiet * 2).min(QUIET_LIMIT),
                _ => QUIET,
            };
            now
        };
        self.pending = Some((first, (now + self.quiet).min(first + LONGEST)));
    }

    /// The report is being written now.
    pub(in crate::agent) fn done(&mut self, now: Instant) {
        self.pending = None;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_reported_soon_and_so_is_the_last_of_many() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut debounce = Debounce::new();
        debounce.changed(start);
        assert_eq!(debounce.due(), Some(start + QUIET));
        for millis in [100, 200, 350] {
            debounce.changed(at(millis));
            assert_eq!(debounce.due(), Some(at(millis) + QUIET));
        }
        debounce.done(at(650));
        assert_eq!(debounce.due(), None);
        debounce.changed(at(700));
        assert_eq!(debounce.due(), Some(at(700) + QUIET * 2));
        debounce.done(at(1300));
        debounce.changed(at(30_000));
        assert_eq!(debounce.due(), Some(at(30_000) + QUIET));
    }

    /// How many reports there are of a change every so many milliseconds, for 30 seconds.
    fn reports(every: u32) -> usize {
        let start = Instant::now();
        let mut debounce = Debounce::new();
        let mut reports = 0;
        for tick in 0..30_000 / every {
            let now = start + Duration::from_millis(1) * every * tick;
            if let Some(due) = debounce.due().filter(|due| *due <= now) {
                debounce.done(due);
                reports += 1;
            }
            debounce.changed(now);
        }
        reports
    }

    #[test]
    fn endless_changes_are_reported_seldom_but_reported() {
        for every in [10, 100, 250, 700, 1500, 2300] {
            let reports = reports(every);
            assert!((3..=6).contains(&reports), "{every} ms: {reports}");
        }
    }
}
