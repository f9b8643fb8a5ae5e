//! `SeccompNode`: what one node has installed.
#![allow(clippy::duplicated_attributes)] // columns of the same type

use super::{gate::NodeGate, nri::NodeNri, schema};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The generation of a file whose generation is not known.
pub const UNKNOWN_GENERATION: i64 = 0;

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
    printcolumn(name = "Failed", type_ = "integer", json_path = ".spec.failedCount"),
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
    pub failed_count: u64,
    /// The profiles that have a file on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub installed: Vec<InstalledProfile>,
    /// The profiles that have no up-to-date file on this node, each with the reason: for example,
    /// that the profile is not valid, or that a foreign file has its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failed: Vec<FailedProfile>,
    /// What is wrong with the node itself, and how to fix it: for example, that the folder of the
    /// files can't be used, or that the disk is full. It is absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether every profile that existed when the node's agent started has its file, or is listed as
    /// failed. The default is false.
    #[serde(default)]
    pub synced: bool,
    /// How many more profiles the node has than this object can name: its lists hold 1,000,000
    /// bytes. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub omitted: u64,
    /// Whether the node has the gate, without which annotations select nothing. It is absent until
    /// the agent has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<NodeGate>,
    /// The agent's NRI plugin. It is absent where the agent runs without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nri: Option<NodeNri>,
}

/// A profile that has a file on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstalledProfile {
    /// The name of the `SeccompProfile` that the file belongs to.
    pub name: String,
    /// The digest of the file's filter: the first 16 hexadecimal digits of the SHA-256 of what the
    /// filter says, however it is written.
    #[serde(default)]
    pub digest: String,
    /// The generation of the profile that the file was made from. It is absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// A profile that has no up-to-date file on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedProfile {
    /// The name of the `SeccompProfile` that the reason is about.
    pub name: String,
    /// Why the profile's current generation has no file here.
    #[serde(default)]
    pub reason: String,
    /// The earlier generation whose file stays on the node, or 0 if that is unknown. It is absent if
    /// there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}
