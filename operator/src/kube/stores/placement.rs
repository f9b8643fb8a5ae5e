//! Which nodes a `DaemonSet` reaches: what its controller and the scheduler decide by its node
//! selector, its required node affinity, its tolerations and the nodes' taints.

use super::node::Node;
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration},
};
use std::collections::BTreeMap;

/// The label with a node's operating system.
const OS: &str = "kubernetes.io/os";
/// The taints of a passing state of the node, which the pods of every `DaemonSet` tolerate
/// (`AddOrUpdateDaemonPodTolerations` in Kubernetes's sources).
const ALWAYS_TOLERATED: [&str; 6] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
];

/// Where the pods of a `DaemonSet` can run. Without a `DaemonSet`, on every node but those with
/// another operating system than Linux.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    pod: Option<PodSpec>,
}

impl Placement {
    /// Where this one's can.
    pub fn of(set: DaemonSet) -> Placement {
        let pod = set.spec.and_then(|spec| spec.template.spec);
        // Only this of it is needed, and changes of the rest are no news.
        let pod = pod.map(|pod| PodSpec {
            node_selector: pod.node_selector,
            affinity: pod.affinity,
            tolerations: pod.tolerations,
            ..PodSpec::default()
        });
        Placement { pod }
    }

    /// Whether a pod can run on this node.
    pub fn reaches(&self, node: &Node) -> bool {
        let Some(pod) = &self.pod else {
            return node.labels.get(OS).is_none_or(|os| os == "linux");
        };
        let tolerations = pod.tolerations.as_deref().unwrap_or_default();
        is_selected(pod, node)
            && node
                .taints
                .iter()
                .all(|taint| tolerates(tolerations, taint))
    }
}

fn is_selected(pod: &PodSpec, node: &Node) -> bool {
    let selector = pod.node_selector.iter().flatten();
    let mut selector = selector.map(|(key, value)| node.labels.get(key) == Some(value));
    let affinity = pod
        .affinity
        .as_ref()
        .and_then(|it| it.node_affinity.as_ref());
    let required = affinity.and_then(|it| {
        it.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selector.all(|holds| holds)
        && required.is_none_or(|it| {
            it.node_selector_terms
                .iter()
                .any(|term| matches(term, node))
        })
}

/// Whether a node matches a term. An empty one matches none.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name.clone())]);
    let by_label = term.match_expressions.iter().flatten();
    let by_field = term.match_fields.iter().flatten();
    let mut all = by_label
        .map(|it| (it, &node.labels))
        .chain(by_field.map(|it| (it, &name)))
        .peekable();
    all.peek().is_some() && all.all(|(requirement, values)| holds(requirement, values))
}

fn holds(requirement: &NodeSelectorRequirement, values: &BTreeMap<String, String>) -> bool {
    let value = values.get(&requirement.key);
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let is_in = || value.is_some_and(|value| wanted.contains(value));
    let numbers = || {
        let value: i64 = value?.parse().ok()?;
        let wanted: i64 = wanted.first()?.parse().ok()?;
        Some((value, wanted))
    };
    match requirement.operator.as_str() {
        "In" => is_in(),
        "NotIn" => !is_in(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, wanted)| value > wanted),
        "Lt" => numbers().is_some_and(|(value, wanted)| value < wanted),
        _ => false,
    }
}

fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    let is_tolerated = |it: &Toleration| {
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        let key = is_empty(&it.key) || it.key.as_ref() == Some(&taint.key);
        let effect = is_empty(&it.effect) || it.effect.as_ref() == Some(&taint.effect);
        let value = match it.operator.as_deref() {
            Some("Exists") => true,
            _ => {
                !is_empty(&it.key)
                    && it.value.as_deref().unwrap_or_default()
                        == taint.value.as_deref().unwrap_or_default()
            }
        };
        key && effect && value
    };
    taint.effect == "PreferNoSchedule"
        || ALWAYS_TOLERATED.contains(&taint.key.as_str())
        || tolerations.iter().any(is_tolerated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn placement(pod: &Value) -> Placement {
        let set = json!({"spec": {"selector": {}, "template": {"spec": pod}}});
        Placement::of(serde_json::from_value(set).unwrap())
    }

    fn node(labels: &Value, taints: &Value) -> Node {
        Node {
            name: "n1".to_owned(),
            uid: String::new(),
            labels: serde_json::from_value(labels.clone()).unwrap(),
            taints: serde_json::from_value(taints.clone()).unwrap(),
        }
    }

    #[test]
    fn without_a_daemon_set_only_nodes_of_another_system_are_left_out() {
        for (labels, reached) in [
            (json!({}), true),
            (json!({OS: "linux"}), true),
            (json!({OS: "windows"}), false),
        ] {
            let node = node(&labels, &json!([{"key": "x", "effect": "NoSchedule"}]));
            assert_eq!(Placement::default().reaches(&node), reached, "{labels}");
        }
    }

    #[test]
    fn selector_and_affinity_choose_by_labels_and_by_name() {
        let labels = json!({OS: "linux", "zone": "a", "disks": "4"});
        let node = node(&labels, &json!([]));
        let term = |kind: &str, key: &str, operator: &str, values: &[&str]| {
            let requirement = json!({"key": key, "operator": operator, "values": values});
            let terms = json!([{ kind: [requirement] }]);
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
        };
        let by = |key: &str, operator: &str, values: &[&str]| {
            term("matchExpressions", key, operator, values)
        };
        for (pod, reached) in [
            (json!({}), true),
            (json!({"nodeSelector": {OS: "linux"}}), true),
            (json!({"nodeSelector": {OS: "linux", "zone": "b"}}), false),
            (by("zone", "In", &["a", "b"]), true),
            (by("zone", "In", &["b"]), false),
            (by("zone", "NotIn", &["b"]), true),
            (by("none", "NotIn", &["b"]), true),
            (by("zone", "Exists", &[]), true),
            (by("zone", "DoesNotExist", &[]), false),
            (by("disks", "Gt", &["3"]), true),
            (by("disks", "Lt", &["4"]), false),
            (by("zone", "Gt", &["3"]), false),
            (term("matchFields", "metadata.name", "In", &["n1"]), true),
            (term("matchFields", "metadata.name", "In", &["n2"]), false),
        ] {
            assert_eq!(placement(&pod).reaches(&node), reached, "{pod}");
        }
        let empty = json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}});
        assert!(!placement(&empty).reaches(&node));
    }

    #[test]
    fn a_taint_keeps_out_whoever_does_not_tolerate_it() {
        let gpu = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
        for (toleration, reached) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "gpu", "operator": "Exists"}), true),
            (json!({"key": "gpu", "value": "yes"}), true),
            (
                json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"}),
                true,
            ),
            (json!({"key": "gpu", "value": "no"}), false),
            (
                json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            let pod = json!({"tolerations": [toleration]});
            let reaches = placement(&pod).reaches(&node(&json!({}), &gpu));
            assert_eq!(reaches, reached, "{toleration}");
        }
        let none = placement(&json!({}));
        assert!(!none.reaches(&node(&json!({}), &gpu)));
        for taint in [
            json!({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}),
            json!({"key": "gpu", "effect": "PreferNoSchedule"}),
        ] {
            assert!(none.reaches(&node(&json!({}), &json!([taint]))), "{taint}");
        }
    }
}
