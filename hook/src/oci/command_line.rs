//! The command lines of crun and runc: which verb, which bundle, which container.
//!
//! Wrapper and runtime must use the same bundle. So a command line is parsed exactly as each
//! version of the runtime would parse it ([`getopt`] for crun, [`go`] for the three generations of
//! runc's library), and the results have to agree. A line that can't be understood is refused if it
//! might create a container; what is a usage error in every version is left to the runtime.

mod dialect;
mod getopt;
mod go;
mod options;

use dialect::Dialect;
use options::Place;
use portcullis_profile::filter::reader;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The real runtime behind the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// crun.
    Crun,
    /// runc.
    Runc,
    /// Neither, judging by its name: a command line must mean the same under both.
    Other,
}

impl Runtime {
    /// Recognises a runtime by its file name: `crun`, `runc`, or one of these with a suffix
    /// (`crun-wasm`, `runc-1.5`).
    pub fn named(path: &Path) -> Runtime {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is = |known: &str| {
            name.strip_prefix(known)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        match () {
            () if is("crun") => Runtime::Crun,
            () if is("runc") => Runtime::Runc,
            () => Runtime::Other,
        }
    }

    /// How this runtime reads filters.
    pub const fn reader(self) -> reader::Runtime {
        match self {
            Runtime::Crun => reader::Runtime::Crun,
            Runtime::Runc => reader::Runtime::Runc,
            Runtime::Other => reader::Runtime::Either,
        }
    }

    /// The name in messages.
    const fn as_str(self) -> &'static str {
        match self {
            Runtime::Crun => "crun",
            Runtime::Runc => "runc",
            Runtime::Other => "the runtime",
        }
    }
}

/// A verb that creates a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `create`.
    Create,
    /// `run`.
    Run,
    /// `restore`: from a checkpoint image.
    Restore,
}

impl Verb {
    const ALL: [Verb; 3] = [Verb::Create, Verb::Run, Verb::Restore];

    /// The verb as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Run => "run",
            Verb::Restore => "restore",
        }
    }

    fn find(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    const fn place(self) -> Place {
        match self {
            Verb::Create => Place::Create,
            Verb::Run => Place::Run,
            Verb::Restore => Place::Restore,
        }
    }
}

/// Verbs that create no container: those of crun and runc, and those of youki and runsc that their
/// shims call.
const OTHER_VERBS: [&str; 24] = [
    "checkpoint",
    "checkpointt",
    "completion",
    "debug",
    "delete",
    "events",
    "exec",
    "features",
    "h",
    "help",
    "info",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "resume",
    "spec",
    "start",
    "state",
    "update",
    "usage",
    "version",
    "wait",
];

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `--root`, as written.
    pub root: Option<PathBuf>,
    /// Whether there is a `--rootless`, whose value crun before 1.21 uses as the root.
    pub has_rootless: bool,
    /// `--log`, as written.
    pub log: Option<PathBuf>,
    /// Whether `--log-format` is `json`.
    pub log_is_json: bool,
    /// What it does.
    pub command: Command,
}

/// What a command line does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// It creates a container.
    Makes(Container),
    /// The runtime prints its help or an error, and creates no container.
    #[default]
    Speaks,
    /// Another verb.
    Other {
        /// The verb.
        verb: String,
        /// The arguments after it.
        words: Vec<String>,
    },
}

/// A container that a command line creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The verb.
    pub verb: Verb,
    /// The folder of its `config.json`, as written; the working directory if none is given.
    pub bundle: Option<PathBuf>,
    /// Its ID.
    pub id: String,
}

impl Container {
    /// The bundle, relative to the working directory of the runtime.
    pub fn bundle(&self) -> &Path {
        self.bundle.as_deref().unwrap_or(Path::new("."))
    }
}

/// Why it can't be determined which container a command line creates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// No known version of the runtime has this option.
    #[error(
        "Portcullis does not know {runtime}'s option {option}, so it can't tell which config.json \
         will be read; leave the option out, or update Portcullis"
    )]
    UnknownOption {
        /// The runtime.
        runtime: &'static str,
        /// The option.
        option: String,
    },
    /// More than one option begins with this abbreviation.
    #[error("more than one of {runtime}'s options begins with {option}; write it in full")]
    Ambiguous {
        /// The runtime.
        runtime: &'static str,
        /// The abbreviation.
        option: String,
    },
    /// The configuration would not be the bundle's `config.json`.
    #[error(
        "--config {file}: only the bundle's config.json is accepted, since the hooks read that one; \
         put the configuration there"
    )]
    OtherConfiguration {
        /// The file.
        file: String,
    },
    /// An unknown verb, which might create a container.
    #[error(
        "Portcullis does not know {runtime}'s command {verb:?}, which might create a container; \
         update Portcullis"
    )]
    UnknownVerb {
        /// The runtime.
        runtime: &'static str,
        /// The verb.
        verb: String,
    },
    /// Different versions or runtimes would create different containers.
    #[error(
        "versions of {runtime} read these options differently; write them as --option=VALUE before \
         the container's ID"
    )]
    Disagree {
        /// The runtime.
        runtime: &'static str,
    },
    /// An argument that is not UTF-8.
    #[error("{0:?} is not UTF-8")]
    NotText(OsString),
}

impl CommandLine {
    /// Reads a runtime's command line, without the program's name.
    ///
    /// # Errors
    /// It might create a container, and it is uncertain which.
    pub fn read(runtime: Runtime, words: &[OsString]) -> Result<CommandLine, CommandLineError> {
        let not_text = words.iter().find(|word| word.to_str().is_none());
        let words: Vec<String> = words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let mut so_far: Option<CommandLine> = None;
        for dialect in Dialect::of(runtime) {
            let read = dialect.read(runtime, &words)?;
            so_far = Some(match so_far {
                None => read,
                Some(before) => before.and(read).ok_or(CommandLineError::Disagree {
                    runtime: runtime.as_str(),
                })?,
            });
        }
        match (so_far.unwrap_or_default(), not_text) {
            (read, Some(word)) if matches!(read.command, Command::Makes(_)) => {
                Err(CommandLineError::NotText(word.clone()))
            }
            (read, _) => Ok(read),
        }
    }

    /// Where this runtime keeps its containers' state; `None` if that can't be determined. `user`
    /// is the user that it runs as, `runtime_dir` its `XDG_RUNTIME_DIR`.
    pub fn root(
        &self,
        runtime: Runtime,
        user: u32,
        runtime_dir: impl FnOnce() -> Option<OsString>,
    ) -> Option<PathBuf> {
        if runtime == Runtime::Crun && self.has_rootless {
            return None;
        }
        if let Some(root) = &self.root {
            return Some(root.clone()).filter(|root| root.is_absolute());
        }
        let name = match runtime {
            Runtime::Crun => "crun",
            Runtime::Runc => "runc",
            Runtime::Other => return None,
        };
        // runc uses the variable only for ordinary users, crun always.
        let own = (runtime == Runtime::Crun || user != 0)
            .then(runtime_dir)
            .flatten()
            .filter(|folder| !folder.is_empty());
        let folder = own.map_or_else(|| PathBuf::from("/run"), PathBuf::from);
        Some(folder.join(name)).filter(|root| root.is_absolute())
    }

    /// What is certain whichever of two results is the runtime's. If only one of them creates a
    /// container, that container counts.
    fn and(self, other: CommandLine) -> Option<CommandLine> {
        match (&self.command, &other.command) {
            (Command::Makes(one), Command::Makes(two)) if one != two => None,
            (Command::Makes(_), _) => Some(self),
            (_, Command::Makes(_)) | (Command::Speaks, _) => Some(other),
            (Command::Other { .. }, _) => Some(self),
        }
    }
}

#[cfg(test)]
mod tests;
