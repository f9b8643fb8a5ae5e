//! A hook's input according to the OCI runtime specification (the container's state and its
//! `config.json`), and the command line of the runtime that called it.

pub mod bundle;
pub mod command_line;
pub mod config;
mod members;
pub mod parent;
pub mod state;
