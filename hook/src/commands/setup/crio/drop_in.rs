//! The text of our drop-in, and what an earlier one says.

use portcullis_profile::settings::crio::{CrioConfig, CrioConfigError, Handler};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Its name, which sorts after those of packages.
pub(crate) const NAME: &str = "99-portcullis.conf";

/// The first line, by which we know it.
const FIRST: &str = "# Written by \"portcullis-hook setup crio\". Do not edit it.";

/// What else it says of itself.
const ABOUT: &str = "\
# It copies what it adds to: after changing hooks_dir, a handler or default_runtime in another file,
# run that command again, then restart CRI-O. With --remove it takes this file away.
";

/// Before the digest of what it was made from.
const DIGEST: &str = "# Made from sha256:";

/// If containers still run under what it has.
const LEAVES: &str = "# Being removed: containers still run under these handlers.";

/// Our settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct DropIn {
    /// The default handler, if it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_runtime: Option<String>,
    /// All folders of hooks, if ours is not among them otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hooks_dir: Option<Vec<PathBuf>>,
    /// Our handlers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) runtimes: BTreeMap<String, toml::Table>,
}

impl DropIn {
    pub(super) fn is_empty(&self) -> bool {
        *self == DropIn::default()
    }

    /// The file's text; `digest` is of the configuration that it was made from.
    pub(super) fn text(&self, digest: &str, leaves: bool) -> String {
        let whole = BTreeMap::from([("crio", BTreeMap::from([("runtime", self)]))]);
        // Strings, lists and tables that were TOML before can be written as TOML.
        let body = toml::to_string_pretty(&whole).unwrap_or_default();
        let leaves = if leaves {
            format!("{LEAVES}\n")
        } else {
            String::new()
        };
        format!("{FIRST}\n{ABOUT}{DIGEST}{digest}\n{leaves}\n{body}")
    }
}

/// A drop-in that was written earlier.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Of what it was made from.
    pub(super) digest: String,
    /// Whether it is being removed.
    pub(super) leaves: bool,
    /// Whether it makes ours the default.
    pub(super) is_default: bool,
    /// Its handlers.
    pub(super) handlers: BTreeMap<String, Handler>,
}

impl Written {
    /// Reads it; `path` is for messages.
    ///
    /// # Errors
    /// It is not ours, or it is not a configuration.
    pub(super) fn read(path: &Path, text: &str) -> Result<Written, String> {
        if !text.starts_with(FIRST) {
            return Err(format!(
                "{} was not written by setup: rename it, so that its place is free",
                path.display()
            ));
        }
        let config = alone(path, text)
            .map_err(|error| format!("{error}; remove it, then run setup again"))?;
        let digest = text.lines().find_map(|line| line.strip_prefix(DIGEST));
        Ok(Written {
            digest: digest.unwrap_or_default().to_owned(),
            leaves: text.lines().any(|line| line == LEAVES),
            is_default: !config.default_runtime.is_empty(),
            handlers: config.runtimes,
        })
    }
}

/// What a drop-in says by itself, over nothing.
///
/// # Errors
/// It is not a configuration.
pub(super) fn alone(path: &Path, text: &str) -> Result<CrioConfig, CrioConfigError> {
    let mut config = CrioConfig {
        default_runtime: String::new(),
        runtimes: BTreeMap::new(),
        ..CrioConfig::default()
    };
    config.merge(path, text)?;
    Ok(config)
}
