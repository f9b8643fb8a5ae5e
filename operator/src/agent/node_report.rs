//! The node's report, its `SeccompNode`: its content, when it is due, and how it is written.

mod content;
mod debounce;
mod writer;

pub(super) use content::report;
pub use content::{MAX_REPORT, capacity};
pub(super) use debounce::Debounce;
pub(super) use writer::Writer;
