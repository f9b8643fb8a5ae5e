//! What is kept of a `SeccompNode`. It is compact, because there are as many entries as nodes times
//! profiles.

use super::texts::Texts;
use crate::{
    crd::{
        SeccompNodeSpec,
        gate::{GateState, NodeGate, short_id},
    },
    kube::stored::StoredNode,
};
use std::{collections::BTreeMap, sync::Arc};

/// What a node reports about one profile.
#[derive(Debug, PartialEq, Eq)]
pub enum Reported<'a> {
    /// Its file is the right one.
    Installed,
    /// There is no file, for this reason.
    Failed(&'a str),
    /// The report is full and omits this many profiles, perhaps this one.
    Omitted(u64),
    /// It has reported nothing yet.
    Nothing,
}

/// A node's report.
#[derive(Debug, Default)]
pub struct NodeReport {
    /// The digests of files, sorted by the name of the profile.
    digests: Box<[(Arc<str>, u64)]>,
    /// The reasons of profiles without a file, sorted by name.
    failures: Box<[(Arc<str>, Arc<str>)]>,
    problem: Option<Arc<str>>,
    omitted: u64,
    /// Whether the node has a gate.
    pub gate: Option<GateState>,
    /// The containers for which the gate has decided, by the beginning of their IDs, sorted.
    decided: Box<[Box<str>]>,
}

impl NodeReport {
    /// What is kept of a stored report. A report that can't be parsed is a problem of its node.
    pub(super) fn new(stored: &StoredNode, texts: &mut Texts) -> NodeReport {
        match stored.report() {
            Ok(report) => NodeReport::of(&report, texts),
            Err(error) => NodeReport {
                problem: Some(texts.share(&format!("its SeccompNode: {error}"))),
                ..NodeReport::default()
            },
        }
    }

    fn of(report: &SeccompNodeSpec, texts: &mut Texts) -> NodeReport {
        let gate = report.gate.as_ref();
        NodeReport {
            digests: report
                .profiles
                .iter()
                .filter_map(|(name, digest)| Some((texts.share(name), digest_number(digest)?)))
                .collect(),
            failures: shared(&report.failures, texts),
            problem: report.problem.as_deref().map(|text| texts.share(text)),
            omitted: report.omitted,
            gate: gate.and_then(|gate| GateState::parse(&gate.state)),
            decided: gate.map(decided).unwrap_or_default(),
        }
    }

    /// Whether the node's gate has decided on a container.
    pub fn has_decided(&self, id: &str) -> bool {
        let id = short_id(id);
        self.decided
            .binary_search_by(|other| (**other).cmp(id))
            .is_ok()
    }

    /// What it says about a profile whose file must have this digest.
    pub fn of_profile(&self, name: &str, digest: u64) -> Reported<'_> {
        let reported = find(&self.digests, name);
        if reported == Some(&digest) {
            return Reported::Installed;
        }
        match (find(&self.failures, name), &self.problem) {
            (Some(reason), _) => Reported::Failed(reason),
            // A profile that is named with another digest was not omitted.
            (None, _) if self.omitted > 0 && reported.is_none() => Reported::Omitted(self.omitted),
            (None, Some(problem)) if self.omitted == 0 => Reported::Failed(problem),
            _ => Reported::Nothing,
        }
    }
}

fn decided(gate: &NodeGate) -> Box<[Box<str>]> {
    let mut all: Vec<Box<str>> = gate.decided.iter().map(|id| id.as_str().into()).collect();
    all.sort();
    all.into()
}

fn shared(map: &BTreeMap<String, String>, texts: &mut Texts) -> Box<[(Arc<str>, Arc<str>)]> {
    map.iter()
        .map(|(name, text)| (texts.share(name), texts.share(text)))
        .collect()
}

fn find<'a, T>(sorted: &'a [(Arc<str>, T)], name: &str) -> Option<&'a T> {
    let at = sorted.binary_search_by(|(other, _)| (**other).cmp(name));
    at.ok().map(|at| &sorted[at].1)
}

/// A digest as a number, or `None` if it is not one of 16 hexadecimal digits.
pub fn digest_number(digest: &str) -> Option<u64> {
    let plain = digest.len() == 16 && !digest.starts_with('+');
    plain.then(|| u64::from_str_radix(digest, 16).ok())?
}

#[cfg(test)]
impl NodeReport {
    /// The report of a `SeccompNode` with this specification.
    pub(crate) fn reading(spec: &serde_json::Value) -> NodeReport {
        let object = serde_json::json!({"metadata": {"name": "n"}, "spec": spec});
        let stored = serde_json::from_str(&object.to_string()).unwrap();
        NodeReport::new(&stored, &mut Texts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(spec: &serde_json::Value) -> NodeReport {
        NodeReport::reading(spec)
    }

    #[test]
    fn a_report_says_what_is_right_what_failed_and_what_it_leaves_out() {
        let said = report(
            &json!({"profiles": {"a": "00000000000000ff", "b": "00000000000000fe", "odd": "ff"},
            "failures": {"c": "a foreign file"}, "omitted": 0}),
        );
        assert_eq!(said.of_profile("a", 255), Reported::Installed);
        assert_eq!(said.of_profile("b", 255), Reported::Nothing);
        assert_eq!(said.of_profile("odd", 255), Reported::Nothing);
        assert_eq!(
            said.of_profile("c", 255),
            Reported::Failed("a foreign file")
        );
        assert_eq!(said.of_profile("d", 255), Reported::Nothing);
        let full = report(
            &json!({"profiles": {"a": "00000000000000ff", "b": "00000000000000fe"},
            "failures": {}, "omitted": 7, "problem": "its SeccompNode is full"}),
        );
        assert_eq!(full.of_profile("a", 255), Reported::Installed);
        assert_eq!(full.of_profile("b", 255), Reported::Nothing);
        assert_eq!(full.of_profile("z", 255), Reported::Omitted(7));
    }

    #[test]
    fn a_report_that_is_not_understood_is_a_problem_of_its_node() {
        for spec in [json!(null), json!("text"), json!({"profiles": 7})] {
            let said = report(&spec);
            let Reported::Failed(problem) = said.of_profile("a", 1) else {
                panic!("{said:?}");
            };
            assert!(problem.contains("can't be parsed"), "{problem}");
        }
    }
}
