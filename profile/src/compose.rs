//! Making filters from other filters: stacking, union and intersection, the runtimes' base, logging
//! denials instead of enforcing them, what NRI makes of a filter, and the inert rule in our filters.

pub mod base;
pub mod combine;
pub mod inert;
pub mod nri;
pub mod relax;
pub mod stack;
