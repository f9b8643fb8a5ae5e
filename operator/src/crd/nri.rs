//! What a node reports about its NRI plugin.

use super::schema;
use crate::words::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

words! {
    /// Whether the runtime calls the plugin.
    pub enum NriState {
        /// It does.
        Registered = "Registered",
        /// There is no connection: annotations select nothing by way of NRI.
        Disconnected = "Disconnected",
    }
}

/// How many gaps a report names.
pub const MAX_GAPS: usize = 32;

/// The agent's NRI plugin on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeNri {
    /// Whether the runtime calls the plugin: Registered or Disconnected.
    #[schemars(schema_with = "schema::nri_state")]
    pub state: String,
    /// The runtime and its version, for example `containerd v2.4.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The runtime's version of NRI, as it says or as its own version suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the runtime sets the seccomp policies of plugins. Where it does not, containers that
    /// select a profile and have no filter are refused. It is absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets_filters: Option<bool>,
    /// Whether the runtime tells which filter a container has already. Where it does not, most
    /// containers that select a profile are refused.
    #[serde(default)]
    pub tells_filters: bool,
    /// The hook that is put into containers which select a profile, as a path on the node. It is
    /// absent if the node has none: then nothing verifies what the runtime made of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_hook: Option<String>,
    /// What is in the way. It is absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many containers were running, when the plugin last connected, without the filter that
    /// they select and without a decision. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub gap_count: u64,
    /// The first of them, as `NAMESPACE/POD/CONTAINER`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic", "maxItems" = 32))]
    pub gaps: Vec<String>,
}

impl NodeNri {
    /// A plugin without a connection.
    pub fn disconnected(problem: String) -> NodeNri {
        NodeNri {
            state: NriState::Disconnected.as_str().to_owned(),
            problem: Some(problem),
            ..NodeNri::default()
        }
    }
}
