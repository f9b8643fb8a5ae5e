//! The protocol's messages, by hand for `prost`. Names, numbers and types are those of `nri.pkg.api.v1alpha1`; a test
//! compares them with what the Go module says of itself. Fields are described there.
#![allow(missing_docs, clippy::struct_excessive_bools, clippy::doc_markdown)]

mod adjustment;
mod container;
mod optional;
mod owners;
mod resources;
mod seccomp;
mod service;

pub use adjustment::*;
pub use container::*;
pub use optional::*;
pub use owners::*;
pub use resources::*;
pub use seccomp::*;
pub use service::*;
