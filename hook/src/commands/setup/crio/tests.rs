//! Golden files, and what is refused.
