//! Registries that speak HTTP as a test says.

#![allow(clippy::unwrap_used)]

mod hostile;
mod server;
mod signatures;
mod tokens;
