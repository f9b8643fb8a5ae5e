//! CRI-O's configuration on a node: where its files are, and what its commands print of it.

use super::Node;
use portcullis_profile::settings::crio::{
    CONFIG, CONFIG_FOLDER, CrioConfig, CrioConfigError, Handler, files,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Command line options that change the configuration (`crio(8)`).
pub(crate) const OPTIONS: [&str; 6] = [
    "--hooks-dir",
    "--default-runtime",
    "--runtimes",
    "--seccomp-profile",
    "--privileged-seccomp-profile",
    "--conmon",
];

/// Whether an option is on a command line.
pub(crate) fn is_given(arguments: &[String], option: &str) -> bool {
    let is_it = |word: &str| {
        word.strip_prefix(option)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    arguments.iter().any(|word| is_it(word))
}

/// Where CRI-O's files are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `crio.conf`.
    pub(crate) config: PathBuf,
    /// The folder of drop-ins.
    pub(crate) folder: PathBuf,
}

impl Places {
    /// The files named on CRI-O's command line, or else the usual ones; `folder` instead of its folder
    /// of drop-ins, if given.
    pub(crate) fn of(arguments: &[String], folder: Option<&Path>) -> Places {
        let option = |long: &str, short: &str| {
            let mut words = arguments.iter().skip(1);
            let mut found = None;
            while let Some(word) = words.next() {
                if word == long || word == short {
                    found = words.next().cloned();
                } else if let Some(value) =
                    word.strip_prefix(long).and_then(|v| v.strip_prefix('='))
                {
                    found = Some(value.to_owned());
                }
            }
            found.map(PathBuf::from)
        };
        Places {
            config: option("--config", "-c").unwrap_or_else(|| CONFIG.into()),
            folder: folder
                .map(Path::to_owned)
                .or_else(|| option("--config-dir", "-d"))
                .unwrap_or_else(|| CONFIG_FOLDER.into()),
        }
    }

    /// The files on the host that CRI-O reads, in its order. The first may not exist.
    ///
    /// # Errors
    /// A folder can't be read.
    pub(crate) fn files(&self, node: &Node) -> Result<Vec<PathBuf>, CrioConfigError> {
        files(&node.at(&self.config), &node.at(&self.folder))
    }

    /// What the files say, over the defaults of CRI-O 1.37.
    ///
    /// # Errors
    /// A file can't be read or is not valid.
    pub(crate) fn read(&self, node: &Node) -> Result<CrioConfig, CrioConfigError> {
        CrioConfig::load(&node.at(&self.config), &node.at(&self.folder))
    }
}

/// What `crio config --default` prints: the defaults of this version.
///
/// # Errors
/// It fails, or prints something else than a configuration.
pub(crate) fn defaults(node: &Node, program: &Path) -> Result<CrioConfig, String> {
    let name = "crio config --default";
    let text = node
        .output(program, &["config", "--default"])
        .map_err(|error| format!("{name}: {error}"))?;
    let empty = CrioConfig {
        runtimes: BTreeMap::new(),
        ..CrioConfig::default()
    };
    printed(empty, name, &text)
}

/// What CRI-O makes of a file and a folder of drop-ins on the host, according to `crio config`. That
/// prints everything that differs from this version's defaults, without the handlers' own profiles,
/// which are taken from `on_disk`.
///
/// # Errors
/// A command fails, or prints something else than a configuration.
pub(crate) fn by_command(
    node: &Node,
    program: &Path,
    file: &Path,
    folder: &Path,
    on_disk: &CrioConfig,
) -> Result<CrioConfig, String> {
    let defaults = defaults(node, program)?;
    let file = if file.exists() {
        file
    } else {
        Path::new("/dev/null")
    };
    let (folder, file) = (folder.to_string_lossy(), file.to_string_lossy());
    let arguments = ["--config-dir", &folder, "--config", &file, "config"];
    let own = node
        .output(program, &arguments)
        .map_err(|error| format!("crio config: {error}"))?;
    let mut config = printed(defaults, "crio config", &own)?;
    for (name, handler) in &mut config.runtimes {
        if let Some(same) = on_disk.runtimes.get(name) {
            handler.seccomp_profile.clone_from(&same.seccomp_profile);
        }
    }
    Ok(config)
}

/// Merges what a command printed.
///
/// # Errors
/// It is not a configuration.
pub(crate) fn printed(
    mut config: CrioConfig,
    command: &str,
    text: &str,
) -> Result<CrioConfig, String> {
    config
        .merge(Path::new(command), text)
        .map_err(|error| error.to_string())?;
    Ok(config)
}

/// Checks that CRI-O finds a handler's monitor. Where it does not, it does not start.
///
/// # Errors
/// Why there is none.
pub(crate) fn monitor(node: &Node, config: &CrioConfig, handler: &Handler) -> Result<(), String> {
    match config.conmon.as_ref().or(handler.monitor.as_ref()) {
        Some(path) => match node.not_executable(path) {
            Some(wrong) => Err(format!("monitor_path {}: {wrong}", path.display())),
            None => Ok(()),
        },
        None if node.program("conmon").is_none() => {
            Err("has no monitor_path, and conmon is not in PATH".to_owned())
        }
        None => Ok(()),
    }
}
