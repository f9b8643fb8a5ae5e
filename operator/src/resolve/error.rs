//! Why a profile has no file.

use super::{MAX_BYTES, MAX_DEPTH, MAX_NAME};
use crate::{file_name::file_name, kube::stored::Unreadable};
use portcullis_artifact::ReferenceError;
use portcullis_profile::{DocumentError, document::Problem};

/// Why a profile has no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name can't be the name of a file.
    #[error(
        "metadata.name: {0:?} is not a valid name: use at most {MAX_NAME} lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part between dots"
    )]
    Name(String),
    /// An older profile has the file.
    #[error(
        "metadata.name: the file {} belongs to the older SeccompProfile {by:?}; choose another name",
        file_name(by)
    )]
    FileNameTaken {
        /// The other profile.
        by: String,
    },
    /// The stored specification can't be parsed.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The same of a base.
    #[error("base {base}: {error}")]
    UnreadableBase {
        /// The base.
        base: String,
        /// Why.
        error: Unreadable,
    },
    /// The document that it would become is not valid.
    #[error("{field}: {problem}")]
    Document {
        /// The field as its author wrote it, in `spec` or in the base that is named.
        field: String,
        /// What is wrong.
        problem: Problem,
    },
    /// The rules of a base are valid under the base's own default action and listener, but not
    /// under the profile's.
    #[error(
        "spec.baseProfileName: the rules of {base} can't be used under this profile's defaultAction \
         and listenerPath: {error}"
    )]
    Stacked {
        /// The profile's base; the rule may be one of a base of its own.
        base: String,
        /// What is wrong, with its place in the file.
        error: DocumentError,
    },
    /// The file would be larger than the gate reads.
    #[error(
        "spec: the file would have {0} bytes, and the gate reads at most {MAX_BYTES}: shorten it, \
         or what it is based on"
    )]
    TooLarge(usize),
    /// A name that is not the name of an errno.
    #[error("{field}: unknown errno {value:?}")]
    Errno {
        /// The field.
        field: String,
        /// What was written.
        value: String,
    },
    /// A base that does not exist.
    #[error("spec.baseProfileName: there is no SeccompProfile {0:?}")]
    MissingBase(String),
    /// A base in a registry whose reference is not valid, or not pinned.
    #[error("spec.baseProfileName: {0}")]
    BaseReference(#[from] ReferenceError),
    /// A base in a registry that has no profile yet.
    #[error("spec.baseProfileName: {base} has not been pulled")]
    MissingArtifact {
        /// The base as the profile names it.
        base: String,
        /// The name of its profile.
        profile: String,
    },
    /// The bases form a cycle.
    #[error("spec.baseProfileName: the bases are a cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// More bases than [`MAX_DEPTH`].
    #[error("spec.baseProfileName: there are more than {MAX_DEPTH} levels of bases")]
    TooDeep,
    /// The document can't be serialized.
    #[error("spec: {0}")]
    Json(String),
}
