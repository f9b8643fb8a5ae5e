//! Admission: which pods get which profile when they are created.
//!
//! [`rules`] is the rule set, which knows nothing of how it is applied. [`policies`] writes it as
//! admission policies, which the API server evaluates itself. For API servers that can't, [`evaluate`]
//! evaluates it here, [`configurations`] has the API server ask, [`review`] is how it asks, and
//! [`certificates`] is what it trusts.

mod cel;
pub mod certificates;
pub mod configurations;
pub mod evaluate;
pub mod policies;
pub mod review;
pub mod rules;
