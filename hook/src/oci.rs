//! What the OCI runtime specification hands a hook: the container's state and its `config.json`.

pub mod config;
pub mod state;
