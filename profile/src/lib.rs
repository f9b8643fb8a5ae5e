//! The library behind every part of Portcullis: seccomp profile documents, references to them,
//! which one a container selects, and how two filters compare.
//!
//! No asynchronous code, no Kubernetes client and no BPF loader is in here; the hook, the
//! operator and the command line all build on it.

pub mod decision;
pub mod engine;
pub mod filter;
pub mod identity;
pub mod reference;
pub mod root;
pub mod rows;
pub mod select;
pub mod settings;

pub use engine::Engine;
pub use filter::{Action, Arch, ArgCondition, Filter, Flag, Operator, Rule};
