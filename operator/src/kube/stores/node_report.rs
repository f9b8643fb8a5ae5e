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
use kube::ResourceExt;
use std::sync::Arc;

/// What a node reports about one profile.
#[derive(Debug, PartialEq, Eq)]
pub enum Reported<'a> {
    /// It has a file.
    Installed(File),
    /// It has no up-to-date file, for this reason.
    Failed {
        /// The reason.
        reason: &'a str,
        /// The earlier generation whose file it has, if it has one and that is known.
        generation: Option<i64>,
    },
    /// The report is full and omits this many profiles, perhaps this one.
    Omitted(u64),
    /// It has reported nothing yet.
    Nothing,
}

/// A profile's file on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// The digest of its filter.
    pub digest: u64,
    /// The generation that it was made from, if known.
    pub generation: Option<i64>,
}

/// Why a profile has no up-to-date file, and the earlier generation that it has.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    reason: Arc<str>,
    generation: Option<i64>,
}

/// A node's report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// Sorted by the name of the profile.
    installed: Box<[(Arc<str>, File)]>,
    /// Sorted by the name of the profile.
    failed: Box<[(Arc<str>, Failure)]>,
    problem: Option<Arc<str>>,
    omitted: u64,
    /// The UID of the node that it is about, if its agent has handled every profile.
    synced: Option<Box<str>>,
    /// Whether the node has a gate.
    pub gate: Option<GateState>,
    /// The containers for which the gate has decided, by the beginning of their IDs, sorted.
    decided: Box<[Box<str>]>,
}

impl NodeReport {
    /// What is kept of a stored report. A report that can't be parsed is a problem of its node.
    pub(super) fn new(stored: &StoredNode, texts: &mut Texts) -> NodeReport {
        match stored.report() {
            Ok(report) => NodeReport {
                synced: report.synced.then(|| owner(stored)).flatten(),
                ..NodeReport::of(&report, texts)
            },
            Err(error) => NodeReport {
                problem: Some(texts.share(&format!("its SeccompNode: {error}"))),
                ..NodeReport::default()
            },
        }
    }

    fn of(report: &SeccompNodeSpec, texts: &mut Texts) -> NodeReport {
        let gate = report.gate.as_ref();
        let installed = report.installed.iter().filter_map(|profile| {
            let file = File {
                digest: digest_number(&profile.digest)?,
                generation: profile.generation,
            };
            Some((texts.share(&profile.name), file))
        });
        let installed = sorted(installed);
        let failed = report.failed.iter().map(|profile| {
            let failure = Failure {
                reason: texts.share(&profile.reason),
                generation: profile.generation,
            };
            (texts.share(&profile.name), failure)
        });
        NodeReport {
            installed,
            failed: sorted(failed),
            problem: report.problem.as_deref().map(|text| texts.share(text)),
            omitted: report.omitted,
            synced: None,
            gate: gate.and_then(|gate| GateState::parse(&gate.state)),
            decided: gate.map(decided).unwrap_or_default(),
        }
    }

    /// Whether it says that the agent on the node with this UID has handled every profile.
    pub fn is_synced_on(&self, uid: &str) -> bool {
        self.synced.as_deref() == Some(uid)
    }

    /// Whether the node's gate has decided on a container.
    pub fn has_decided(&self, id: &str) -> bool {
        let id = short_id(id);
        self.decided
            .binary_search_by(|other| (**other).cmp(id))
            .is_ok()
    }

    /// What it says about a profile.
    pub fn of_profile(&self, name: &str) -> Reported<'_> {
        if let Some(failure) = find(&self.failed, name) {
            return Reported::Failed {
                reason: &failure.reason,
                generation: failure.generation,
            };
        }
        if let Some(file) = find(&self.installed, name) {
            return Reported::Installed(*file);
        }
        match &self.problem {
            _ if self.omitted > 0 => Reported::Omitted(self.omitted),
            Some(reason) => Reported::Failed {
                reason,
                generation: None,
            },
            None => Reported::Nothing,
        }
    }
}

fn owner(stored: &StoredNode) -> Option<Box<str>> {
    let owners = stored.owner_references().iter();
    let mut nodes = owners.filter(|owner| owner.kind == "Node");
    nodes.next().map(|owner| owner.uid.as_str().into())
}

fn decided(gate: &NodeGate) -> Box<[Box<str>]> {
    let mut all: Vec<Box<str>> = gate.decided.iter().map(|id| id.as_str().into()).collect();
    all.sort();
    all.into()
}

fn sorted<T>(entries: impl Iterator<Item = (Arc<str>, T)>) -> Box<[(Arc<str>, T)]> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    entries.into()
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
    /// An empty report that belongs to the node with this UID.
    pub(crate) fn owned(uid: &str, synced: bool) -> NodeReport {
        NodeReport {
            synced: synced.then(|| uid.into()),
            ..NodeReport::default()
        }
    }

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
    fn a_report_says_what_is_there_what_failed_and_what_it_leaves_out() {
        let there = |digest, generation| Reported::Installed(File { digest, generation });
        let failed = |reason, generation| Reported::Failed { reason, generation };
        let said = report(&json!({
            "installed": [
                {"name": "b", "digest": "00000000000000fe"},
                {"name": "a", "digest": "00000000000000ff", "generation": 3},
                {"name": "odd", "digest": "ff"},
            ],
            "failed": [
                {"name": "d", "reason": "a full disk", "generation": 2},
                {"name": "c", "reason": "a foreign file"},
            ],
        }));
        assert_eq!(said.of_profile("a"), there(255, Some(3)));
        assert_eq!(said.of_profile("b"), there(254, None));
        assert_eq!(said.of_profile("odd"), Reported::Nothing);
        assert_eq!(said.of_profile("c"), failed("a foreign file", None));
        assert_eq!(said.of_profile("d"), failed("a full disk", Some(2)));
        assert_eq!(said.of_profile("e"), Reported::Nothing);
        let full = report(&json!({
            "installed": [{"name": "a", "digest": "00000000000000ff", "generation": 1}],
            "omitted": 7,
            "problem": "its SeccompNode is full",
        }));
        assert_eq!(full.of_profile("a"), there(255, Some(1)));
        assert_eq!(full.of_profile("z"), Reported::Omitted(7));
    }

    #[test]
    fn it_is_synced_on_the_node_that_it_belongs_to() {
        let synced = |synced: bool, uid: &str| {
            let object = json!({"metadata": {"name": "n", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid}]},
                "spec": {"synced": synced}});
            let stored = serde_json::from_str(&object.to_string()).unwrap();
            NodeReport::new(&stored, &mut Texts::default()).is_synced_on("1")
        };
        assert!(synced(true, "1"));
        assert!(!synced(false, "1") && !synced(true, "2"));
        assert!(!report(&json!({"synced": true})).is_synced_on("1"));
    }

    #[test]
    fn a_report_that_is_not_understood_is_a_problem_of_its_node() {
        for spec in [json!(null), json!("text"), json!({"installed": 7})] {
            let said = report(&spec);
            let Reported::Failed { reason, .. } = said.of_profile("a") else {
                panic!("{said:?}");
            };
            assert!(reason.contains("can't be parsed"), "{reason}");
        }
    }
}
