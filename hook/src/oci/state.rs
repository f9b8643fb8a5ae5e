//! The container's state, which a runtime writes to a hook's standard input.

use super::config::OciError;
use oci_spec::runtime::State;
use std::path::PathBuf;

/// What a hook is told about its container (runtime-spec, `runtime.md#state`).
#[derive(Debug)]
pub struct HookState {
    /// The container's ID.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The process ID of its init, if it has one.
    pub pid: Option<u32>,
}

impl HookState {
    /// Parses it.
    ///
    /// # Errors
    /// It is not JSON of that form.
    pub fn parse(text: &str) -> Result<HookState, OciError> {
        let state: State = serde_json::from_str(text).map_err(|source| OciError::Invalid {
            what: "the state on stdin",
            source,
        })?;
        Ok(HookState {
            id: state.id().clone(),
            bundle: state.bundle().clone(),
            pid: state.pid().and_then(|pid| u32::try_from(pid).ok()),
        })
    }
}
