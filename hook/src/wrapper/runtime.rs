//! Finding the real runtime behind the wrapper, and never running a different one.

use super::arguments::Arguments;
use portcullis_profile::settings::SettingsError;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where to look for runtimes that hook.toml does not name. `PATH` is not used, because the caller
/// controls it.
pub const FOLDERS: [&str; 5] = [
    "/usr/libexec/crio",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
];

/// The program's own name, which stands for no particular runtime.
const OWN_NAME: &str = "portcullis-runtime";

/// Why there is no real runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The named runtime can't be executed.
    #[error("runtime {}: {reason}", path.display())]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No program with one of these names was found.
    #[error(
        "no {names} in {}; name the runtime under [runtimes] in hook.toml",
        FOLDERS.join(", ")
    )]
    NotFound {
        /// The names.
        names: String,
    },
    /// The table of runtimes can't be read.
    #[error("the real runtime is unknown, because [runtimes] can't be read: {0}")]
    Unreadable(SettingsError),
}

/// Finds the real runtime: by flag; by the name that the wrapper was called under, in `[runtimes]`;
/// by `default` in `[runtimes]`; or by that name without `portcullis-`. If called by its own name,
/// the wrapper uses crun, or runc if there is no crun.
///
/// # Errors
/// The named one can't be executed or is the wrapper itself, none is found, or it can't be
/// determined which one is meant.
pub fn find(
    arguments: &Arguments,
    runtimes: Result<BTreeMap<String, PathBuf>, SettingsError>,
) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = &arguments.runtime {
        return usable(path.clone());
    }
    let mut runtimes = runtimes.map_err(RuntimeError::Unreadable)?;
    let named = runtimes
        .remove(&arguments.name)
        .or_else(|| runtimes.remove("default"));
    match named {
        Some(path) => usable(path),
        None => by_name(&arguments.name, &FOLDERS.map(Path::new)),
    }
}

/// Looks in these folders, by the name that the wrapper was called under.
fn by_name(name: &str, folders: &[&Path]) -> Result<PathBuf, RuntimeError> {
    let names = match name {
        OWN_NAME => &["crun", "runc"][..],
        other => &[other.strip_prefix("portcullis-").unwrap_or(other)],
    };
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| not_executable(path).is_none() && is_ourselves(path).is_none())
        .ok_or_else(|| RuntimeError::NotFound {
            names: names.join(" or "),
        })
}

/// The path, if it can be executed and is not the wrapper.
///
/// # Errors
/// [`RuntimeError::Unusable`].
pub fn usable(path: PathBuf) -> Result<PathBuf, RuntimeError> {
    match not_executable(&path).or_else(|| is_ourselves(&path)) {
        None => Ok(path),
        Some(reason) => Err(RuntimeError::Unusable { path, reason }),
    }
}

/// Why a file can't be executed; `None` if it can.
pub fn not_executable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(data) if !data.is_file() => Some("is not a file".to_owned()),
        Ok(data) if data.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
    }
}

/// A wrapper that executes itself would never finish.
fn is_ourselves(path: &Path) -> Option<String> {
    let ours = fs::metadata("/proc/self/exe").ok()?;
    let theirs = fs::metadata(path).ok()?;
    (ours.dev() == theirs.dev() && ours.ino() == theirs.ino())
        .then(|| "is portcullis-runtime itself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn program(path: &Path) {
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn called(name: &str) -> Arguments {
        Arguments::parse(vec![OsString::from(name)]).unwrap()
    }

    #[test]
    fn a_link_stands_for_the_runtime_of_its_name_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path()];
        program(&folder.path().join("runc"));
        let finds = |name: &str| {
            let found = by_name(name, &folders).ok()?;
            Some(found.file_name()?.to_str()?.to_owned())
        };
        assert_eq!(finds("portcullis-runc").as_deref(), Some("runc"));
        assert_eq!(finds("runc").as_deref(), Some("runc"));
        assert_eq!(finds("portcullis-runtime").as_deref(), Some("runc"));
        assert_eq!(finds("portcullis-youki"), None);
        assert_eq!(finds("portcullis-crun"), None);
        program(&folder.path().join("crun"));
        assert_eq!(finds("portcullis-runtime").as_deref(), Some("crun"));
        assert_eq!(finds("portcullis-youki"), None);
    }

    #[test]
    fn what_the_owner_wrote_decides_and_what_he_wrote_wrong_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        program(&at("a"));
        program(&at("b"));
        let map = || {
            BTreeMap::from([
                ("portcullis-a".to_owned(), at("a")),
                ("portcullis-x".to_owned(), at("missing")),
                ("default".to_owned(), at("b")),
            ])
        };
        assert_eq!(find(&called("portcullis-a"), Ok(map())).unwrap(), at("a"));
        assert_eq!(find(&called("portcullis-c"), Ok(map())).unwrap(), at("b"));
        assert!(matches!(
            find(&called("portcullis-x"), Ok(map())),
            Err(RuntimeError::Unusable { .. })
        ));
        let broken = || {
            Err(SettingsError::TooLarge {
                path: "hook.toml".into(),
            })
        };
        assert!(matches!(
            find(&called("portcullis-a"), broken()),
            Err(RuntimeError::Unreadable(_))
        ));
        let mut given = called("portcullis-a");
        given.runtime = Some(at("b"));
        assert_eq!(find(&given, broken()).unwrap(), at("b"));
    }

    #[test]
    fn the_wrapper_never_stands_before_itself() {
        let own = std::env::current_exe().unwrap();
        assert!(matches!(usable(own), Err(RuntimeError::Unusable { .. })));
    }
}
