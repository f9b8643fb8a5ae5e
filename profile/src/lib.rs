//! The library behind every part of Portcullis: seccomp profile documents, references to them,
//! which one a container selects, and how two filters compare.
//!
//! No asynchronous code, no Kubernetes client and no BPF loader is in here; the hook, the
//! operator and the command line all build on it.

pub mod algebra;
mod arch;
pub mod base;
pub mod combine;
pub mod compile;
pub mod decision;
pub mod difference;
pub mod document;
pub mod engine;
pub mod equality;
pub mod errno;
pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod identity;
pub mod kernel;
mod nearest;
mod normal;
pub mod reference;
pub mod relax;
pub mod root;
pub mod rows;
pub mod select;
pub mod settings;
pub mod stack;
pub mod syscalls;

pub use difference::Difference;
pub use document::{Context, Document, DocumentError, Warning, parse_filter};
pub use engine::Engine;
pub use equality::equal;
pub use filter::{Action, Arch, ArgCondition, Filter, Flag, Operator, Rule};
