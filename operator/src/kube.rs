//! What every part of the operator needs to live in a cluster: watched objects, requests, the
//! lease, events, health, metrics and the HTTP server. It decides nothing about profiles.

pub mod endpoints;
pub mod events;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod namespace;
pub mod rate_limit;
pub mod request;
pub mod server;
pub mod store;
pub mod stored;
pub mod stores;
