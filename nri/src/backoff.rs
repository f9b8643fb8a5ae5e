//! How long to wait before a connection is made again.

use std::time::Duration;

/// The first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A connection that lasted this long is made again at once: until then, containers are created without the plugin.
const STEADY: Duration = Duration::from_secs(1);

/// The pauses of a plugin.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: PAUSES.0 }
    }
}

impl Backoff {
    /// The pause after an attempt, given how long the connection lasted if the plugin was synchronized. A pause is
    /// shortened at random, by up to half.
    pub(crate) fn after(&mut self, lasted: Option<Duration>) -> Duration {
        if let Some(lasted) = lasted {
            self.next = PAUSES.0;
            if lasted >= STEADY {
                return Duration::ZERO;
            }
        }
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(PAUSES.1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_plugin_is_synchronized() {
        let mut backoff = Backoff::default();
        let mut longest = PAUSES.0;
        for _ in 0..12 {
            let pause = backoff.after(None);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(PAUSES.1);
        }
        assert_eq!(longest, PAUSES.1);
        assert!(backoff.after(Some(Duration::ZERO)) <= PAUSES.0);
    }

    #[test]
    fn a_steady_connection_is_made_again_at_once_and_one_that_keeps_ending_is_not() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(Some(STEADY)), Duration::ZERO);
        for _ in 0..3 {
            assert!(backoff.after(Some(STEADY / 2)) >= PAUSES.0 / 2);
        }
    }
}
