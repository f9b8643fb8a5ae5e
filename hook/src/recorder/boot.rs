//! Which boot of the node this is.

use super::RecordError;
use std::fs;

/// The kernel's name of this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This boot's name.
///
/// # Errors
/// The kernel does not tell it.
pub fn boot_id() -> Result<String, RecordError> {
    fs::read_to_string(BOOT_ID)
        .map(|text| text.trim().to_owned())
        .map_err(|error| RecordError::io(BOOT_ID, error))
}
