//! `SeccompNode`: what one node has installed.
#![allow(clippy::duplicated_attributes)] // columns of the same type

use super::{gate::NodeGate, schema};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the node has installed, as reported by its agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompNode",
    plural = "seccompnodes",
    shortname = "scn",
    category = "portcullis",
    derive = "PartialEq",
    doc = "What one node has installed. Only that node's agent may write it. It is deleted together with its Node.",
    printcolumn(name = "Profiles", type_ = "integer", json_path = ".spec.count"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".spec.failed"),
    printcolumn(name = "Gate", type_ = "string", json_path = ".spec.gate.state"),
    printcolumn(name = "Problem", type_ = "string", json_path = ".spec.problem"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompNodeSpec {
    /// How many profiles have an up-to-date file on this node. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub count: u64,
    /// How many profiles have no up-to-date file on this node. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub failed: u64,
    /// The installed profiles by name, each with the digest of its filter: the first 16 hexadecimal
    /// digits of the SHA-256 of what the filter says, however it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub profiles: BTreeMap<String, String>,
    /// The profiles that have no up-to-date file on this node, by name, each with the reason: for
    /// example, that the profile is not valid, or that a foreign file has its name.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub failures: BTreeMap<String, String>,
    /// What is wrong with the node itself, and how to fix it: for example, that the folder of the
    /// files can't be used, or that the disk is full. It is absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many more profiles the node has than this object can name: it holds 1,000,000 bytes of
    /// names, digests and reasons. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub omitted: u64,
    /// Whether the node has the gate, without which annotations select nothing. It is absent until
    /// the agent has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<NodeGate>,
}
