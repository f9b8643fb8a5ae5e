//! What a node reports about its gate.

use super::schema;
use crate::words::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

words! {
    /// Whether a node has a working gate.
    pub enum GateState {
        /// `portcullis-hook check` found no problem.
        Present = "Present",
        /// It found one: annotated pods may start unfiltered, or may not start.
        Faulty = "Faulty",
        /// It has not run lately, which counts as no gate.
        Unknown = "Unknown",
    }
}

/// How many characters of a container's ID tell it from every other one.
pub const SHORT_ID: usize = 16;

/// The beginning of a container's ID, as in [`NodeGate::decided`].
pub fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// Whether the gate is in place on a node, and for which containers it has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeGate {
    /// Whether the node has a working gate, according to `portcullis-hook check`, which a timer runs
    /// each minute: Present, Faulty or Unknown. Unknown counts as no gate.
    #[schemars(schema_with = "schema::gate_state")]
    pub state: String,
    /// What is wrong with the gate, and how to fix it. It is absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The containers of the last minutes for which the gate has decided, by the first 16 characters
    /// of their IDs.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic", "maxItems" = 1024))]
    pub decided: Vec<String>,
}
