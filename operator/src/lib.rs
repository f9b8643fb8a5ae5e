//! The operator: `SeccompProfile` resources become files on every node, and stay right.
//!
//! `controller` and `agent` share types and what is in [`crd`], [`effect`], [`kube`] and [`resolve`], but never
//! use each other; only the program wires them.
#![deny(unsafe_code)]

pub mod agent;
pub mod controller;
pub mod crd;
pub mod effect;
pub mod file_name;
pub mod kube;
pub mod resolve;
mod words;

/// Lets the tests' program compile filters, before its `main` looks for tests.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn compiles() {
    if portcullis_profile::program::compile::in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}
