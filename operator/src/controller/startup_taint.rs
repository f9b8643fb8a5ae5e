//! Takes the startup taint from nodes whose agent has handled every profile, so that no pod gets to a
//! node before its profiles.
//!
//! A patch removes nothing but that taint, and only if the node is still the one that was looked at:
//! the API server tests both in the same step.

use crate::kube::{
    health::{HEARTBEAT, Health},
    request::{RequestError, request},
    stores::{Stores, node::Node},
};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Client, core::PartialObjectMeta};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The taint. Whoever makes a node puts it there, for example the kubelet by
/// `--register-with-taints`.
const TAINT: &str = "portcullis.dev/not-ready";
/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// The time between two looks, at least. Many nodes change at once.
const PAUSE: Duration = Duration::from_millis(200);

/// Works until the future is dropped.
pub(super) async fn run(stores: Arc<Stores>, client: Client, health: Health) {
    let heartbeat = health.heartbeat("startup-taint");
    let (mut nodes, mut reports) = (stores.nodes.changes(), stores.node_reports.changes());
    let mut look = interval(RETRY.min(HEARTBEAT));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = Failures::default();
    loop {
        tokio::select! {
            () = nodes.next() => {}
            () = reports.next() => {}
            _ = look.tick() => {}
        }
        heartbeat.beat();
        if !stores.nodes.is_complete() || !stores.node_reports.is_complete() {
            continue;
        }
        let ready = ready(&stores);
        failures.keep_only(&ready);
        for node in &ready {
            if failures.has_to_wait(&node.name, Instant::now()) {
                continue;
            }
            let result = remove(&client, node).await;
            failures.note(&node.name, result, Instant::now());
            heartbeat.beat();
        }
        sleep(PAUSE).await;
    }
}

/// The nodes that have the taint, and whose agent says that it has handled every profile.
fn ready(stores: &Stores) -> Vec<Arc<Node>> {
    let (nodes, reports) = (stores.nodes.snapshot(), stores.node_reports.snapshot());
    let is_ready = |node: &&Arc<Node>| {
        let report = reports.get(&node.name);
        has_taint(node) && report.is_some_and(|report| report.is_synced_on(&node.uid))
    };
    nodes.values().filter(is_ready).cloned().collect()
}

fn has_taint(node: &Node) -> bool {
    node.taints.iter().any(|taint| taint.key == TAINT)
}

/// A JSON patch that removes the taint, whichever effects it has, and changes nothing if the node is
/// another one or has other taints by now. What is removed is tested, the last first, since the others
/// move up.
fn patch(node: &Node) -> Value {
    let mut steps = vec![json!({"op": "test", "path": "/metadata/uid", "value": node.uid})];
    for (index, taint) in node.taints.iter().enumerate().rev() {
        if taint.key == TAINT {
            let at = format!("/spec/taints/{index}");
            steps.push(json!({"op": "test", "path": format!("{at}/key"), "value": TAINT}));
            steps.push(json!({"op": "remove", "path": at}));
        }
    }
    Value::Array(steps)
}

async fn remove(client: &Client, node: &Node) -> Result<(), RequestError> {
    let body = patch(node).to_string().into_bytes();
    let call = http::Request::patch(format!("/api/v1/nodes/{}", node.name))
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    request(client.request::<PartialObjectMeta<NodeObject>>(call)).await?;
    Ok(())
}

/// Nodes whose taint could not be removed: when, and why.
#[derive(Default)]
struct Failures(BTreeMap<String, (Instant, String)>);

impl Failures {
    fn keep_only(&mut self, nodes: &[Arc<Node>]) {
        self.0
            .retain(|name, _| nodes.iter().any(|node| node.name == *name));
    }

    fn has_to_wait(&self, node: &str, now: Instant) -> bool {
        let failed = self.0.get(node);
        failed.is_some_and(|(at, _)| now.duration_since(*at) < RETRY)
    }

    /// Each reason is logged once for a node.
    fn note(&mut self, node: &str, result: Result<(), RequestError>, now: Instant) {
        let error = match result {
            Ok(()) => {
                tracing::info!(node, "it has its profiles: its taint {TAINT} is removed");
                self.0.remove(node);
                return;
            }
            // It has changed: a test of the patch failed (422), or it is gone. The watch will tell.
            Err(error) if error.is_outdated() || error.code() == Some(422) => {
                tracing::debug!(node, "its taint {TAINT}: {error}");
                return;
            }
            Err(error) => error.to_string(),
        };
        if self.0.get(node).is_none_or(|(_, last)| *last != error) {
            tracing::warn!(node, "its taint {TAINT} can't be removed: {error}");
        }
        self.0.insert(node.to_owned(), (now, error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::stores::node_report::NodeReport;
    use k8s_openapi::api::core::v1::Taint;

    fn node(name: &str, taints: &[&str]) -> Arc<Node> {
        let taint = |key: &&str| Taint {
            key: (*key).to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        Arc::new(Node {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            taints: taints.iter().map(taint).collect(),
            ..Node::default()
        })
    }

    #[test]
    fn only_nodes_with_the_taint_whose_own_agent_is_done_are_ready() {
        let stores = Stores::default();
        let nodes = ["a", "b", "c", "d", "e"].map(|name| node(name, &[TAINT, "other"]));
        let all = nodes.into_iter().chain([node("f", &["other"])]);
        stores.nodes.fill(all.map(|node| (node.name.clone(), node)));
        let report = |uid: &str, synced: bool| Arc::new(NodeReport::owned(uid, synced));
        stores.node_reports.fill([
            ("a".to_owned(), report("uid-of-a", true)),
            ("b".to_owned(), report("uid-of-b", false)),
            // It is about an earlier node of that name.
            ("c".to_owned(), report("uid-of-earlier", true)),
            ("f".to_owned(), report("uid-of-f", true)),
        ]);
        let ready: Vec<String> = ready(&stores)
            .iter()
            .map(|node| node.name.clone())
            .collect();
        assert_eq!(ready, ["a"]);
    }

    #[test]
    fn the_patch_removes_that_taint_wherever_it_is_and_tests_what_it_removes() {
        let node = node("a", &["x", TAINT, "y", TAINT]);
        let expected = json!([
            {"op": "test", "path": "/metadata/uid", "value": "uid-of-a"},
            {"op": "test", "path": "/spec/taints/3/key", "value": TAINT},
            {"op": "remove", "path": "/spec/taints/3"},
            {"op": "test", "path": "/spec/taints/1/key", "value": TAINT},
            {"op": "remove", "path": "/spec/taints/1"},
        ]);
        assert_eq!(patch(&node), expected);
    }

    #[test]
    fn a_node_is_tried_again_after_a_while_and_forgotten_once_it_is_done() {
        let mut failures = Failures::default();
        let start = Instant::now();
        failures.note("a", Err(RequestError::Late), start);
        assert!(failures.has_to_wait("a", start) && !failures.has_to_wait("b", start));
        assert!(!failures.has_to_wait("a", start + RETRY));
        failures.note("a", Ok(()), start);
        assert!(!failures.has_to_wait("a", start));
        failures.note("a", Err(RequestError::Late), start);
        failures.keep_only(&[node("b", &[])]);
        assert!(failures.0.is_empty());
    }
}
