//! The stores that the controllers share, one for each kind of object that is watched.
//!
//! What is kept of an object, and how it is read, has a file of its own.

pub mod node_report;
pub mod pod_usage;
pub mod profile;
mod texts;

use super::{
    metrics::{ControllerMetrics, Watched},
    store::Store,
    stored::{StoredNode, StoredProfile},
};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt, core::PartialObjectMeta};
use node_report::NodeReport;
use pod_usage::PodUsage;
use profile::Profile;
use std::sync::Arc;
use texts::Texts;

/// How many objects a page of a list has.
const PAGE: u32 = 50;
/// How many reports: each may have a megabyte.
const REPORTS_PAGE: u32 = 5;

/// The names of the files that a pod uses.
pub type UsedFiles = Box<[Arc<str>]>;

/// Every store.
#[derive(Debug, Default)]
pub struct Stores {
    /// `SeccompProfile` objects, by name.
    pub profiles: Store<Arc<Profile>>,
    /// What nodes have installed, by the node's name.
    pub node_reports: Store<Arc<NodeReport>>,
    /// The names of the nodes.
    pub nodes: Store<()>,
    /// The pods that use a profile's file, by `namespace/name`.
    pub pods: Store<UsedFiles>,
}

impl Stores {
    /// Watches every kind for as long as it is polled. The watches are independent: one that fails
    /// delays no other.
    pub async fn watch(&self, client: &Client, metrics: &ControllerMetrics) {
        let mut report_texts = Texts::default();
        let mut file_names = Texts::default();
        tokio::join!(
            self.profiles.watch(
                Api::<StoredProfile>::all(client.clone()),
                PAGE,
                Watched::Profiles,
                metrics,
                |stored| Some((stored.name_any(), Arc::new(Profile::new(stored)))),
            ),
            self.node_reports.watch(
                Api::<StoredNode>::all(client.clone()),
                REPORTS_PAGE,
                Watched::NodeReports,
                metrics,
                |stored| {
                    let report = NodeReport::new(&stored, &mut report_texts);
                    report_texts.tidy();
                    Some((stored.name_any(), Arc::new(report)))
                },
            ),
            self.nodes.watch(
                Api::<PartialObjectMeta<Node>>::all(client.clone()),
                PAGE,
                Watched::Nodes,
                metrics,
                |node| Some((node.name_any(), ())),
            ),
            self.pods.watch(
                Api::<PodUsage>::all(client.clone()),
                PAGE,
                Watched::Pods,
                metrics,
                |pod| {
                    let (key, used) = pod.used()?;
                    let used = used.iter().map(|name| file_names.share(name)).collect();
                    file_names.tidy();
                    Some((key, used))
                },
            ),
        );
    }
}
