//! The gate at a container's start, shared by `portcullis-hook` and `portcullis-runtime`.
//!
//! [`gate`] decides, [`oci`] reads the state and reads and changes `config.json`, [`report`] says what was decided,
//! [`exit`] maps reasons to exit codes; each verb is a file of its own in [`commands`], the
//! runtime wrapper is [`wrapper`], and [`recorder`] writes profiles of what containers do.

pub mod clock;
pub mod commands;
pub mod exit;
pub mod gate;
pub mod oci;
pub mod program;
pub mod recorder;
pub mod report;
pub mod wrapper;

/// Lets the tests' program compile filters, before its `main` looks for tests.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn compiles() {
    if portcullis_profile::program::compile::in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}
