//! Filters made of other filters: stacking, union and intersection, the runtimes' base, and
//! denials that are logged instead.

pub mod base;
pub mod combine;
pub mod relax;
pub mod stack;
