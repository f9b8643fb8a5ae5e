//! Compiled filters: compiling with libseccomp, what a program does, and checking it against its
//! filter.

pub mod bpf;
pub(crate) mod calls;
pub mod check;
pub mod compile;
pub mod examine;
pub(crate) mod expect;
pub mod interpret;
pub(crate) mod layout;
pub mod limits;
pub mod memo;
pub mod partition;
pub(crate) mod region;
pub mod walk;

pub use bpf::{Program, ProgramError};
pub use check::{CheckError, Warning, check};
pub use examine::{Examiner, Exceeds, Unusable};
pub use limits::Limits;
pub use memo::Memo;
