//! The ID of the node's current boot.

use super::RecordError;
use std::fs;

/// The kernel's ID for this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This boot's ID.
///
/// # Errors
/// The kernel does not provide it.
pub fn boot_id() -> Result<String, RecordError> {
    fs::read_to_string(BOOT_ID)
        .map(|text| text.trim().to_owned())
        .map_err(|error| RecordError::io(BOOT_ID, error))
}
