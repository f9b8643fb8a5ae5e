//! The wrapper's own options, which come first and are not passed on.

use clap::{Arg, Command};
use portcullis_profile::{Engine, settings};
use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf};

/// The wrapper's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The name that it was called under.
    pub name: String,
    /// `--portcullis-settings`, or its old name `--portcullis-config`.
    pub settings: PathBuf,
    /// `--portcullis-engine`.
    pub engine: Option<Engine>,
    /// `--portcullis-runtime`.
    pub runtime: Option<PathBuf>,
    /// The arguments for the real runtime, unchanged.
    pub passed: Vec<OsString>,
}

/// Why the wrapper's own options can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An option lacks its value.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// No such engine.
    #[error("--portcullis-engine must be cri-o, containerd or podman, not {0:?}")]
    Engine(String),
    /// No such option.
    #[error(
        "{0}: portcullis-runtime has no such option; it has --portcullis-settings, \
         --portcullis-engine and --portcullis-runtime"
    )]
    Unknown(String),
}

impl Arguments {
    /// Parses a command line that starts with the program's name.
    ///
    /// # Errors
    /// One of the wrapper's own options is wrong; those of the runtime are parsed later.
    pub fn parse(argv: Vec<OsString>) -> Result<Arguments, ArgumentError> {
        let mut argv = argv.into_iter();
        let program = PathBuf::from(argv.next().unwrap_or_default());
        let mut arguments = Arguments {
            name: program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            settings: PathBuf::from(settings::DEFAULT_PATH),
            engine: None,
            runtime: None,
            passed: Vec::new(),
        };
        let mut rest = argv.peekable();
        while let Some(own) = rest.next_if(|word| word.as_bytes().starts_with(b"--portcullis-")) {
            let text = own.to_string_lossy().into_owned();
            let (option, inline) = match text.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None => (text.as_str(), None),
            };
            let mut value = |name| {
                inline
                    .map(OsString::from)
                    .or_else(|| rest.next())
                    .ok_or(ArgumentError::NoValue(name))
            };
            match option {
                "--portcullis-settings" | "--portcullis-config" => {
                    arguments.settings = value("--portcullis-settings")?.into();
                }
                "--portcullis-runtime" => {
                    arguments.runtime = Some(value("--portcullis-runtime")?.into());
                }
                "--portcullis-engine" => {
                    let name = value("--portcullis-engine")?.to_string_lossy().into_owned();
                    let engine = Engine::by_name(&name).ok_or(ArgumentError::Engine(name))?;
                    arguments.engine = Some(engine);
                }
                other => return Err(ArgumentError::Unknown(other.to_owned())),
            }
        }
        arguments.passed.extend(rest);
        Ok(arguments)
    }
}

/// The same options, described for the manual page and for completions. Nothing is parsed with it:
/// what follows the wrapper's own options is the runtime's command line.
pub fn command() -> Command {
    Command::new("portcullis-runtime")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Wraps crun or runc: sets the seccomp filter that a container selects, then runs it")
        .long_about(
            "An OCI runtime for CRI-O, containerd and Podman. Before a container is created, it \
             sets the seccomp filter that the container's annotations select; then it executes the \
             real runtime with the same arguments. A link called portcullis-NAME runs NAME. \
             [runtimes] in hook.toml can name other programs; see hook.toml(5). Its own options \
             come first.",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(
            Arg::new("settings")
                .long("portcullis-settings")
                .value_name("FILE")
                .default_value(settings::DEFAULT_PATH)
                .help("The settings file; if it does not exist, the defaults apply"),
        )
        .arg(
            Arg::new("engine")
                .long("portcullis-engine")
                .value_name("ENGINE")
                .value_parser(Engine::ALL.map(Engine::as_str))
                .help("The engine whose annotations are trusted; overrides hook.toml"),
        )
        .arg(
            Arg::new("runtime")
                .long("portcullis-runtime")
                .value_name("FILE")
                .help("The real runtime; overrides hook.toml and the name of the link"),
        )
        .arg(
            Arg::new("arguments")
                .value_name("ARGUMENTS")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("The runtime's own command line"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn own_options_go_no_further_and_the_rest_is_untouched() {
        let arguments = parse(
            "x/portcullis-crun --portcullis-engine=podman --portcullis-runtime /r \
             --portcullis-settings /c --log /l --portcullis-engine state ID",
        )
        .unwrap();
        assert_eq!(arguments.name, "portcullis-crun");
        assert_eq!(arguments.engine, Some(Engine::Podman));
        assert_eq!(arguments.runtime, Some(PathBuf::from("/r")));
        assert_eq!(arguments.settings, PathBuf::from("/c"));
        let passed = ["--log", "/l", "--portcullis-engine", "state", "ID"];
        assert_eq!(arguments.passed, passed.map(OsString::from));
    }

    #[test]
    fn the_described_options_are_those_that_are_parsed() {
        let named = ArgumentError::Unknown("--portcullis-x".to_owned()).to_string();
        let (_, listed) = named.split_once("it has ").unwrap();
        let mut listed: Vec<&str> = listed.split([',', ' ']).collect();
        listed.retain(|word| word.starts_with("--"));
        let command = command();
        let options: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        assert_eq!(options, listed);
        for option in options {
            let line = format!("x {option} podman create");
            assert_eq!(parse(&line).unwrap().passed, ["create"], "{option}");
        }
    }

    #[test]
    fn own_options_that_mean_nothing_are_refused_by_name() {
        let rejects = |line: &str, error: ArgumentError| assert_eq!(parse(line), Err(error));
        rejects(
            "x --portcullis-engine docker",
            ArgumentError::Engine("docker".to_owned()),
        );
        rejects(
            "x --portcullis-runtime",
            ArgumentError::NoValue("--portcullis-runtime"),
        );
        rejects(
            "x --portcullis-runtimes=/r create ID",
            ArgumentError::Unknown("--portcullis-runtimes".to_owned()),
        );
    }
}
