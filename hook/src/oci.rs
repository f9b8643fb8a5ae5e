//! What the OCI runtime specification hands a hook, the container's state and its `config.json`, and
//! the command line of the runtime that does so.

pub mod bundle;
pub mod command_line;
pub mod config;
mod members;
pub mod parent;
pub mod state;
