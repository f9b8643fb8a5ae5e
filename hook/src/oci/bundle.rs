//! Finding the `config.json` of the container that a hook is called for.

use super::{
    config::{OciError, read_bundle},
    parent::ParentRuntime,
    state::HookState,
};
use std::path::Path;

/// Reads the `config.json` that the runtime read.
///
/// For a container with a user namespace and a device, crun (at least 1.8.1 to 1.27) gives `/` as
/// the bundle: it uses its working directory after joining a mount namespace. The bundle is then
/// taken from crun's command line.
///
/// # Errors
/// It can't be read, or its bundle can't be determined.
pub fn read(state: &HookState) -> Result<String, OciError> {
    if state.bundle != Path::new("/") {
        return read_bundle(&state.bundle);
    }
    let bundle = ParentRuntime::of(&state.id)
        .and_then(|runtime| runtime.bundle)
        .ok_or(OciError::RootAsBundle)?;
    read_bundle(&bundle)
}
