//! Writes this node's `SeccompNode`. It is a task of its own, so that files are repaired even while
//! the API server does not answer.

use crate::{
    crd::{SeccompNode, SeccompNodeSpec},
    kube::{
        metrics::{AgentMetrics, ReportLabels, ReportResult},
        request::{Backoff, RequestError, request},
    },
};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    api::{GetParams, ObjectMeta, Patch, PatchParams},
};
use std::time::{Duration, Instant as Clock};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// The field manager under which reports are applied.
const FIELD_MANAGER: &str = "portcullis-agent";
/// The first delay before a failed write is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest such delay: a Node that registers again has its report soon.
const RETRY_LIMIT: Duration = Duration::from_secs(4);
/// How often to check that the written report is still there and still belongs to the Node. Only
/// metadata is read, from the API server's cache.
const CHECK: Duration = Duration::from_secs(5);

/// A report as it was written.
struct Written {
    spec: SeccompNodeSpec,
    /// The UID of the Node that owns it.
    owner: String,
    uid: Option<String>,
    generation: Option<i64>,
}

impl Written {
    /// Whether the object with this metadata is the one that was written.
    fn is(&self, there: &ObjectMeta) -> bool {
        let mut owners = there.owner_references.iter().flatten();
        there.uid == self.uid
            && there.generation == self.generation
            && owners.any(|owner| owner.uid == self.owner)
    }
}

/// Writes reports.
pub(in crate::agent) struct Writer<'a> {
    reports: Api<SeccompNode>,
    nodes: Api<Node>,
    node: String,
    written: Option<Written>,
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
            nodes: Api::all(client),
            node: node.to_owned(),
            written: None,
            metrics,
        }
    }

    /// Writes the latest report whenever there is a new one, until there can be no more. What was
    /// written is checked on a clock of its own, however often there are new reports.
    pub(in crate::agent) async fn run(
        mut self,
        mut reports: watch::Receiver<Option<SeccompNodeSpec>>,
    ) {
        let mut backoff = Backoff::new(RETRY_DELAY, RETRY_LIMIT);
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut logged = None;
        loop {
            let report = reports.borrow_and_update().clone();
            let result = match report {
                Some(report) => self.write(report).await,
                None => Ok(()),
            };
            let retry = match result {
                Ok(()) => {
                    backoff.reset();
                    logged = None;
                    None
                }
                Err(error) => {
                    let error = error.to_string();
                    if logged.as_ref() != Some(&error) {
                        tracing::warn!("the SeccompNode {}: {error}", self.node);
                        logged = Some(error);
                    }
                    self.count(ReportResult::Failed);
                    Some(Instant::now() + backoff.fail())
                }
            };
            tokio::select! {
                changed = reports.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
                _ = check.tick() => self.check().await,
            }
        }
    }

    fn count(&self, result: ReportResult) {
        let labels = ReportLabels { result };
        self.metrics.reports.get_or_create(&labels).inc();
    }

    async fn write(&mut self, report: SeccompNodeSpec) -> Result<(), RequestError> {
        if self.written.as_ref().map(|written| &written.spec) == Some(&report) {
            return Ok(());
        }
        let begin = Clock::now();
        let owner = self.owner().await?;
        let uid = owner.uid.clone();
        let mut object = SeccompNode::new(&self.node, report);
        object.metadata.owner_references = Some(vec![owner]);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let stored = request(self.reports.patch(&self.node, &parameters, &patch)).await?;
        self.metrics.report_write.observe_since(begin);
        self.count(ReportResult::Written);
        self.written = Some(Written {
            spec: object.spec,
            owner: uid,
            uid: stored.metadata.uid,
            generation: stored.metadata.generation,
        });
        Ok(())
    }

    /// The Node as the report's owner, so that the report is deleted with it. It is read anew for
    /// each write: a Node that was deleted and has registered again has another UID, and a report
    /// that the old one owns would be deleted.
    async fn owner(&self) -> Result<OwnerReference, RequestError> {
        let node = request(self.nodes.get_metadata(&self.node)).await?;
        Ok(OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.node.clone(),
            uid: node.uid().unwrap_or_default(),
            ..OwnerReference::default()
        })
    }

    /// Forgets the written report, so that it is written anew, if it is no longer there as it was
    /// written, or if its Node is another one now.
    async fn check(&mut self) {
        let Some(written) = &self.written else {
            return;
        };
        let cached = GetParams::any();
        // Without a Node there is nobody whose report it would be.
        let Ok(node) = request(self.nodes.get_metadata_with(&self.node, &cached)).await else {
            return;
        };
        let why = match request(self.reports.get_metadata_with(&self.node, &cached)).await {
            _ if node.uid().as_ref() != Some(&written.owner) => "its Node has registered again",
            Ok(there) if written.is(&there.metadata) => return,
            Ok(_) => "it was changed by someone else",
            Err(error) if error.code() == Some(404) => "it was deleted",
            Err(_) => return,
        };
        tracing::warn!("the SeccompNode {}: {why}; written anew", self.node);
        self.written = None;
    }
}

#[cfg(test)]
mod tests;
