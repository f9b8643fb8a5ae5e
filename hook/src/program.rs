//! Which of the two programs this process is, for the system log.

use std::sync::OnceLock;

static NAME: OnceLock<&'static str> = OnceLock::new();

/// Sets the name under which this process logs. Only the first call has an effect.
pub fn set_name(name: &'static str) {
    // A second call would have no effect; there is none.
    let _ = NAME.set(name);
}

/// The name under which this process logs.
pub fn name() -> &'static str {
    NAME.get().copied().unwrap_or("portcullis-hook")
}
