//! `SeccompNode`: what one node has installed.

use super::schema;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the node has installed, as its agent reports it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompNode",
    plural = "seccompnodes",
    shortname = "scn",
    category = "portcullis",
    derive = "PartialEq",
    doc = "What one node has installed. The agent of that node writes it, and no other agent may; it is deleted with its Node.",
    printcolumn(name = "Profiles", type_ = "integer", json_path = ".spec.count"),
    printcolumn(name = "Problem", type_ = "string", json_path = ".spec.problem"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompNodeSpec {
    /// How many profiles have their file on this node, with the text that it should have. The
    /// default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub count: u64,
    /// The installed profiles by name, each with the digest of its filter: the first 16 hexadecimal
    /// digits of the SHA-256 of what the filter says, however it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub profiles: BTreeMap<String, String>,
    /// The profiles that have no file on this node, by name, each with the reason, for example a
    /// file of that name that is not the operator's.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub failures: BTreeMap<String, String>,
    /// What keeps the node as a whole from taking profiles, and how to mend it. It is absent if
    /// nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many more profiles the node has than this object can name: it holds 1,000,000 bytes of
    /// names, digests and reasons. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub omitted: u64,
}
