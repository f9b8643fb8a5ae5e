//! The library behind every part of Portcullis: seccomp profile documents, references to them,
//! which one a container selects, how two filters compare, and what is decided at the gate.
//!
//! No asynchronous code, no Kubernetes client and no BPF loader is in here; the hook, the
//! operator and the command line all build on it.

pub mod compare;
pub mod compose;
pub mod document;
pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod gather;
pub mod program;
pub mod root;
pub mod select;
pub mod settings;
pub mod stamp;

pub use compare::{Difference, equal};
pub use document::{
    Context, Document, DocumentError, Warning, parse_filter, parse_filter_with_warnings,
    parse_unconditional,
};
pub use filter::{Action, Arch, ArgCondition, Filter, Flag, Operator, Rule};
pub use select::Engine;
