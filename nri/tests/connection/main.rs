//! A plugin's connection, seen from a runtime that may do anything.

mod answers;
mod endings;
mod obedient;
mod runtime;

use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
