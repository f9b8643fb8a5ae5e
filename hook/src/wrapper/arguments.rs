//! The wrapper's command line: its own options, which come first and go no further, and what it
//! has to know of the runtime's.

use portcullis_profile::{Engine, settings};
use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf};

/// Global options of crun and runc that take a value of their own (`crun(8)`, `runc(8)`).
const WITH_VALUE: [&str; 7] = [
    "--root",
    "--log",
    "--log-format",
    "--log-level",
    "--cgroup-manager",
    "--criu",
    "--rootless",
];

/// Global options that take none.
const WITHOUT_VALUE: [&str; 2] = ["--debug", "--systemd-cgroup"];

/// Options of `create` and `run` that take a value of their own.
const CREATE_WITH_VALUE: [&str; 7] = [
    "--bundle",
    "-b",
    "--console-socket",
    "--pid-file",
    "--preserve-fds",
    "--config",
    "-f",
];

/// How the runtime was told to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the wrapper was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The name it was called by.
    pub name: String,
    /// `--portcullis-config`.
    pub config: PathBuf,
    /// `--portcullis-engine`.
    pub engine: Option<Engine>,
    /// `--portcullis-runtime`.
    pub runtime: Option<PathBuf>,
    /// Where the runtime was told to log.
    pub log: Option<PathBuf>,
    /// In which form.
    pub log_format: LogFormat,
    /// The bundle, where the verb makes a container.
    pub bundle: Option<PathBuf>,
    /// What goes to the real runtime, untouched.
    pub passed: Vec<OsString>,
}

/// Why the wrapper's own options can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An option lacks its value.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// No such engine.
    #[error("--portcullis-engine: {0:?} is none of cri-o, containerd, podman")]
    Engine(String),
}

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Only for the wrapper's own options; the runtime's are the runtime's to judge.
    pub fn parse(argv: Vec<OsString>) -> Result<Arguments, ArgumentError> {
        let mut argv = argv.into_iter();
        let program = PathBuf::from(argv.next().unwrap_or_default());
        let mut arguments = Arguments {
            name: program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            config: PathBuf::from(settings::DEFAULT_PATH),
            engine: None,
            runtime: None,
            log: None,
            log_format: LogFormat::Text,
            bundle: None,
            passed: Vec::new(),
        };
        let mut rest = argv.peekable();
        while let Some(own) = rest.next_if(|word| word.as_bytes().starts_with(b"--portcullis-")) {
            let text = own.to_string_lossy().into_owned();
            let (option, inline) = split(&text);
            let mut value = |name| {
                inline
                    .map(OsString::from)
                    .or_else(|| rest.next())
                    .ok_or(ArgumentError::NoValue(name))
            };
            match option {
                "--portcullis-config" => arguments.config = value("--portcullis-config")?.into(),
                "--portcullis-runtime" => {
                    arguments.runtime = Some(value("--portcullis-runtime")?.into());
                }
                "--portcullis-engine" => {
                    let name = value("--portcullis-engine")?.to_string_lossy().into_owned();
                    let engine = Engine::ALL
                        .into_iter()
                        .find(|engine| engine.as_str() == name);
                    arguments.engine = Some(engine.ok_or(ArgumentError::Engine(name))?);
                }
                _ => {
                    arguments.passed.push(own);
                    break;
                }
            }
        }
        arguments.passed.extend(rest);
        arguments.read_runtime_options();
        Ok(arguments)
    }

    /// Finds verb, bundle and log. An option that is not known might take a value; after one, the
    /// first word that is `create` or `run` counts as the verb, so that none is missed.
    fn read_runtime_options(&mut self) {
        let words: Vec<String> = self
            .passed
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let mut unknown = false;
        let mut index = 0;
        while let Some(word) = words.get(index) {
            index += 1;
            if !word.starts_with('-') {
                if matches!(word.as_str(), "create" | "run") {
                    self.bundle = Some(bundle(&words[index..]));
                    return;
                }
                if unknown {
                    continue;
                }
                return;
            }
            let (option, inline) = split(word);
            let mut value = inline.map(str::to_owned);
            if value.is_none() && WITH_VALUE.contains(&option) {
                value = words.get(index).cloned();
                index += 1;
            } else if value.is_none() && !WITHOUT_VALUE.contains(&option) {
                unknown = true;
            }
            match (option, value) {
                ("--log", Some(value)) => self.log = Some(PathBuf::from(value)),
                ("--log-format", Some(value)) if value == "json" => {
                    self.log_format = LogFormat::Json;
                }
                _ => {}
            }
        }
    }

    /// The container's ID: the last word.
    pub fn id(&self) -> Option<String> {
        self.passed
            .last()
            .map(|id| id.to_string_lossy().into_owned())
    }
}

/// `--option=value` in its two parts.
fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((option, value)) => (option, Some(value)),
        None => (word, None),
    }
}

/// The bundle among the words after `create` or `run`; the working directory by default.
fn bundle(words: &[String]) -> PathBuf {
    let mut found = PathBuf::from(".");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (option, inline) = split(word);
        let value = match inline {
            Some(value) => Some(value),
            None if CREATE_WITH_VALUE.contains(&option) => words.next().map(String::as_str),
            None => None,
        };
        if let ("--bundle" | "-b", Some(value)) = (option, value) {
            found = PathBuf::from(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse(line.split(' ').map(OsString::from).collect()).unwrap()
    }

    fn has_bundle(line: &str, bundle: Option<&str>) {
        assert_eq!(parse(line).bundle, bundle.map(PathBuf::from), "{line}");
    }

    #[test]
    fn only_verbs_that_make_a_container_have_a_bundle() {
        has_bundle(
            "crun --root=/r create --bundle /b --pid-file /p ID",
            Some("/b"),
        );
        has_bundle(
            "runc --root /r --log /l --log-format json create -b /b ID",
            Some("/b"),
        );
        has_bundle("crun run ID", Some("."));
        has_bundle("crun --systemd-cgroup create --bundle=/b ID", Some("/b"));
        has_bundle("crun --new-option value create -b /b ID", Some("/b"));
        has_bundle("crun --root create start ID", None);
        has_bundle("crun start create", None);
        has_bundle("crun --debug exec ID run", None);
        has_bundle("crun --version", None);
        has_bundle("crun", None);
    }

    #[test]
    fn own_options_go_no_further_and_the_rest_is_untouched() {
        let arguments = parse(
            "x/portcullis-crun --portcullis-engine=podman --portcullis-runtime /r \
             --portcullis-config /c --log /l --log-format json state ID",
        );
        assert_eq!(arguments.name, "portcullis-crun");
        assert_eq!(arguments.engine, Some(Engine::Podman));
        assert_eq!(arguments.runtime, Some(PathBuf::from("/r")));
        assert_eq!(arguments.config, PathBuf::from("/c"));
        assert_eq!(arguments.log, Some(PathBuf::from("/l")));
        assert_eq!(arguments.log_format, LogFormat::Json);
        assert_eq!(arguments.passed.len(), 6);
        let words = ["x", "--portcullis-engine", "docker"]
            .map(OsString::from)
            .to_vec();
        assert!(Arguments::parse(words).is_err());
    }
}
