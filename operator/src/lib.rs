//! The operator: writes `SeccompProfile` resources to every node as files, and keeps these right.
//!
//! `controller` and `agent` share [`admission`], [`crd`], [`effect`], [`kube`], [`manifest`] and [`resolve`] but never use each
//! other; only `main` wires them up.
#![deny(unsafe_code)]

pub mod admission;
pub mod agent;
pub mod controller;
pub mod crd;
pub mod effect;
pub mod file_name;
pub mod kube;
pub mod limits;
pub mod manifest;
pub mod removal;
pub mod resolve;
mod words;

/// Lets the test program compile filters when it runs itself as a child.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn compiles() {
    if portcullis_profile::program::compile::in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}
