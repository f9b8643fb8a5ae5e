//! `SeccompProfile`: its specification, its status, and the conditions in it.

use super::{condition::reasons, schema};
use crate::words::words;
use k8s_openapi::apimachinery::pkg::{
    apis::meta::v1::{Condition, LabelSelector},
    util::intstr::IntOrString,
};
use kube::{CustomResource, KubeSchema};
use portcullis_profile::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the profile allows and denies. The shortest useful specification is a list of allowed
/// names, for example `allow: [read, write]`; every other call then fails with EPERM.
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
    doc = "Restricts the system calls that containers may make. A pod selects the profile with `localhostProfile: operator/<name>.json` or, if the gate is installed on the nodes, with the annotation `seccomp.security.alpha.kubernetes.io/pod: localhost/operator/<name>.json`. Every node that runs the agent has it as the file `operator/<name>.json` in its seccomp root. If the name ends in `.json`, it is the name of the file.",
    validation = Rule::new("size(self.metadata.name) <= 250").message("a name has at most 250 characters: the file is <name>.json, and a file name holds 255 bytes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "In use", type_ = "integer", json_path = ".status.pods"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Localhost profile", type_ = "string", json_path = ".status.localhostProfile", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfileSpec {
    /// The name of another `SeccompProfile` to build on, or an artifact in a registry, pinned by its
    /// digest: `oci://REGISTRY/REPOSITORY[:TAG]@sha256:…`. Its rules are added for the system calls
    /// that this profile does not mention; where both mention a call, this profile's rules apply.
    /// By default, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub base_profile_name: Option<String>,
    /// What happens to a system call that no rule matches. The default, `SCMP_ACT_ERRNO`, makes the
    /// call fail with `defaultErrnoRet`.
    #[serde(default = "default_action")]
    #[schemars(schema_with = "schema::action")]
    pub default_action: String,
    /// The errno that `defaultAction` returns, as a number or a name, for example `38` or `ENOSYS`.
    /// The default is EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::errno")]
    pub default_errno_ret: Option<IntOrString>,
    /// The architectures that the rules apply to, in addition to the node's own; for example
    /// `[SCMP_ARCH_X86]` for 32-bit programs on x86-64. Calls of architectures that are not listed
    /// are denied. By default, none are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::architectures")]
    pub architectures: Vec<String>,
    /// The names of system calls to allow, for example `[read, write]`. This is short for an entry
    /// in `syscalls` with these names and the action `SCMP_ACT_ALLOW`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub allow: Vec<String>,
    /// Rules that `allow` can't express: other actions, and conditions on arguments. For example
    /// `[{names: [mkdir], action: SCMP_ACT_ERRNO, errnoRet: ENODATA}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub syscalls: Vec<Syscall>,
    /// The path of the Unix socket at which a supervisor decides on calls with the action
    /// `SCMP_ACT_NOTIFY`, for example `/run/notify.sock`. By default, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_path: Option<String>,
    /// Opaque data that the runtime passes to the supervisor at `listenerPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_metadata: Option<String>,
    /// The flags of seccomp(2) that the filter is loaded with, for example
    /// `[SECCOMP_FILTER_FLAG_LOG]`. If absent, the runtime chooses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::flags")]
    pub flags: Option<Vec<String>>,
    /// Whether the nodes have the profile's file. The default is `Enabled`; `Disabled` removes the
    /// file from every node, once no pod uses it, but keeps the object.
    #[serde(default)]
    pub state: State,
    /// Whether to also allow the system calls that container runtimes themselves make under the
    /// filter: `Include`, the default, or `Omit`. This matters only if `defaultAction` denies.
    #[serde(default)]
    pub runtime_base: RuntimeBase,
    /// The labels of the namespaces whose `SeccompBinding` objects may name the profile; `{}` selects
    /// all. A namespace's own annotation may name it if the selector looks at nothing but
    /// `kubernetes.io/metadata.name`. By default, it is offered to none; what a pod selects itself is
    /// free in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_to: Option<LabelSelector>,
}

/// A rule: what happens to some system calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Syscall {
    /// The names of the system calls that the rule applies to, for example `[mkdir, mkdirat]`.
    #[schemars(schema_with = "schema::names")]
    pub names: Vec<String>,
    /// What happens to these calls, for example `SCMP_ACT_ALLOW` or `SCMP_ACT_ERRNO`.
    #[schemars(schema_with = "schema::action")]
    pub action: String,
    /// The errno that the action returns, as a number or a name, for example `61` or `ENODATA`.
    /// The default is EPERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::errno")]
    pub errno_ret: Option<IntOrString>,
    /// Conditions on the arguments of the call, all of which must hold for the rule to match. By
    /// default the rule matches whatever the arguments are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub args: Vec<Arg>,
}

/// A condition on one argument of a system call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// The position of the argument, from 0 to 5.
    #[schemars(schema_with = "schema::index")]
    pub index: u8,
    /// The value that the argument is compared with; for `SCMP_CMP_MASKED_EQ`, the mask. The
    /// default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub value: u64,
    /// For `SCMP_CMP_MASKED_EQ`, the value that the masked argument is compared with; other
    /// comparisons ignore it. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub value_two: u64,
    /// How the argument is compared with `value`, for example `SCMP_CMP_EQ` or `SCMP_CMP_GE`.
    #[schemars(schema_with = "schema::operator")]
    pub op: String,
}

/// Whether the nodes have the profile's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// They have it.
    #[default]
    Enabled,
    /// They don't.
    Disabled,
}

/// Whether the calls that runtimes make are also allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuntimeBase {
    /// They are, if `defaultAction` denies.
    #[default]
    Include,
    /// They are not; the profile has to name them itself.
    Omit,
}

/// Where the profile is installed and who uses it, as the controller sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompProfileStatus {
    /// The generation of the profile that this status is about.
    pub observed_generation: Option<i64>,
    /// The generation that is disabled and no longer used by any pod, so that the nodes remove its
    /// file. It is absent if there is none.
    pub released_generation: Option<i64>,
    /// The conditions `Valid` (the specification gives a valid file), `Ready` (every node has that
    /// file) and `InUse` (an unfinished pod uses the profile); also `Reconciling` while the operator
    /// waits for nodes or pods, and `Stalled` while somebody has to mend something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many nodes have the file of the profile's current generation, and how many nodes the agent
    /// can run on, for example `2/3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// How many unfinished pods select the profile or one that is based on it, by field or by
    /// annotation.
    #[schemars(schema_with = "schema::count")]
    pub pods: u64,
    /// What to write as `localhostProfile` in a pod that selects the profile, for example
    /// `operator/web.json`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub localhost_profile: String,
}

words! {
    /// The types of a profile's conditions.
    pub enum ProfileCondition {
        /// Whether the specification gives a valid file.
        Valid = "Valid",
        /// Whether every node has the file.
        Ready = "Ready",
        /// Whether an unfinished pod uses the profile.
        InUse = "InUse",
        /// Present while the operator waits for nodes or pods.
        Reconciling = "Reconciling",
        /// Present while nothing goes on until somebody mends something.
        Stalled = "Stalled",
    }
}

words! {
    /// Why a profile is, or is not, `Valid`.
    pub enum ValidReason {
        /// It is valid.
        Valid = "Valid",
        /// The message says which field is wrong.
        Invalid = "Invalid",
        /// An older profile has this one's file; the message names it.
        FileNameTaken = "FileNameTaken",
        /// A base in a registry has not been pulled; the message says why. The controller tries again.
        BaseNotPulled = "BaseNotPulled",
        /// The operator's configuration does not allow what it lets through or uses; the message names
        /// the calls or actions, and the setting.
        NotAllowed = "NotAllowed",
    }
}

reasons! { ValidReason of ProfileCondition::Valid, {
    True: Valid,
    False: Invalid | FileNameTaken | BaseNotPulled | NotAllowed,
} }

words! {
    /// Why a profile is, or is not, `Ready`.
    pub enum ReadyReason {
        /// Every node has the file.
        Ready = "Ready",
        /// Nodes have not reported the file yet; the message names them.
        NodesMissing = "NodesMissing",
        /// A node can't install the file; the message names it.
        NodeFailed = "NodeFailed",
        /// A node's report is full and does not name the profile.
        NodeReportFull = "NodeReportFull",
        /// `spec.state` is `Disabled`.
        Disabled = "Disabled",
        /// The profile is not valid. The message says which earlier generation the nodes have.
        Invalid = "Invalid",
        /// The profile is being deleted; the message says what that waits for.
        Deleting = "Deleting",
    }
}

reasons! { ReadyReason of ProfileCondition::Ready, {
    True: Ready,
    False: NodesMissing | NodeFailed | Disabled | Invalid | Deleting,
    Unknown: NodeReportFull,
} }

words! {
    /// Why a profile is, or is not, `InUse`.
    pub enum InUseReason {
        /// The message names a pod that uses it.
        InUse = "InUse",
        /// No unfinished pod does.
        NotInUse = "NotInUse",
    }
}

reasons! { InUseReason of ProfileCondition::InUse, { True: InUse, False: NotInUse, } }

words! {
    /// What the operator waits for.
    pub enum ReconcilingReason {
        /// Nodes have not reported the file yet.
        NodesMissing = "NodesMissing",
        /// A base in a registry has not been pulled.
        BaseNotPulled = "BaseNotPulled",
        /// The profile is disabled, and pods still use its file.
        InUse = "InUse",
        /// The profile is disabled, and nodes still have its file.
        Removing = "Removing",
    }
}

reasons! { ReconcilingReason of ProfileCondition::Reconciling, {
    True: NodesMissing | BaseNotPulled | InUse | Removing,
} }

words! {
    /// What somebody has to mend.
    pub enum StalledReason {
        /// The specification.
        Invalid = "Invalid",
        /// The name, which leads to the file of another profile.
        FileNameTaken = "FileNameTaken",
        /// The specification, or the operator's configuration, which does not allow it.
        NotAllowed = "NotAllowed",
        /// A node that can't install the file.
        NodeFailed = "NodeFailed",
        /// The number of profiles, which is too large for a node's report.
        NodeReportFull = "NodeReportFull",
    }
}

reasons! { StalledReason of ProfileCondition::Stalled, {
    True: Invalid | FileNameTaken | NotAllowed | NodeFailed | NodeReportFull,
} }

fn default_action() -> String {
    Action::Errno.to_string()
}
