//! The settings of the node parts, `/etc/portcullis/hook.toml`: one typed structure for the hook,
//! the runtime wrapper, the recorder and the agent.
//!
//! Every key has a default; a missing file means the default settings. An unknown key or an invalid
//! value is an error that names it and its line. The shipped file (`crio.d/hook.toml`) documents
//! every key.

use crate::{
    Engine,
    root::{ReadError, read_named},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

pub mod crio;
mod record;
mod runtimes;

pub use record::{Argument, MAX_ARGUMENTS, OnFailure, Record};
pub use runtimes::{load_runtimes, parse_runtimes};

/// The settings file, unless `--settings` names another one.
pub const DEFAULT_PATH: &str = "/etc/portcullis/hook.toml";

/// The longest possible wait for a missing profile, in milliseconds. A hook's `timeout` must be
/// more than twice the wait.
pub const MAX_WAIT_MS: u64 = 2_400;

/// The largest settings file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// What happens to a container that there is a reason to refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It starts, and a warning gives the reason.
    Warn,
}

/// Whether a container may run without any filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// It may.
    #[default]
    None,
    /// It needs one, no matter which.
    AnyFilter,
}

/// When a selected profile may replace the engine's default filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplaceDefault {
    /// Only if it allows nothing that the default denies.
    #[default]
    Stricter,
    /// Always.
    Any,
    /// Never.
    Never,
}

/// The least severe messages that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Refusals only.
    Error,
    /// Warnings too.
    Warn,
    /// Also decisions on containers that select something.
    #[default]
    Info,
    /// Decisions on every container.
    Debug,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The engine whose annotations are trusted; `--engine` overrides it.
    pub engine: Engine,
    /// The folder that holds the profiles.
    pub seccomp_root: PathBuf,
    /// Enforce or warn.
    pub mode: Mode,
    /// How long to wait for a missing profile, in milliseconds; at most [`MAX_WAIT_MS`].
    pub wait_ms: u64,
    /// Whether containers need a filter.
    pub require: Require,
    /// When the engine's default filter is replaced.
    pub replace_default: ReplaceDefault,
    /// The engine's default profile; `None` for the one that the engine is configured with.
    pub runtime_default: Option<PathBuf>,
    /// Namespaces whose containers are accepted without any check.
    pub exempt_namespaces: Vec<String>,
    /// The least severe messages that are logged.
    pub log_level: LogLevel,
    /// The maximum size of a profile, in bytes.
    pub max_profile_bytes: u64,
    /// `run.oci.*` annotations that a container with a selected filter may carry.
    pub allow_runtime_annotations: Vec<String>,
    /// The socket that decisions are sent to, if somebody listens.
    pub gate_socket: PathBuf,
    /// The real runtimes behind the wrapper: paths by the name that it is called under, or
    /// `default`.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// The recorder's settings.
    pub record: Record,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            engine: Engine::CriO,
            seccomp_root: PathBuf::from("/var/lib/kubelet/seccomp"),
            mode: Mode::Enforce,
            wait_ms: 500,
            require: Require::None,
            replace_default: ReplaceDefault::Stricter,
            runtime_default: None,
            exempt_namespaces: vec!["kube-system".to_owned()],
            log_level: LogLevel::Info,
            max_profile_bytes: 1024 * 1024,
            allow_runtime_annotations: Vec::new(),
            gate_socket: PathBuf::from("/run/portcullis/gate.sock"),
            runtimes: BTreeMap::new(),
            record: Record::default(),
        }
    }
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large.
    #[error("{}: larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file's text is not valid.
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

impl Settings {
    /// Reads settings; a missing file gives the defaults.
    ///
    /// # Errors
    /// The file can't be read, is not TOML in UTF-8, or has an unknown key or an invalid value.
    pub fn load(path: &Path) -> Result<Settings, SettingsError> {
        match read(path)? {
            Some(text) => Settings::parse(path, &text),
            None => Ok(Settings::default()),
        }
    }

    /// Parses settings; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Settings, SettingsError> {
        let invalid = |line, reason| SettingsError::Invalid {
            path: path.to_owned(),
            line,
            reason,
        };
        let settings: Settings = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            invalid(line, error.message().replace(['\n', '\r'], " "))
        })?;
        match settings.first_mistake() {
            None => Ok(settings),
            Some((key, reason)) => Err(invalid(line_of_key(text, key), format!("{key} {reason}"))),
        }
    }

    /// The first key with a value that its type allows but that is invalid, and what is wrong.
    fn first_mistake(&self) -> Option<(&'static str, String)> {
        let absolute = [
            ("seccomp_root", Some(&self.seccomp_root)),
            ("runtime_default", self.runtime_default.as_ref()),
            ("gate_socket", Some(&self.gate_socket)),
        ];
        for (key, path) in absolute {
            if path.is_some_and(|path| !path.is_absolute()) {
                return Some((key, "must be an absolute path".to_owned()));
            }
        }
        if self.runtimes.values().any(|path| !path.is_absolute()) {
            return Some(("runtimes", "must hold absolute paths".to_owned()));
        }
        if self.record.folders.iter().any(|path| !path.is_absolute()) {
            return Some(("folders", "must hold absolute paths".to_owned()));
        }
        if self.wait_ms > MAX_WAIT_MS {
            return Some(("wait_ms", format!("must be at most {MAX_WAIT_MS}")));
        }
        if self.max_profile_bytes == 0 {
            return Some(("max_profile_bytes", "must be more than 0".to_owned()));
        }
        None
    }
}

/// Reads the file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    let failed = |source| SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    match read_named(path, MAX_BYTES) {
        Ok(text) => String::from_utf8(text)
            .map(Some)
            .map_err(|_| failed(io::Error::other("is not UTF-8"))),
        Err(ReadError::Root { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(ReadError::Root { source, .. } | ReadError::Io { source }) => Err(failed(source)),
        Err(ReadError::TooLarge { .. }) => Err(SettingsError::TooLarge {
            path: path.to_owned(),
        }),
        Err(other) => Err(failed(io::Error::other(other))),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

fn line_of_key(text: &str, key: &str) -> usize {
    text.lines()
        .position(|line| line.trim_start_matches(['[', ' ']).starts_with(key))
        .unwrap_or(0)
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(Path::new("hook.toml"), text)
    }

    fn rejects(text: &str, part: &str) {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn an_empty_or_missing_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Settings::default());
        assert_eq!(
            Settings::load(Path::new("/nonexistent/x")).unwrap(),
            Settings::default()
        );
    }

    #[test]
    fn every_key_is_read() {
        let settings = parse(
            "engine = 'podman'\nseccomp_root = '/s'\nmode = 'warn'\nwait_ms = 7\n\
             require = 'any-filter'\nreplace_default = 'never'\nruntime_default = '/d'\n\
             exempt_namespaces = []\nlog_level = 'debug'\nmax_profile_bytes = 9\n\
             allow_runtime_annotations = ['run.oci.handler']\ngate_socket = '/g'\n\
             [runtimes]\ndefault = '/usr/bin/crun'\n[record]\nnamespaces = ['a']\n\
             folders = ['/f']\ndefault_action = 'SCMP_ACT_LOG'\nmax_active = 1\nmax_bytes = 2\n\
             max_seconds = 3\nmerge = true\nlog_denials = true\narguments = ['socket:0']\non_failure = 'start'\n",
        )
        .unwrap();
        assert_eq!(settings.engine, Engine::Podman);
        assert_eq!(settings.mode, Mode::Warn);
        assert_eq!(settings.require, Require::AnyFilter);
        assert_eq!(settings.replace_default, ReplaceDefault::Never);
        assert_eq!(settings.runtimes["default"], Path::new("/usr/bin/crun"));
        assert_eq!(settings.record.default_action, Action::Log);
        assert_eq!(settings.record.max_seconds, 3);
        assert_eq!(settings.record.arguments, ["socket:0".parse().unwrap()]);
        assert!(settings.record.merge && settings.record.log_denials);
        assert_eq!(settings.record.on_failure, OnFailure::Start);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        rejects("\nmod = 'warn'\n", "line 2: unknown field `mod`");
        rejects("mode = 'maybe'", "line 1: unknown variant `maybe`");
        rejects("\n\nwait_ms = -1", "line 3");
        rejects("wait_ms = 60000", "line 1: wait_ms must be at most 2400");
        rejects("seccomp_root = 'x'", "must be an absolute path");
        rejects(
            "[record]\ndefault_action = 'ALLOW'",
            "line 2: unknown action \"ALLOW\"",
        );
        rejects("a = [", "line 1");
        rejects("[record]\narguments = ['sokcet:0']", "unknown system call");
        rejects(
            "[record]\narguments = ['socket:0', 'socket:1']",
            "two arguments",
        );
        rejects("[record]\narguments = ['socket:6']", "is not an argument");
        rejects("[runtimes]\ncrun = 'crun'", "absolute");
    }

    proptest::proptest! {
        /// A mistake anywhere in a valid file gives one line that names the file and a line in it,
        /// or the file is still valid.
        #[test]
        fn any_text_is_settings_or_one_line_of_error(
            line in 0_usize..6,
            text in "[ -~\\n\\t\u{e9}]{0,40}",
        ) {
            let good = ["engine = 'podman'", "wait_ms = 7", "[runtimes]", "default = '/x'", "[record]", "max_active = 1"];
            let mut lines = good.to_vec();
            lines.insert(line, &text);
            if let Err(error) = parse(&lines.join("\n")) {
                let message = error.to_string();
                proptest::prop_assert!(!message.contains('\n') && message.contains("line "), "{}", message);
            }
        }
    }
}
