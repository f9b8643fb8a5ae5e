//! `SeccompBinding`: which pods of its namespace get a profile when they are created.
#![allow(clippy::duplicated_attributes)] // columns of the same type

use super::{condition::reasons, schema};
use crate::words::words;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which containers get which profile. The shortest useful specification is `profile: web`: every
/// container of the namespace that does not select a profile itself then gets `web`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompBinding",
    plural = "seccompbindings",
    shortname = "scb",
    category = "portcullis",
    namespaced,
    status = "SeccompBindingStatus",
    derive = "PartialEq",
    doc = "Gives a seccomp profile to containers of its namespace when their pods are created. It sets the containers' `securityContext.seccompProfile`; pods that exist stay as they are. A pod that was changed says so in its annotation `portcullis.dev/changed-by`.",
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Live",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Live')].status"
    ),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Live')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompBindingSpec {
    /// The name of a `SeccompProfile` that is offered to this namespace (`spec.offeredTo` of the
    /// profile), or `runtime/default`.
    #[schemars(schema_with = "schema::profile_or_default")]
    pub profile: String,
    /// The labels of the pods that the binding applies to. By default, it applies to all pods of the
    /// namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// The names of the containers that the binding applies to, including init and ephemeral
    /// containers. By default, it applies to all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::container_names")]
    pub containers: Vec<String>,
    /// Patterns for the images of these containers, as the pod writes them, for example
    /// `registry.example/web/*`; `*` stands for any text. By default, the image does not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::image_patterns")]
    pub images: Vec<String>,
    /// `default` gives the profile to containers that select none. `enforce` also replaces
    /// `unconfined`, and refuses pods that select another profile or are privileged. The default is
    /// `default`.
    #[serde(default)]
    pub mode: Mode,
}

/// How strictly a rule applies.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Fills in what the pod leaves open.
    #[default]
    Default,
    /// Also replaces what is weaker, and refuses what contradicts.
    Enforce,
}

impl Mode {
    /// The mode as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Default => "default",
            Mode::Enforce => "enforce",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "default" => Ok(Mode::Default),
            "enforce" => Ok(Mode::Enforce),
            _ => Err(format!("{text:?} is neither default nor enforce")),
        }
    }
}

/// Whether the binding applies, as the controller sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompBindingStatus {
    /// The generation of the binding that this status is about.
    pub observed_generation: Option<i64>,
    /// The conditions `Valid` (the profile exists and is offered to the namespace) and `Live` (the
    /// API server applies the binding to new pods).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Other bindings of the same mode that may apply to the same containers with another profile,
    /// and come first because their names sort first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<String>,
    /// How many unfinished pods the binding has changed when they were created.
    #[schemars(schema_with = "schema::count")]
    pub pods: u64,
}

words! {
    /// The types of a binding's conditions.
    pub enum BindingCondition {
        /// Whether the binding can be applied.
        Valid = "Valid",
        /// Whether the API server applies it.
        Live = "Live",
    }
}

words! {
    /// Why a binding is, or is not, `Valid`.
    pub enum BindingValidReason {
        /// It is valid.
        Valid = "Valid",
        /// The message says what is wrong with the specification.
        Invalid = "Invalid",
        /// There is no profile of this name.
        ProfileNotFound = "ProfileNotFound",
        /// `spec.offeredTo` of the profile does not select the namespace.
        NotOffered = "NotOffered",
    }
}

reasons! { BindingValidReason of BindingCondition::Valid, {
    True: Valid,
    False: Invalid | ProfileNotFound | NotOffered,
} }

words! {
    /// Why a binding is, or is not, `Live`.
    pub enum LiveReason {
        /// The API server applies it to new pods.
        Live = "Live",
        /// Its profile can't be enforced, so the API server refuses the pods that it selects.
        Refusing = "Refusing",
        /// It is not valid.
        NotValid = "NotValid",
        /// The namespace is exempt.
        Exempt = "Exempt",
        /// It names more containers, images or labels than a policy can hold for one binding.
        TooLarge = "TooLarge",
        /// The namespace, or the cluster, has more bindings than policies can hold.
        TooMany = "TooMany",
        /// The API server has no carrier: the policies are not installed, or can't be written.
        NoCarrier = "NoCarrier",
        /// The API server has accepted the policies, but does not apply them.
        NotApplied = "NotApplied",
    }
}

reasons! { LiveReason of BindingCondition::Live, {
    True: Live,
    False: Refusing | NotValid | Exempt | TooLarge | TooMany | NoCarrier | NotApplied,
} }
