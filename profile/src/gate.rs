//! What is decided at a container's start, and the record of it.

pub mod decision;
pub mod decision_table;
