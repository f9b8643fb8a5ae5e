//! The library behind every part of Portcullis: seccomp profile documents and references to them,
//! selecting a profile for a container, comparing and checking filters, and the gate's evaluator.
//!
//! It contains no asynchronous code, no Kubernetes client and no BPF loader; the hook and the
//! operator build on it.

pub mod check;
pub mod compare;
pub mod compose;
pub mod document;
pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod gather;
pub mod private_folder;
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
