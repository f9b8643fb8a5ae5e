//! The stores that the controllers share, one for each watched kind. What is kept of an object, and
//! how it is parsed, has a file for each kind.

pub mod binding;
pub mod gated;
pub mod namespace;
pub mod node;
pub mod node_report;
pub mod placement;
pub mod pod_usage;
pub mod profile;
mod texts;

use super::{
    metrics::{ControllerMetrics, Watched},
    store::{Store, key},
    stored::{StoredBinding, StoredNode, StoredProfile},
};
use binding::Binding;
use gated::GatedPod;
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Namespace as NamespaceObject, Node as NodeObject},
};
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, PartialObjectMeta},
    runtime::watcher::Config,
};
use namespace::Namespace;
use node::{Node, StoredNodeObject};
use node_report::NodeReport;
use placement::Placement;
use pod_usage::PodUsage;
use profile::Profile;
use std::sync::Arc;
use texts::Texts;

/// How many objects are listed at a time.
const PAGE: u32 = 50;
/// How many reports are listed at a time: each may be as large as a megabyte.
const REPORTS_PAGE: u32 = 5;

/// The agent's `DaemonSet`, in the namespace of the controller.
const AGENTS: &str = "portcullis-agent";

/// What is kept of a pod: the names of the files that it uses, and its containers that need the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedFiles {
    /// The names of the files.
    pub names: Box<[Arc<str>]>,
    /// Its running containers that need the gate, if there are any.
    pub gated: Option<Arc<GatedPod>>,
    /// The rules that changed it at admission, if a binding is one of them.
    pub changed_by: Option<Arc<str>>,
}

impl UsedFiles {
    /// The names of the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<str>> {
        self.names.iter()
    }

    /// Whether it uses none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl FromIterator<Arc<str>> for UsedFiles {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> UsedFiles {
        UsedFiles {
            names: names.into_iter().collect(),
            gated: None,
            changed_by: None,
        }
    }
}

impl<'a> IntoIterator for &'a UsedFiles {
    type Item = &'a Arc<str>;
    type IntoIter = std::slice::Iter<'a, Arc<str>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Every store.
#[derive(Debug, Default)]
pub struct Stores {
    /// `SeccompProfile` objects, by name.
    pub profiles: Store<Arc<Profile>>,
    /// What nodes have installed, by the node's name.
    pub node_reports: Store<Arc<NodeReport>>,
    /// The nodes, by name.
    pub nodes: Store<Arc<Node>>,
    /// Where the agent's `DaemonSet` runs, by its name.
    pub agents: Store<Arc<Placement>>,
    /// The pods that use a profile's file or need the gate, by `namespace/name`.
    pub pods: Store<UsedFiles>,
    /// `SeccompBinding` objects, by `namespace/name`.
    pub bindings: Store<Arc<Binding>>,
    /// The namespaces, by name.
    pub namespaces: Store<Arc<Namespace>>,
    /// Why artifacts can't be pulled, by the name of their profile. It is filled by the controller.
    pub artifacts: Store<Arc<str>>,
}

impl Stores {
    /// Where the agent can run.
    pub fn placement(&self) -> Arc<Placement> {
        let agents = self.agents.snapshot();
        agents.values().next().cloned().unwrap_or_default()
    }

    /// Watches what the rules of admission are made of, until the future is dropped: also a controller
    /// that does not lead answers the API server's questions. The watches are independent: one that
    /// fails does not delay the others.
    pub async fn watch_rules(&self, client: &Client, metrics: &ControllerMetrics) {
        let paged = |page| Config::default().page_size(page);
        tokio::join!(
            self.profiles.watch(
                Api::<StoredProfile>::all(client.clone()),
                paged(PAGE),
                Watched::Profiles,
                metrics,
                |stored| Some((stored.name_any(), Arc::new(Profile::new(stored)))),
            ),
            self.bindings.watch(
                Api::<StoredBinding>::all(client.clone()),
                paged(PAGE),
                Watched::Bindings,
                metrics,
                |stored| Some((key(&stored), Arc::new(Binding::new(&stored)))),
            ),
            self.namespaces.watch(
                Api::<PartialObjectMeta<NamespaceObject>>::all(client.clone()),
                paged(PAGE),
                Watched::Namespaces,
                metrics,
                |namespace| {
                    let kept = Namespace::new(&namespace);
                    Some((namespace.name_any(), Arc::new(kept)))
                },
            ),
        );
    }

    /// Whether everything that a rule depends on is known: a part of the rules is never applied.
    pub fn have_rules(&self) -> bool {
        self.profiles.is_complete() && self.bindings.is_complete() && self.namespaces.is_complete()
    }

    /// Watches every other kind until the future is dropped; they are as independent. `namespace` is
    /// the agents'.
    pub async fn watch(&self, client: &Client, namespace: &str, metrics: &ControllerMetrics) {
        let paged = |page| Config::default().page_size(page);
        let mut report_texts = Texts::default();
        let mut file_names = Texts::default();
        tokio::join!(
            self.node_reports.watch(
                Api::<StoredNode>::all(client.clone()),
                paged(REPORTS_PAGE),
                Watched::NodeReports,
                metrics,
                |stored| {
                    let report = NodeReport::new(&stored, &mut report_texts);
                    report_texts.tidy();
                    Some((stored.name_any(), Arc::new(report)))
                },
            ),
            self.nodes.watch(
                Api::<StoredNodeObject>::all_with(
                    client.clone(),
                    &ApiResource::erase::<NodeObject>(&()),
                ),
                paged(PAGE),
                Watched::Nodes,
                metrics,
                |node| Some((node.name_any(), Arc::new(Node::new(node)))),
            ),
            self.agents.watch(
                Api::<DaemonSet>::namespaced(client.clone(), namespace),
                Config::default().fields(&format!("metadata.name={AGENTS}")),
                Watched::Agents,
                metrics,
                |agents| Some((key(&agents), Arc::new(Placement::of(agents)))),
            ),
            self.pods.watch(
                Api::<PodUsage>::all(client.clone()),
                paged(PAGE),
                Watched::Pods,
                metrics,
                |pod| {
                    let gated = pod.gated().cloned().map(Arc::new);
                    let changed_by = pod.changed_by().map(Arc::from);
                    let key = pod.key();
                    let used = pod.used().map(|(_, used)| used).unwrap_or_default();
                    let mut kept: UsedFiles =
                        used.iter().map(|name| file_names.share(name)).collect();
                    kept.gated = gated;
                    kept.changed_by = changed_by;
                    file_names.tidy();
                    (!kept.is_empty() || kept.gated.is_some() || kept.changed_by.is_some())
                        .then_some((key, kept))
                },
            ),
        );
    }
}
