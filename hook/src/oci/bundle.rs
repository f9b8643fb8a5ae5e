//! The configuration of the container that a hook is called for.

use super::{
    config::{OciError, read_bundle},
    parent::ParentRuntime,
    state::HookState,
};
use std::path::Path;

/// Reads the `config.json` that the runtime read.
///
/// crun says that the bundle is `/` where a container has a user namespace and a device (1.8.1 to
/// 1.27 at least): it takes its working directory after it joined a mount namespace. Its command
/// line still has the bundle, so that one counts.
///
/// # Errors
/// It can't be read, or it can't be determined where it is.
pub fn read(state: &HookState) -> Result<String, OciError> {
    if state.bundle != Path::new("/") {
        return read_bundle(&state.bundle);
    }
    let bundle = ParentRuntime::of(&state.id)
        .and_then(|runtime| runtime.bundle)
        .ok_or(OciError::RootAsBundle)?;
    read_bundle(&bundle)
}
