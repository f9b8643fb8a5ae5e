//! `portcullis-runtime` on a node: the links that lead to it, and the runtime behind each.

use super::Node;
use crate::wrapper::runtime::FOLDERS;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Where the wrapper and its links are installed.
pub(crate) const FOLDER: &str = "/usr/libexec/portcullis";

/// The wrapper's file name.
pub(crate) const WRAPPER: &str = "portcullis-runtime";

/// The prefix of the wrapper's links, and of the handlers that lead to it.
pub(crate) const LINK: &str = "portcullis-";

/// Whether a path is the wrapper or a link to it.
pub(crate) fn leads_to_wrapper(node: &Node, path: &Path) -> bool {
    let end = node.resolve(path).ok();
    end.is_some_and(|end| end.file_name().is_some_and(|name| name == WRAPPER))
}

/// The runtime that the wrapper executes when it is called under this path; `runtimes` is
/// `[runtimes]` in hook.toml.
///
/// # Errors
/// There is none that can be executed.
pub(crate) fn real_runtime(
    node: &Node,
    link: &Path,
    runtimes: &BTreeMap<String, PathBuf>,
) -> Result<PathBuf, String> {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let named = runtimes
        .get(name.as_ref())
        .or_else(|| runtimes.get("default"));
    if let Some(path) = named {
        return match node.not_executable(path) {
            None => Ok(path.clone()),
            Some(wrong) => Err(format!("its runtime {}: {wrong}", path.display())),
        };
    }
    let own = name.strip_prefix(LINK).unwrap_or(&name);
    FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(own))
        .find(|path| node.not_executable(path).is_none())
        .ok_or_else(|| format!("its runtime {own} is in none of {}", FOLDERS.join(", ")))
}
