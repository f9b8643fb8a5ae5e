//! What the nodes of the cluster have of a profile, and how to say which do not have it.

use crate::{
    crd::node::UNKNOWN_GENERATION,
    kube::stores::{
        Stores,
        node_report::{File, NodeReport, Reported},
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// How many names a message has at most.
const NAMED: usize = 5;

/// The nodes on which the agent can run, each with its report if there is one.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<(String, Option<Arc<NodeReport>>)>);

/// How many nodes have a file, and why the others do not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// How many nodes have it.
    pub(super) installed: usize,
    /// The most important reason why some do not; `None` if all do.
    pub(super) missing: Option<Missing>,
}

/// Why nodes do not have a file, in words that name them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Some can't install it.
    Failed(String),
    /// Some have not reported it yet, or there is no node.
    NotYet(String),
    /// The reports of some are full.
    Omitted(String),
}

impl Nodes {
    /// The current nodes. Reports of other nodes are ignored.
    pub(super) fn of(stores: &Stores) -> Nodes {
        let reports = stores.node_reports.snapshot();
        let placement = stores.placement();
        let nodes = stores.nodes.snapshot();
        let reached = nodes.iter().filter(|(_, node)| placement.reaches(node));
        Nodes(
            reached
                .map(|(node, _)| (node.clone(), reports.get(node).map(Arc::clone)))
                .collect(),
        )
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn reported<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = (&'a str, Reported<'a>)> {
        self.0.iter().map(move |(node, report)| {
            let report = report.as_ref();
            let reported = report.map(|report| report.of_profile(profile));
            (node.as_str(), reported.unwrap_or(Reported::Nothing))
        })
    }

    /// How many nodes have the file of this generation of a profile, with this digest.
    pub(super) fn count(&self, profile: &str, digest: u64, generation: Option<i64>) -> Count {
        let right = File { digest, generation };
        let mut installed = 0;
        let (mut failed, mut waiting, mut full) = (Vec::new(), Vec::new(), Vec::new());
        let (mut reason, mut omitted) = ("", 0);
        for (node, reported) in self.reported(profile) {
            match reported {
                Reported::Installed(file) if file == right => installed += 1,
                Reported::Installed(_) | Reported::Nothing => waiting.push(node),
                Reported::Failed { reason: why, .. } => {
                    if failed.is_empty() {
                        reason = why;
                    }
                    failed.push(node);
                }
                Reported::Omitted(count) => {
                    if full.is_empty() {
                        omitted = count;
                    }
                    full.push(node);
                }
            }
        }
        let others = |nodes: &[&str]| match &nodes[1..] {
            [] => String::new(),
            others => format!("; also affected: {}", some_of(others)),
        };
        let missing = if let Some(node) = failed.first() {
            let others = others(&failed);
            Some(Missing::Failed(format!("node {node}: {reason}{others}")))
        } else if !waiting.is_empty() {
            let all = self.len();
            let message = format!(
                "waiting for {} of {all} nodes: {}",
                waiting.len(),
                some_of(&waiting)
            );
            Some(Missing::NotYet(message))
        } else if let Some(node) = full.first() {
            let others = others(&full);
            Some(Missing::Omitted(format!(
                "node {node}: its SeccompNode is full and omits {omitted} profiles{others}"
            )))
        } else if self.0.is_empty() {
            let message = "there is no node on which the agent can run";
            Some(Missing::NotYet(message.to_owned()))
        } else {
            None
        };
        Count { installed, missing }
    }

    /// The nodes that have any file of a profile.
    pub(super) fn having<'a>(&'a self, profile: &'a str) -> Vec<&'a str> {
        self.reported(profile)
            .filter(|(_, reported)| has_file(reported))
            .map(|(node, _)| node)
            .collect()
    }

    /// Which generations of a profile the nodes have, and which nodes have none, in words.
    pub(super) fn kept(&self, profile: &str) -> String {
        let mut kept: BTreeMap<i64, usize> = BTreeMap::new();
        let mut without = Vec::new();
        for (node, reported) in self.reported(profile) {
            let (Reported::Installed(File { generation, .. })
            | Reported::Failed { generation, .. }) = reported
            else {
                without.push(node);
                continue;
            };
            match generation {
                Some(generation) => *kept.entry(generation).or_default() += 1,
                None => without.push(node),
            }
        }
        if kept.is_empty() {
            return "no node has a file of it".to_owned();
        }
        let all = self.len();
        let mut said: Vec<String> = kept
            .into_iter()
            .map(|(generation, count)| match generation {
                UNKNOWN_GENERATION => {
                    format!("an earlier generation stays on {count} of {all} nodes")
                }
                _ => format!("generation {generation} stays on {count} of {all} nodes"),
            })
            .collect();
        if !without.is_empty() {
            said.push(format!("without a file: {}", some_of(&without)));
        }
        said.join("; ")
    }
}

fn has_file(reported: &Reported<'_>) -> bool {
    match reported {
        Reported::Installed(_) => true,
        Reported::Failed { generation, .. } => generation.is_some(),
        Reported::Omitted(_) | Reported::Nothing => false,
    }
}

/// Some of these names, and how many more there are.
pub(super) fn some_of(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Nodes without an API server.

    use super::*;
    use serde_json::{Value, json};

    /// Nodes with these reports, and a report of a node that is gone.
    pub(in crate::controller::profiles) fn nodes(reports: &[(&str, Option<Value>)]) -> Nodes {
        let stores = Stores::default();
        let names = reports.iter().map(|(node, _)| (*node).to_owned());
        stores.nodes.fill(names.map(|node| (node, Arc::default())));
        let reports = reports.iter().filter_map(|(node, spec)| {
            let report = NodeReport::reading(spec.as_ref()?);
            Some(((*node).to_owned(), Arc::new(report)))
        });
        let gone = json!({"failed": [{"name": "a", "reason": "it does not count"}]});
        let gone = ("gone".to_owned(), Arc::new(NodeReport::reading(&gone)));
        stores.node_reports.fill(reports.chain([gone]));
        Nodes::of(&stores)
    }

    /// The report of a node that has this generation of the profile `a`, with the digest 0xff.
    pub(in crate::controller::profiles) fn installed(generation: i64) -> Value {
        let profile = json!({"name": "a", "digest": "00000000000000ff", "generation": generation});
        json!({"installed": [profile]})
    }

    /// The report of a node that has failed to install `a` for this reason.
    pub(in crate::controller::profiles) fn failed(reason: &str) -> Value {
        json!({"failed": [{"name": "a", "reason": reason}]})
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{failed, installed, nodes},
        *,
    };
    use serde_json::{Value, json};

    fn count(reports: &[(&str, Option<Value>)]) -> Count {
        nodes(reports).count("a", 0xff, Some(2))
    }

    #[test]
    fn a_node_that_fails_comes_before_one_that_is_missing_and_that_before_a_full_report() {
        let full = || Some(json!({"omitted": 3}));
        let all = count(&[("n1", Some(installed(2))), ("n2", Some(installed(2)))]);
        assert_eq!((all.installed, all.missing), (2, None));
        let one_full = count(&[("n1", Some(installed(2))), ("n2", full())]);
        let message = "node n2: its SeccompNode is full and omits 3 profiles";
        assert_eq!(one_full.installed, 1);
        assert_eq!(one_full.missing, Some(Missing::Omitted(message.to_owned())));
        let one_missing = count(&[("n2", full()), ("n3", None)]);
        let message = "waiting for 1 of 2 nodes: n3".to_owned();
        assert_eq!(one_missing.missing, Some(Missing::NotYet(message)));
        let reports = [
            ("n2", full()),
            ("n3", None),
            ("n4", Some(failed("a foreign file"))),
            ("n5", Some(failed("a full disk"))),
        ];
        let message = "node n4: a foreign file; also affected: n5".to_owned();
        assert_eq!(count(&reports).missing, Some(Missing::Failed(message)));
    }

    #[test]
    fn only_the_current_generation_counts() {
        let count = count(&[("n1", Some(installed(1))), ("n2", Some(installed(2)))]);
        let message = "waiting for 1 of 2 nodes: n1".to_owned();
        assert_eq!(count.installed, 1);
        assert_eq!(count.missing, Some(Missing::NotYet(message)));
    }

    #[test]
    fn no_node_is_not_every_node() {
        let count = count(&[]);
        assert!(matches!(count.missing, Some(Missing::NotYet(_))));
    }

    #[test]
    fn a_message_names_some_and_counts_the_others() {
        let names: Vec<String> = (1..=9).map(|number| format!("n{number}")).collect();
        let reports: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let message = "waiting for 9 of 9 nodes: n1, n2, n3, n4, n5 and 4 more".to_owned();
        assert_eq!(count(&reports).missing, Some(Missing::NotYet(message)));
    }

    #[test]
    fn what_an_invalid_profile_leaves_on_the_nodes_is_said_by_generation() {
        let stale = json!({"failed": [{"name": "a", "reason": "no", "generation": 1}]});
        let kept = |reports: &[(&str, Option<Value>)]| nodes(reports).kept("a");
        assert_eq!(
            kept(&[("n1", Some(failed("no")))]),
            "no node has a file of it"
        );
        assert_eq!(
            kept(&[
                ("n1", Some(stale)),
                ("n2", Some(installed(1))),
                ("n3", Some(installed(2)))
            ]),
            "generation 1 stays on 2 of 3 nodes; generation 2 stays on 1 of 3 nodes"
        );
        let unknown = json!({"failed": [{"name": "a", "reason": "no", "generation": 0}]});
        assert_eq!(
            kept(&[("n1", Some(unknown))]),
            "an earlier generation stays on 1 of 1 nodes"
        );
        assert_eq!(
            kept(&[
                ("n1", Some(installed(1))),
                ("n2", Some(failed("no"))),
                ("n3", None)
            ]),
            "generation 1 stays on 1 of 3 nodes; without a file: n2, n3"
        );
    }
}
