//! The decision on whether, and with which filter, a container starts. Pure: nothing in here opens
//! a file, starts a process, waits or reads a clock.
//!
//! [`evaluate`] takes an [`Input`] (whose container, what is known of its filter, what was asked
//! to be recorded) and what was [`Gathered`] for it so far. It returns the [`Evaluation`], or the
//! next [`Need`]: something to read, compile or compare. [`crate::gather::decide`] fetches needs
//! until there is an evaluation; every way of applying and verifying goes through it.

pub mod decision;
pub mod decision_table;
pub mod evaluation;
pub mod input;
pub mod reason;

mod evaluate;
mod own_default;

pub use evaluate::evaluate;
pub use evaluation::{Evaluation, Standing, Verdict};
pub use input::{Gathered, Input, Need, PresentFilter, Recording, Resolved, Stage};
pub use reason::{Code, Reason};
