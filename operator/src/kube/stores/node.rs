//! What is kept of a `Node`: what decides whether the agent's `DaemonSet` reaches it.

use k8s_openapi::api::core::v1::Taint;
use kube::{
    ResourceExt,
    core::object::{NotUsed, Object},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A node as the API server has it, without its status.
pub type StoredNodeObject = Object<NodeSpec, NotUsed>;

/// The needed part of a node's specification.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeSpec {
    #[serde(default)]
    taints: Option<Vec<Taint>>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
}

impl Node {
    /// What is kept of a stored node.
    pub fn new(stored: StoredNodeObject) -> Node {
        Node {
            name: stored.name_any(),
            uid: stored.metadata.uid.clone().unwrap_or_default(),
            labels: stored.metadata.labels.unwrap_or_default(),
            taints: stored.spec.taints.unwrap_or_default(),
        }
    }
}
