//! The time of day, in the forms that records and file names use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Seconds since 1970-01-01 UTC in the form of RFC 3339.
pub fn stamp(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// The present time for use in file names, in UTC and to the millisecond:
/// `20261125T131412.123Z`.
pub fn file_stamp() -> String {
    compact(SystemTime::now())
}

/// A time without separators between its parts, so that names sort by time.
fn compact(moment: SystemTime) -> String {
    humantime::format_rfc3339_millis(moment)
        .to_string()
        .replace([':', '-'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_a_millisecond_apart_have_stamps_of_their_own_that_sort_alike() {
        let at = |millis| compact(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(1_795_612_452_123), "20261125T131412.123Z");
        assert!(at(1_795_612_452_123) < at(1_795_612_452_124));
        assert!(at(1_795_612_452_999) < at(1_795_612_453_000));
    }
}
