//! The operator: `SeccompProfile` resources become files on every node, and stay right.
//!
//! `controller` and `agent` share the types in [`crd`], the resolution in [`resolve`] and the
//! endpoints in [`health`], and nothing else.
#![deny(unsafe_code)]

pub mod agent;
pub mod controller;
pub mod crd;
pub mod health;
pub mod resolve;
