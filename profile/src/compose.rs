//! Filters made of other filters: stacking, union and intersection, the runtimes' base, denials that
//! are logged instead, and the rule without effect that filters of ours carry.

pub mod base;
pub mod combine;
pub mod inert;
pub mod relax;
pub mod stack;
