//! The custom resources: `SeccompProfile` and `SeccompNode`, and the schema that the API server
//! holds them to.
#![allow(unreachable_pub)] // the derived kinds

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use portcullis_profile::{Action, Arch, Flag, Operator};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The group of all kinds.
pub const GROUP: &str = "portcullis.dev";
/// Where the file of a profile is, as a pod's field names it.
pub fn localhost_profile(name: &str) -> String {
    format!("operator/{name}.json")
}

/// A seccomp profile: a file `operator/<name>.json` in the seccomp root of every node.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompProfile",
    plural = "seccompprofiles",
    shortname = "scp",
    category = "portcullis",
    status = "SeccompProfileStatus",
    derive = "PartialEq",
    validation = Rule::new("size(self.metadata.name) <= 250").message("a name has at most 250 characters: the file is <name>.json, and a file name holds 255 bytes"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "In use", type_ = "integer", json_path = ".status.pods"),
    printcolumn(name = "Valid", type_ = "string", json_path = ".status.conditions[?(@.type=='Valid')].status", priority = 1),
    printcolumn(name = "Localhost profile", type_ = "string", json_path = ".status.localhostProfile", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfileSpec {
    /// Another `SeccompProfile`, which adds its rules for the names that this one doesn't mention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('oci://')").message("bases from an image registry (oci://) are not supported yet: name a SeccompProfile"))]
    pub base_profile_name: Option<String>,
    /// What happens to a call that no rule names.
    #[serde(default = "default_action")]
    #[schemars(schema_with = "action")]
    pub default_action: String,
    /// The errno of `defaultAction`: a number or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "errno")]
    pub default_errno_ret: Option<IntOrString>,
    /// Architectures beside the node's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "architectures")]
    pub architectures: Vec<String>,
    /// Names of system calls that are allowed: the short form of an entry of `syscalls`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "names")]
    pub allow: Vec<String>,
    /// Rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub syscalls: Vec<Syscall>,
    /// The socket of the supervisor that decides `SCMP_ACT_NOTIFY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_path: Option<String>,
    /// Opaque data for that supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_metadata: Option<String>,
    /// Flags of `seccomp(2)`; without them the runtime chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "flags")]
    pub flags: Option<Vec<String>>,
    /// `Disabled` takes the file away from the nodes.
    #[serde(default)]
    pub state: State,
    /// Whether the calls that runtimes themselves make under the filter are allowed, where
    /// `defaultAction` denies.
    #[serde(default)]
    pub runtime_base: RuntimeBase,
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Syscall {
    /// Names of system calls.
    #[schemars(schema_with = "names")]
    pub names: Vec<String>,
    /// What happens to them.
    #[schemars(schema_with = "action")]
    pub action: String,
    /// The errno: a number or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "errno")]
    pub errno_ret: Option<IntOrString>,
    /// Conditions on the arguments; none: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub args: Vec<Arg>,
}

/// One condition on an argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// Which argument, from 0.
    #[schemars(schema_with = "index")]
    pub index: u8,
    /// The value; for `SCMP_CMP_MASKED_EQ` the mask.
    #[serde(default)]
    #[schemars(schema_with = "value")]
    pub value: u64,
    /// For `SCMP_CMP_MASKED_EQ` the value after masking.
    #[serde(default)]
    #[schemars(schema_with = "value")]
    pub value_two: u64,
    /// The comparison.
    #[schemars(schema_with = "operator")]
    pub op: String,
}

/// Whether a profile is kept on the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It is.
    #[default]
    Enabled,
    /// It is not.
    Disabled,
}

/// Whether the runtimes' base is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuntimeBase {
    /// It is, where `defaultAction` denies.
    #[default]
    Include,
    /// The profile names everything itself.
    Omit,
}

/// How a profile is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompProfileStatus {
    /// `Valid`, `Ready` and `InUse`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Nodes that have it, of all nodes: `2/3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// Unfinished pods that use it.
    #[schemars(schema_with = "value")]
    pub pods: u64,
    /// What a pod's `localhostProfile` has to be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub localhost_profile: String,
}

/// What one node has installed. Written by the agent of that node alone.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompNode",
    plural = "seccompnodes",
    shortname = "scn",
    category = "portcullis",
    derive = "PartialEq",
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
    /// How many files are as they should be.
    #[serde(default)]
    #[schemars(schema_with = "value")]
    pub count: u64,
    /// The digest of each installed file.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub profiles: BTreeMap<String, String>,
    /// Why a profile's file can't be installed.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub failures: BTreeMap<String, String>,
    /// What is wrong with the whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many more profiles are installed than this object can name.
    #[serde(default)]
    #[schemars(schema_with = "value")]
    pub omitted: u64,
}

fn default_action() -> String {
    Action::Errno.to_string()
}

fn one_of<T: std::fmt::Display>(all: &[T]) -> Schema {
    let values: Vec<String> = all.iter().map(ToString::to_string).collect();
    json_schema!({"type": "string", "enum": values})
}

fn action(_: &mut SchemaGenerator) -> Schema {
    one_of(Action::ALL)
}

fn operator(_: &mut SchemaGenerator) -> Schema {
    one_of(Operator::ALL)
}

fn architectures(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 32, "items": one_of(Arch::ALL)})
}

fn flags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 8, "items": one_of(Flag::ALL), "nullable": true})
}

fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 2048,
        "items": {"type": "string", "minLength": 1, "maxLength": 64}})
}

fn index(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 5})
}

fn value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0})
}

// A number that the type can't hold must not be stored: nothing could be listed any more.
fn errno(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "nullable": true,
        "minimum": 0, "maximum": 4095, "maxLength": 32})
}

/// The definitions, for the API server.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [SeccompProfile::crd(), SeccompNode::crd()]
}

/// The definitions as one YAML stream.
///
/// # Errors
/// Where they can't be written as YAML.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    let mut text =
        String::from("# Generated by `portcullis-operator crds` (make generate): don't edit.\n");
    for definition in definitions() {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&definition)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_definitions_are_those_of_the_code() {
        let committed = include_str!("../../packaging/crds/portcullis.yaml");
        assert!(super::yaml().unwrap() == committed, "run: make generate");
    }
}
