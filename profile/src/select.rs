//! Which profile a container selects, by whose word.

pub mod annotations;
pub mod engine;
pub mod identity;
pub mod reference;
pub mod selection;

pub use engine::Engine;
pub use selection::{Selection, SelectionError, select};
