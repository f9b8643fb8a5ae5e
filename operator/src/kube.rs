//! What all parts of the operator share for running in a cluster: watched objects, requests, the
//! lease, events, health, metrics and the HTTP server. No decisions about profiles are made here.

pub mod config_maps;
pub mod endpoints;
pub mod events;
pub mod follow;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod namespace;
pub mod rate_limit;
pub mod request;
pub mod schedule;
pub mod server;
pub mod store;
pub mod stored;
pub mod stores;
