//! The program that the kernel is given for a filter.

pub mod compile;
