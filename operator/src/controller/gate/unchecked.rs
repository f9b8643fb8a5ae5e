//! Which containers run although no decision of the gate about them is known.

use crate::{
    crd::gate::GateState,
    kube::{
        store::Items,
        stores::{UsedFiles, gated::GatedPod, node_report::NodeReport},
    },
};
use k8s_openapi::jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a decision may take to get here: the agent looks every five seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Containers that started longer ago are not judged: their decisions are no longer reported.
const MAX_AGE: Duration = Duration::from_secs(600);

/// A container without a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pod: Arc<GatedPod>,
    /// Which of the pod's containers it is.
    pub(super) index: usize,
    /// What its node reports.
    pub(super) gate: Option<GateState>,
}

/// A running container.
#[derive(Debug)]
struct Known {
    /// When it was first seen here. The clocks of nodes are not compared with this one's.
    since: Instant,
    is_settled: bool,
}

/// The containers that run, by ID.
#[derive(Debug, Default)]
pub(super) struct Unchecked(BTreeMap<String, Known>);

impl Unchecked {
    /// The containers for which it is time to warn. Each is returned once.
    pub(super) fn look(
        &mut self,
        pods: &Items<UsedFiles>,
        reports: &Items<Arc<NodeReport>>,
        now: Instant,
        clock: Timestamp,
    ) -> Vec<Found> {
        let mut before = std::mem::take(&mut self.0);
        let mut found = Vec::new();
        for pod in pods.values().filter_map(|pod| pod.gated.as_ref()) {
            let report = reports.get(&pod.node);
            for (index, container) in pod.containers.iter().enumerate() {
                let mut known = before.remove(&container.id).unwrap_or_else(|| Known {
                    since: now,
                    is_settled: container.started.is_some_and(|started| {
                        let age = Duration::try_from(clock.duration_since(started));
                        age.is_ok_and(|age| age > MAX_AGE)
                    }),
                });
                if !known.is_settled {
                    if report.is_some_and(|report| report.has_decided(&container.id)) {
                        known.is_settled = true;
                    } else if now.saturating_duration_since(known.since) >= PATIENCE {
                        known.is_settled = true;
                        found.push(Found {
                            pod: Arc::clone(pod),
                            index,
                            gate: report.and_then(|report| report.gate),
                        });
                    }
                }
                self.0.insert(container.id.clone(), known);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::stores::gated::GatedContainer;
    use serde_json::json;

    fn pods(ids: &[&str], started: Timestamp) -> Items<UsedFiles> {
        let containers = ids.iter().map(|id| GatedContainer {
            name: "c".to_owned(),
            id: (*id).to_owned(),
            started: Some(started),
            annotation: "a".to_owned(),
            reference: "localhost/a.json".to_owned(),
        });
        let pod = GatedPod {
            namespace: "shop".to_owned(),
            name: "till".to_owned(),
            uid: None,
            node: "n1".to_owned(),
            containers: containers.collect(),
        };
        let kept = UsedFiles {
            gated: Some(Arc::new(pod)),
            ..UsedFiles::default()
        };
        [("shop/till".to_owned(), kept)].into()
    }

    fn reports(decided: &[&str]) -> Items<Arc<NodeReport>> {
        let spec = json!({"gate": {"state": "Present", "decided": decided}});
        [("n1".to_owned(), Arc::new(NodeReport::reading(&spec)))].into()
    }

    #[test]
    fn a_container_is_warned_about_once_unless_there_was_a_decision() {
        let (start, clock) = (Instant::now(), Timestamp::now());
        let mut unchecked = Unchecked::default();
        let mut look = |ids: &[&str], decided: &[&str], seconds| {
            let now = start + Duration::from_secs(seconds);
            let found = unchecked.look(&pods(ids, clock), &reports(decided), now, clock);
            let id = |found: &Found| found.pod.containers[found.index].id.clone();
            found.iter().map(id).collect::<Vec<_>>()
        };
        let all = ["0123456789abcdef01", "b"];
        assert!(look(&all, &[], 0).is_empty());
        assert!(look(&all, &["0123456789abcdef"], 29).is_empty());
        // What was decided once stays so.
        assert_eq!(look(&all, &[], 30), ["b"]);
        assert!(look(&all, &[], 99).is_empty());
        // One that is started again has another ID.
        assert!(look(&["c"], &[], 100).is_empty());
        assert_eq!(look(&["c"], &[], 130), ["c"]);
    }

    #[test]
    fn a_container_of_long_ago_is_not_judged_and_no_report_is_no_gate() {
        let (start, clock) = (Instant::now(), Timestamp::now());
        let later = start + PATIENCE;
        let old = clock - Duration::from_secs(601);
        let none = Items::new();
        let mut unchecked = Unchecked::default();
        for now in [start, later] {
            assert!(
                unchecked
                    .look(&pods(&["a"], old), &none, now, clock)
                    .is_empty()
            );
        }
        let mut unchecked = Unchecked::default();
        let new = pods(&["a"], clock);
        assert!(unchecked.look(&new, &none, start, clock).is_empty());
        let found = unchecked.look(&new, &none, later, clock);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].gate, None);
    }
}
