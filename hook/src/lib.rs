//! The gate at a container's start, shared by `portcullis-hook` and `portcullis-runtime`.
//!
//! [`start`] is where both programs begin, [`gate`] decides, [`oci`] reads the state and changes
//! `config.json`, [`report`] logs decisions, and [`exit`] maps reasons to exit codes. Each verb is a
//! file in [`commands`]; [`wrapper`] is the runtime wrapper; [`recorder`] records profiles;
//! [`node`] is the node that `check` and `setup` look at.

pub mod clock;
pub mod commands;
pub mod exit;
pub mod gate;
mod node;
pub mod oci;
pub mod program;
pub mod recorder;
pub mod report;
pub mod start;
pub mod wrapper;

/// Lets the test program compile filters when it runs itself as a child.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn compiles() {
    if portcullis_profile::program::compile::in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}
