//! The operator: `SeccompProfile` resources become files on every node, and stay right.
//!
//! `controller` and `agent` share the types in [`crd`] and how they are [`stored`], the resolution
//! in [`resolve`], the endpoints in [`health`] and the [`events`] with their [`limit`], and nothing
//! else.
#![deny(unsafe_code)]

pub mod agent;
pub mod controller;
pub mod crd;
pub mod events;
pub mod health;
pub mod limit;
pub mod resolve;
pub mod stored;
