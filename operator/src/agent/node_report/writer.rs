//! Writes this node's `SeccompNode`. It is a task of its own, so that files are repaired even while
//! the API server does not answer.

use crate::{
    crd::{SeccompNode, SeccompNodeSpec},
    kube::{
        metrics::{AgentMetrics, ReportLabels, ReportResult},
        request::{Backoff, RequestError, request},
        stored::StoredNode,
    },
};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use std::time::{Duration, Instant};
use tokio::{sync::watch, time::sleep};

/// The field manager under which reports are applied.
const FIELD_MANAGER: &str = "portcullis-agent";
/// The first delay before a failed write is retried.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The longest such delay.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// How often to check that the written report is still there.
const CHECK: Duration = Duration::from_secs(60);

/// Writes reports.
pub(in crate::agent) struct Writer<'a> {
    reports: Api<SeccompNode>,
    stored: Api<StoredNode>,
    nodes: Api<Node>,
    node: String,
    owner: Option<OwnerReference>,
    written: Option<SeccompNodeSpec>,
    metrics: &'a AgentMetrics,
}

impl Writer<'_> {
    pub(in crate::agent) fn new<'a>(
        client: Client,
        node: &str,
        metrics: &'a AgentMetrics,
    ) -> Writer<'a> {
        Writer {
            reports: Api::all(client.clone()),
            stored: Api::all(client.clone()),
            nodes: Api::all(client),
            node: node.to_owned(),
            owner: None,
            written: None,
            metrics,
        }
    }

    /// Writes the latest report whenever there is a new one, until there can be no more.
    pub(in crate::agent) async fn run(
        mut self,
        mut reports: watch::Receiver<Option<SeccompNodeSpec>>,
    ) {
        let mut backoff = Backoff::new(RETRY_DELAY, RETRY_LIMIT);
        loop {
            let report = reports.borrow_and_update().clone();
            let result = match report {
                Some(report) => self.write(report).await,
                None => Ok(()),
            };
            let delay = match result {
                Ok(()) => {
                    backoff.reset();
                    CHECK
                }
                Err(error) => {
                    tracing::warn!("the SeccompNode {}: {error}", self.node);
                    self.count(ReportResult::Failed);
                    // The Node may have been replaced.
                    self.owner = None;
                    backoff.fail()
                }
            };
            tokio::select! {
                changed = reports.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(delay) => if self.written.is_some() {
                    self.check().await;
                }
            }
        }
    }

    fn count(&self, result: ReportResult) {
        let labels = ReportLabels { result };
        self.metrics.reports.get_or_create(&labels).inc();
    }

    async fn write(&mut self, report: SeccompNodeSpec) -> Result<(), RequestError> {
        if self.written.as_ref() == Some(&report) {
            return Ok(());
        }
        let begin = Instant::now();
        let mut object = SeccompNode::new(&self.node, report);
        object.metadata.owner_references = Some(vec![self.owner().await?]);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        request(self.reports.patch(&self.node, &parameters, &patch)).await?;
        self.metrics.report_write.observe_since(begin);
        self.count(ReportResult::Written);
        self.written = Some(object.spec);
        Ok(())
    }

    /// The Node as the report's owner, so that the report is deleted with it.
    async fn owner(&mut self) -> Result<OwnerReference, RequestError> {
        if let Some(owner) = &self.owner {
            return Ok(owner.clone());
        }
        let node = request(self.nodes.get(&self.node)).await?;
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

    /// Forgets the written report if it is no longer there, because it was deleted with a Node that
    /// has come back, or because somebody has changed it.
    async fn check(&mut self) {
        let there = match request(self.stored.get(&self.node)).await {
            Ok(object) => object.report().ok(),
            Err(error) if error.code() == Some(404) => None,
            Err(_) => return,
        };
        if there != self.written {
            tracing::warn!("the SeccompNode {} was changed by someone else", self.node);
            self.written = None;
            self.owner = None;
        }
    }
}

#[cfg(test)]
mod tests;
