//! Seccomp profiles as OCI artifacts: references, the layout of artifacts, signatures, and transfer
//! to and from a registry.
//!
//! The layout is the one of the Security Profiles Operator, so that artifacts of either can be used
//! with the other. Whatever a registry sends is limited in size and time and checked against its
//! digest before anything reads it.

mod authorities;
mod bundle;
mod content;
mod credentials;
mod digest;
mod error;
mod key;
mod layout;
mod reference;
mod registry;
mod search;
mod signature;
mod signing;
mod transfer;
mod transport;

pub use authorities::{Authorities, AuthoritiesError};
pub use content::{Content, ContentError};
pub use credentials::{Credentials, CredentialsError};
pub use digest::Digest;
pub use error::ArtifactError;
pub use key::{KeyError, PrivateKey, PublicKey};
pub use layout::Platform;
pub use reference::{Base, Reference, ReferenceError, Repository, Scheme, is_profile_name};
pub use registry::Access;
pub use transfer::{Pulled, Remote};
