//! The agent of one node: profiles become files, and stay right.

pub mod folder;
pub mod installer;
pub mod ledger;
