//! CRI-O's effective configuration, as far as the gate needs it: runtime handlers, hook folders and
//! seccomp profiles.
//!
//! CRI-O reads `crio.conf`, then every file below `crio.conf.d` in lexical order (whatever its name
//! ends in), and merges them as its TOML library does (`crio.conf.d(5)`, `pkg/config`): a later
//! value replaces an earlier one, and a list is replaced as a whole; handlers are merged by name,
//! but **a later file that mentions a handler redefines it from scratch**; keys match regardless of
//! case; unknown keys are ignored. Options on CRI-O's command line are not in these files.

mod handler;
mod table;

use super::line_of;
use crate::root::{ReadError, read_named};
pub use handler::Handler;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};
use table::{Table, Wrong};
use toml::de::DeTable;

/// The first file that CRI-O reads.
pub const CONFIG: &str = "/etc/crio/crio.conf";

/// The folder of drop-ins that it reads after that.
pub const CONFIG_FOLDER: &str = "/etc/crio/crio.conf.d";

/// The largest configuration file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How deeply folders may be nested in [`CONFIG_FOLDER`].
const MAX_DEPTH: usize = 8;

/// The configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct CrioConfig {
    /// `default_runtime`: the handler for pods that name none.
    pub default_runtime: String,
    /// The handlers, by name.
    pub runtimes: BTreeMap<String, Handler>,
    /// `hooks_dir`: a hook file hides files of the same name in earlier folders.
    pub hooks_dir: Vec<PathBuf>,
    /// `seccomp_profile`; `None` for CRI-O's built-in profile.
    pub seccomp_profile: Option<PathBuf>,
    /// `privileged_seccomp_profile`: the profile for privileged containers, which otherwise get
    /// none.
    pub privileged_seccomp_profile: Option<PathBuf>,
    /// `conmon` (deprecated); overrides every handler's `monitor_path`.
    pub conmon: Option<PathBuf>,
}

impl Default for CrioConfig {
    /// The defaults of CRI-O 1.37.
    fn default() -> CrioConfig {
        CrioConfig {
            default_runtime: "crun".to_owned(),
            runtimes: BTreeMap::from([("crun".to_owned(), Handler::built_in())]),
            hooks_dir: vec![PathBuf::from("/usr/share/containers/oci/hooks.d")],
            seccomp_profile: None,
            privileged_seccomp_profile: None,
            conmon: None,
        }
    }
}

/// Why CRI-O's configuration can't be determined.
#[derive(Debug, thiserror::Error)]
pub enum CrioConfigError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// A folder can't be read.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's text is not a valid configuration.
    #[error("{}, line {line}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, in one line.
        reason: String,
    },
}

/// Handlers have different default profiles, and the container's handler is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "CRI-O's handlers {} have different default profiles, and the container's handler is not known",
    handlers.join(", ")
)]
pub struct Ambiguous {
    /// The handlers.
    pub handlers: Vec<String>,
}

impl CrioConfig {
    /// Reads `crio.conf` and the files below its drop-in folder. As in CRI-O, missing ones are
    /// skipped.
    ///
    /// # Errors
    /// A file can't be read, is not a regular file, is larger than 1 MiB, or is not valid.
    pub fn load(config: &Path, folder: &Path) -> Result<CrioConfig, CrioConfigError> {
        let mut result = CrioConfig::default();
        for file in files(config, folder)? {
            match result.merge_file(&file) {
                Err(CrioConfigError::Read {
                    path,
                    source: ReadError::Root { source, .. },
                }) if path == config && source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(result)
    }

    /// Reads a file and merges it.
    ///
    /// # Errors
    /// It can't be read, is not a regular file, is larger than 1 MiB, or is not valid.
    pub fn merge_file(&mut self, file: &Path) -> Result<(), CrioConfigError> {
        let text = read_named(file, MAX_BYTES).map_err(|source| CrioConfigError::Read {
            path: file.to_owned(),
            source,
        })?;
        let text = std::str::from_utf8(&text).map_err(|error| CrioConfigError::Invalid {
            path: file.to_owned(),
            line: line_of(&String::from_utf8_lossy(&text), error.valid_up_to()),
            reason: "is not UTF-8".to_owned(),
        })?;
        self.merge(file, text)
    }

    /// Merges a file's text; `path` is for messages only.
    ///
    /// # Errors
    /// It is not TOML, or a value that is needed here has the wrong type.
    pub fn merge(&mut self, path: &Path, text: &str) -> Result<(), CrioConfigError> {
        self.merge_text(text)
            .map_err(|(offset, reason)| CrioConfigError::Invalid {
                path: path.to_owned(),
                line: line_of(text, offset),
                reason: reason.replace(['\n', '\r'], " "),
            })
    }

    fn merge_text(&mut self, text: &str) -> Result<(), Wrong> {
        let whole = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            (offset, error.message().to_owned())
        })?;
        for crio in Table(whole.get_ref()).tables("crio")? {
            for runtime in crio.tables("runtime")? {
                self.merge_runtime(&runtime)?;
            }
        }
        Ok(())
    }

    fn merge_runtime(&mut self, runtime: &Table<'_, '_>) -> Result<(), Wrong> {
        if let Some(name) = runtime.string("default_runtime")? {
            // An empty value means CRI-O's default.
            let name = if name.is_empty() { "crun" } else { name };
            name.clone_into(&mut self.default_runtime);
        }
        if let Some(folders) = runtime.strings("hooks_dir")? {
            self.hooks_dir = folders.into_iter().map(PathBuf::from).collect();
        }
        runtime.path("seccomp_profile", &mut self.seccomp_profile)?;
        runtime.path(
            "privileged_seccomp_profile",
            &mut self.privileged_seccomp_profile,
        )?;
        runtime.path("conmon", &mut self.conmon)?;
        for handlers in runtime.tables("runtimes")? {
            for (name, value) in handlers.0 {
                let name = name.get_ref().to_string();
                self.runtimes.insert(name, Handler::read(value)?);
            }
        }
        Ok(())
    }

    /// The name of the handler for a pod that asks for `handler`; the default one if that is `None`
    /// or empty.
    fn handler_name<'a>(&'a self, handler: Option<&'a str>) -> &'a str {
        handler
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.default_runtime)
    }

    /// A handler, including what it inherits. `path` stays `None` if CRI-O looks in `PATH` for
    /// [`CrioConfig::name_in_path`].
    pub fn handler(&self, name: &str) -> Option<Handler> {
        let mut own = self.runtimes.get(name)?.clone();
        if own.inherits
            && let Some(default) = self.runtimes.get(&self.default_runtime)
        {
            own.path.clone_from(&default.path);
            own.kind.clone_from(&default.kind);
            own.root.clone_from(&default.root);
        }
        Some(own)
    }

    /// The program that CRI-O looks for in `PATH` if a handler has no path.
    pub fn name_in_path<'a>(&'a self, handler: &'a str) -> &'a str {
        let inherits = self.runtimes.get(handler).is_some_and(|own| own.inherits);
        if inherits {
            &self.default_runtime
        } else {
            handler
        }
    }

    /// The profile file that `RuntimeDefault` means under a handler, or under the default one for
    /// `None`. Returns `None` for CRI-O's built-in profile, which is not available as a file; CRI-O
    /// also uses it if the file for all handlers does not exist.
    pub fn default_profile(&self, handler: Option<&str>) -> Option<PathBuf> {
        self.runtimes
            .get(self.handler_name(handler))
            .and_then(|own| own.seccomp_profile.clone())
            .or_else(|| self.seccomp_profile.clone())
    }

    /// Like [`CrioConfig::default_profile`], for a container whose handler's name is not known.
    ///
    /// CRI-O writes a handler's name only into the sandbox's `config.json`, where an annotation of
    /// the pod can replace it, so it is not trusted. Instead, `runtime` is the path that CRI-O
    /// executed: any handler that leads to it may be the one, or any handler at all if it is not
    /// known or belongs to none.
    ///
    /// # Errors
    /// The possible handlers have different profiles.
    pub fn default_profile_under(
        &self,
        runtime: Option<&Path>,
    ) -> Result<Option<PathBuf>, Ambiguous> {
        let leads_there = |name: &&String| {
            let Some((runtime, own)) = runtime.zip(self.handler(name)) else {
                return false;
            };
            own.path.as_deref() == Some(runtime)
                || own.platform_paths.values().any(|path| path == runtime)
                || own.path.is_none() && runtime.ends_with(self.name_in_path(name))
        };
        let mut names: Vec<&String> = self.runtimes.keys().filter(leads_there).collect();
        if names.is_empty() {
            names = self.runtimes.keys().collect();
        }
        let profiles: BTreeSet<Option<PathBuf>> = names
            .iter()
            .map(|name| self.default_profile(Some(name)))
            .collect();
        if profiles.len() > 1 {
            return Err(Ambiguous {
                handlers: names.into_iter().cloned().collect(),
            });
        }
        Ok(profiles
            .into_iter()
            .next()
            .unwrap_or_else(|| self.seccomp_profile.clone()))
    }
}

/// The files that CRI-O reads, in its order. The first may not exist.
///
/// # Errors
/// A folder can't be read, or is nested too deeply.
pub fn files(config: &Path, folder: &Path) -> Result<Vec<PathBuf>, CrioConfigError> {
    let mut all = vec![config.to_owned()];
    // CRI-O does not follow links to folders here: it reads them as files, and fails.
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(CrioConfigError::Folder {
                path: folder.to_owned(),
                source,
            });
        }
        Ok(data) if data.is_dir() => walk(folder, MAX_DEPTH, &mut all)?,
        Ok(_) => all.push(folder.to_owned()),
    }
    Ok(all)
}

fn walk(folder: &Path, depth: usize, all: &mut Vec<PathBuf>) -> Result<(), CrioConfigError> {
    let failed = |source| CrioConfigError::Folder {
        path: folder.to_owned(),
        source,
    };
    if depth == 0 {
        return Err(failed(io::Error::other("folders are nested too deeply")));
    }
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), depth - 1, all)?;
        } else {
            all.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
