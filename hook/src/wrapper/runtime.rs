//! Finding the real runtime behind the wrapper.

use super::arguments::Arguments;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where runtimes are looked for when hook.toml names none; never `PATH`, which the caller sets.
pub const FOLDERS: [&str; 5] = [
    "/usr/libexec/crio",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
];

/// Why there is no real runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The one that is named can't be executed.
    #[error("runtime {}: {reason}", path.display())]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// None was found.
    #[error("no crun or runc found; name the runtime under [runtimes] in hook.toml")]
    NotFound,
}

/// By flag, else by the wrapper's own name in `[runtimes]`, else `default` there, else by the name
/// (without `portcullis-`) and then crun and runc in the usual folders.
///
/// # Errors
/// The named one can't be executed or is the wrapper itself, or none is found.
pub fn find(
    arguments: &Arguments,
    runtimes: &BTreeMap<String, PathBuf>,
) -> Result<PathBuf, RuntimeError> {
    let named = arguments
        .runtime
        .as_ref()
        .or_else(|| runtimes.get(&arguments.name))
        .or_else(|| runtimes.get("default"));
    if let Some(path) = named {
        return match not_executable(path).or_else(|| is_ourselves(path)) {
            None => Ok(path.clone()),
            Some(reason) => Err(RuntimeError::Unusable {
                path: path.clone(),
                reason,
            }),
        };
    }
    let own = arguments
        .name
        .strip_prefix("portcullis-")
        .unwrap_or(&arguments.name);
    [own, "crun", "runc"]
        .iter()
        .flat_map(|name| {
            FOLDERS
                .iter()
                .map(move |folder| Path::new(folder).join(name))
        })
        .find(|path| not_executable(path).is_none() && is_ourselves(path).is_none())
        .ok_or(RuntimeError::NotFound)
}

/// Why a file can't be executed, if it can't.
pub fn not_executable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(data) if !data.is_file() => Some("is not a file".to_owned()),
        Ok(data) if data.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
    }
}

/// A wrapper that executes itself would never end.
fn is_ourselves(path: &Path) -> Option<String> {
    let ours = fs::metadata("/proc/self/exe").ok()?;
    let theirs = fs::metadata(path).ok()?;
    (ours.dev() == theirs.dev() && ours.ino() == theirs.ino())
        .then(|| "is portcullis-runtime itself".to_owned())
}
