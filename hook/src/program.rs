//! Which of the two programs this process is, for the system's log.

use std::sync::OnceLock;

static NAME: OnceLock<&'static str> = OnceLock::new();

/// Says under which name this process logs; the first call counts.
pub fn set_name(name: &'static str) {
    // A second call changes nothing, and nobody makes one.
    let _ = NAME.set(name);
}

/// The name under which this process logs.
pub fn name() -> &'static str {
    NAME.get().copied().unwrap_or("portcullis-hook")
}
