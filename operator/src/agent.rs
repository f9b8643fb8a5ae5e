//! The agent of one node: profiles become files, and stay right.

pub mod drift;
pub mod folder;
pub mod gate;
pub mod installer;
pub mod ledger;
pub mod manifests;
pub mod report;
mod reporter;
pub mod run;
mod saved;
mod source;
