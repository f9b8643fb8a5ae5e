//! The containers that crun and runc know: each has a folder below their root (`runtime_root`).

use super::Node;
use crate::oci::config::MAX_BYTES;
use portcullis_profile::root::ReadError;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// Where crun and runc keep their containers by default.
const ROOTS: [&str; 2] = ["/run/crun", "/run/runc"];

/// How many containers are looked at.
const MAX_CONTAINERS: usize = 4096;

/// A container, of whatever engine.
#[derive(Debug)]
pub(crate) struct Known {
    /// The runtime's folder for it, which is named after it.
    pub(crate) folder: PathBuf,
    /// What the runtime keeps: crun's `status`, or runc's `state.json`.
    pub(crate) state: Value,
    /// Its bundle.
    pub(crate) bundle: PathBuf,
    /// Its `config.json`.
    pub(crate) config: Value,
}

impl Known {
    /// Its ID.
    pub(crate) fn id(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// An annotation of its configuration.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.config["annotations"][key].as_str()
    }
}

/// The containers below these roots and the usual ones, and what can't be looked at.
pub(crate) fn known(node: &Node, roots: &BTreeSet<PathBuf>) -> (Vec<Known>, Vec<String>) {
    let usual = ROOTS.iter().map(PathBuf::from);
    let roots: BTreeSet<PathBuf> = roots.iter().cloned().chain(usual).collect();
    let mut folders = roots.iter().flat_map(|root| node.list(root));
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    for folder in folders.by_ref().take(MAX_CONTAINERS) {
        match one(node, folder) {
            Ok(found) => all.extend(found),
            Err(wrong) => unreadable.push(wrong),
        }
    }
    if folders.next().is_some() {
        unreadable.push(format!("there are more than {MAX_CONTAINERS}"));
    }
    (all, unreadable)
}

/// The container of a runtime's folder; `None` if it is gone.
///
/// # Errors
/// What can't be read. A pod's author can make these files large.
fn one(node: &Node, folder: PathBuf) -> Result<Option<Known>, String> {
    let state = match json(node, &folder.join("status"))? {
        Some(state) => state,
        None => match json(node, &folder.join("state.json"))? {
            Some(state) => state,
            None => return Ok(None),
        },
    };
    let label = |key: &str| {
        let labels = state.pointer("/config/labels")?.as_array()?.iter();
        labels
            .filter_map(Value::as_str)
            .find_map(|label| label.strip_prefix(key)?.strip_prefix('='))
    };
    let bundle = state["bundle"].as_str().or_else(|| label("bundle"));
    let Some(bundle) = bundle.map(PathBuf::from) else {
        return Err(format!(
            "{}: its state does not say where its bundle is",
            folder.display()
        ));
    };
    let config = json(node, &bundle.join("config.json"))?;
    Ok(config.map(|config| Known {
        folder,
        state,
        bundle,
        config,
    }))
}

/// A file of JSON; `None` if there is none.
///
/// # Errors
/// It can't be read, or is something else.
pub(crate) fn json(node: &Node, path: &Path) -> Result<Option<Value>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    match node.read_at_most(path, MAX_BYTES) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| wrong(&error)),
        Err(ReadError::Root { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(ReadError::Root { source, .. }) => Err(wrong(&source)),
        Err(error) => Err(wrong(&error)),
    }
}
