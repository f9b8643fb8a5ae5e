//! The content of a `SeccompNode`, and what it omits once it is full.

use crate::crd::SeccompNodeSpec;
use std::collections::BTreeMap;

/// How many bytes of names, digests and reasons a report holds as JSON; etcd accepts 1.5 MiB.
/// With names of 20 characters that is [`capacity`]`(20)`, 23,809 profiles.
pub const MAX_REPORT: usize = 1_000_000;
/// The length of a digest.
const DIGEST: usize = 16;
/// The size of an entry without its name and value: quotes, colon and comma.
const ENTRY: usize = 6;

/// How many profiles with names of this length a report can hold.
pub const fn capacity(name: usize) -> usize {
    MAX_REPORT / (name + DIGEST + ENTRY)
}

/// The length of a text as JSON, at most, as written by the API server.
fn length(text: &str) -> usize {
    let escaped = |char: &char| matches!(char, '"' | '\\' | '<' | '>' | '&');
    text.len() + 5 * text.chars().filter(escaped).count()
}

/// The report of a node with these installed profiles, by digest, and these failures, by reason.
/// Failures come first; entries that don't fit are counted.
pub(in crate::agent) fn report(
    installed: &BTreeMap<String, String>,
    failures: &BTreeMap<String, String>,
    problem: Option<&str>,
) -> SeccompNodeSpec {
    let mut report = SeccompNodeSpec {
        count: installed.len() as u64,
        failed: failures.len() as u64,
        ..SeccompNodeSpec::default()
    };
    let mut size = 0;
    for (map, values) in [
        (&mut report.failures, failures),
        (&mut report.profiles, installed),
    ] {
        for (name, value) in values {
            size += length(name) + length(value) + ENTRY;
            if size > MAX_REPORT {
                report.omitted += 1;
            } else {
                map.insert(name.clone(), value.clone());
            }
        }
    }
    let full = (report.omitted > 0).then(|| {
        let named = report.failures.len() + report.profiles.len();
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

    fn names(count: usize) -> BTreeMap<String, String> {
        (0..count)
            .map(|index| {
                (
                    format!("profile-{index:012}"),
                    "0123456789abcdef".to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a_report_names_as_many_as_it_can_and_says_how_many_it_leaves_out() {
        let capacity = capacity(20);
        assert_eq!(capacity, 23_809);
        let full = report(&names(capacity), &BTreeMap::new(), None);
        assert_eq!((full.omitted, full.problem), (0, None));
        assert_eq!(full.profiles.len(), capacity);
        let over = report(&names(capacity + 3), &BTreeMap::new(), Some("a link"));
        assert_eq!(over.omitted, 3);
        assert_eq!(over.count, capacity as u64 + 3);
        assert_eq!(
            over.problem.as_deref(),
            Some("a link; its SeccompNode is full: it names 23809 profiles and omits 3")
        );
    }

    #[test]
    fn failures_have_their_place_first_and_no_report_is_longer_than_the_limit() {
        let reason = "<".repeat(256);
        let failures = names(1000).into_keys().map(|name| (name, reason.clone()));
        let report = report(&names(9), &failures.collect(), None);
        assert!(report.profiles.is_empty());
        assert_eq!(report.failures.len() as u64 + report.omitted, 1009);
        let written = serde_json::to_string(&report)
            .unwrap()
            .replace('<', "\\u003c");
        assert!(written.len() < MAX_REPORT + 1000, "{}", written.len());
    }
}
