//! Writes this node's `SeccompNode`, beside the work on its files: an API server that does not
//! answer keeps no file from being repaired.

use crate::{
    crd::{SeccompNode, SeccompNodeSpec},
    health::{Health, Metric},
    stored::StoredNode,
};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

const REPORTS: Metric = Metric::counter(
    "portcullis_agent_reports_total",
    "Writes of this node's SeccompNode.",
);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long until a write that failed is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// How often it is looked at whether what was written is still there.
const CHECK: Duration = Duration::from_secs(60);

/// Writes reports.
pub(super) struct Reporter {
    reports: Api<SeccompNode>,
    stored: Api<StoredNode>,
    nodes: Api<Node>,
    node: String,
    owner: Option<OwnerReference>,
    written: Option<SeccompNodeSpec>,
}

impl Reporter {
    pub(super) fn new(client: Client, node: &str) -> Reporter {
        Reporter {
            reports: Api::all(client.clone()),
            stored: Api::all(client.clone()),
            nodes: Api::all(client),
            node: node.to_owned(),
            owner: None,
            written: None,
        }
    }

    /// Writes the last report, whenever there is another one, until nobody reports any more.
    pub(super) async fn run(
        mut self,
        mut reports: watch::Receiver<Option<SeccompNodeSpec>>,
        health: &Health,
    ) {
        let mut again = AGAIN.0;
        loop {
            let report = reports.borrow_and_update().clone();
            let result = match report {
                Some(report) => timeout(PATIENCE, self.write(report, health))
                    .await
                    .map_err(|_| "no answer".to_owned())
                    .and_then(|result| result.map_err(|error| error.to_string())),
                None => Ok(()),
            };
            let pause = match result {
                Ok(()) => {
                    again = AGAIN.0;
                    CHECK
                }
                Err(error) => {
                    tracing::warn!("the SeccompNode {}: {error}", self.node);
                    health.add_labelled(REPORTS, vec![("result", "failed")], 1);
                    // The Node may be another one by now.
                    self.owner = None;
                    let pause = again;
                    again = (again * 2).min(AGAIN.1);
                    pause
                }
            };
            tokio::select! {
                changed = reports.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(pause) => if self.written.is_some() {
                    let _ = timeout(PATIENCE, self.check()).await;
                }
            }
        }
    }

    async fn write(&mut self, report: SeccompNodeSpec, health: &Health) -> Result<(), kube::Error> {
        if self.written.as_ref() == Some(&report) {
            return Ok(());
        }
        let mut object = SeccompNode::new(&self.node, report);
        object.metadata.owner_references = Some(vec![self.owner().await?]);
        let parameters = PatchParams::apply("portcullis-agent").force();
        self.reports
            .patch(&self.node, &parameters, &Patch::Apply(&object))
            .await?;
        health.add_labelled(REPORTS, vec![("result", "written")], 1);
        self.written = Some(object.spec);
        Ok(())
    }

    /// The Node, with which the report goes.
    async fn owner(&mut self) -> Result<OwnerReference, kube::Error> {
        if let Some(owner) = &self.owner {
            return Ok(owner.clone());
        }
        let node = self.nodes.get(&self.node).await?;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.node.clone(),
            uid: node.uid().unwrap_or_default(),
            ..OwnerReference::default()
        };
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    /// Forgets what was written where it is not there: it went with a Node that has come again, or
    /// somebody changed it.
    async fn check(&mut self) {
        let there = match self.stored.get(&self.node).await {
            Ok(object) => object.report().ok(),
            Err(kube::Error::Api(error)) if error.code == 404 => None,
            Err(_) => return,
        };
        if there != self.written {
            tracing::warn!("the SeccompNode {} is not as it was written", self.node);
            self.written = None;
            self.owner = None;
        }
    }
}
