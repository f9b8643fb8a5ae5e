//! The content of a `SeccompNode`, and what it omits once it is full.

use crate::crd::{FailedProfile, InstalledProfile, SeccompNodeSpec};
use std::collections::BTreeMap;

/// How many bytes of lists a report holds as JSON; etcd accepts 1.5 MiB. With names of 20 characters
/// that is [`capacity`]`(20)`, 13,157 profiles of a generation below 100.
pub const MAX_REPORT: usize = 1_000_000;
/// The length of a digest.
const DIGEST: usize = 16;
/// The size of an installed profile without its name, digest and generation, including the comma
/// after it.
const INSTALLED: usize = r#"{"name":"","digest":"","generation":},"#.len();
/// The same of a failed one, without its name, reason and generation.
const FAILED: usize = r#"{"name":"","reason":"","generation":},"#.len();

/// How many profiles with names of this length a report can hold, if their generations have at most
/// two digits.
pub const fn capacity(name: usize) -> usize {
    MAX_REPORT / (name + DIGEST + INSTALLED + 2)
}

/// The length of a text as JSON, at most, as written by the API server.
fn length(text: &str) -> usize {
    let escaped = |char: &char| matches!(char, '"' | '\\' | '<' | '>' | '&');
    text.len() + 5 * text.chars().filter(escaped).count()
}

/// The number of digits of a generation, at least two.
fn digits(generation: Option<i64>) -> usize {
    let generation = generation.unwrap_or(0).unsigned_abs();
    generation
        .checked_ilog10()
        .map_or(2, |log| (log as usize + 1).max(2))
}

/// The report of a node with these profiles. Failed ones come first; entries that don't fit are
/// counted.
pub(in crate::agent) fn report(
    installed: &BTreeMap<String, InstalledProfile>,
    failed: &BTreeMap<String, FailedProfile>,
    problem: Option<&str>,
) -> SeccompNodeSpec {
    let mut size = 0;
    let mut omitted = 0;
    let mut fits = |bytes: usize| {
        size += bytes;
        omitted += u64::from(size > MAX_REPORT);
        size <= MAX_REPORT
    };
    let failed_count = failed.len() as u64;
    let failed = failed
        .values()
        .filter(|it| fits(FAILED + length(&it.name) + length(&it.reason) + digits(it.generation)));
    let failed = failed.cloned().collect();
    let shown = installed.values().filter(|it| {
        fits(INSTALLED + length(&it.name) + length(&it.digest) + digits(it.generation))
    });
    let mut report = SeccompNodeSpec {
        count: installed.len() as u64,
        failed_count,
        failed,
        installed: shown.cloned().collect(),
        ..SeccompNodeSpec::default()
    };
    report.omitted = omitted;
    let full = (report.omitted > 0).then(|| {
        let named = report.failed.len() + report.installed.len();
        let omitted = report.omitted;
        format!("its SeccompNode is full: it names {named} profiles and omits {omitted}")
    });
    let problems: Vec<&str> = problem.into_iter().chain(full.as_deref()).collect();
    report.problem = (!problems.is_empty()).then(|| problems.join("; "));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(count: usize) -> BTreeMap<String, InstalledProfile> {
        let name = |index| format!("profile-{index:012}");
        (0..count)
            .map(|index| {
                let profile = InstalledProfile {
                    name: name(index),
                    digest: "0123456789abcdef".to_owned(),
                    generation: Some(99),
                };
                (name(index), profile)
            })
            .collect()
    }

    #[test]
    fn a_report_names_as_many_as_it_can_and_says_how_many_it_leaves_out() {
        let capacity = capacity(20);
        assert_eq!(capacity, 13_157);
        let full = report(&installed(capacity), &BTreeMap::new(), None);
        assert_eq!((full.omitted, full.problem), (0, None));
        assert_eq!(full.installed.len(), capacity);
        let over = report(&installed(capacity + 3), &BTreeMap::new(), Some("a link"));
        assert_eq!(over.omitted, 3);
        assert_eq!(over.count, capacity as u64 + 3);
        assert_eq!(
            over.problem.as_deref(),
            Some("a link; its SeccompNode is full: it names 13157 profiles and omits 3")
        );
    }

    #[test]
    fn failures_have_their_place_first_and_no_report_is_longer_than_the_limit() {
        let failed = installed(1000).into_keys().map(|name| {
            let profile = FailedProfile {
                name: name.clone(),
                reason: "<".repeat(256),
                generation: Some(i64::MAX),
            };
            (name, profile)
        });
        let report = report(&installed(9), &failed.collect(), None);
        assert!(report.installed.is_empty());
        assert_eq!(report.failed.len() as u64 + report.omitted, 1009);
        let written = serde_json::to_string(&report)
            .unwrap()
            .replace('<', "\\u003c");
        assert!(written.len() < MAX_REPORT + 1000, "{}", written.len());
    }
}
