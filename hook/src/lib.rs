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
