//! The settings of the node parts, `/etc/portcullis/hook.toml`: one typed structure for the hook,
//! the runtime wrapper, the recorder and the agent.
//!
//! Every key has a default; a missing file means the default settings. An unknown key or an invalid
//! value is an error that names it and its line. The shipped file (`crio.d/hook.toml`) documents
//! every key.

use crate::{
    Action, Engine,
    filter::nearest::nearest,
    root::{ReadError, read_named},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

pub mod crio;

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

/// What happens to a container that should be recorded and can't be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It does not start, because crun hides the warnings of a hook that succeeds.
    #[default]
    Refuse,
    /// It starts unrecorded, and a warning says so.
    Start,
}

/// How many arguments can be recorded for one container; the recorder has room for no more.
pub const MAX_ARGUMENTS: usize = 8;

/// One argument of one call, written `call:index`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The call's name.
    pub call: String,
    /// Which argument, counted from 0 to 5.
    pub index: u8,
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Argument, String> {
        let parsed = text
            .split_once(':')
            .and_then(|(call, index)| Some((call, index.parse().ok().filter(|i| *i < 6)?)));
        match parsed {
            Some((call, index)) if crate::filter::syscalls::is_known(call) => Ok(Argument {
                call: call.to_owned(),
                index,
            }),
            Some((call, _)) => Err(format!("unknown system call {call:?}")),
            None => Err(format!(
                "{text:?} is not an argument; write it like \"socket:0\" (0 to 5)"
            )),
        }
    }
}

/// `[record]`: who may record, where to, and how much. The node's owner decides all of this.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Namespaces whose pods may be recorded; none by default.
    pub namespaces: Vec<String>,
    /// Folders that recordings may be written to.
    pub folders: Vec<PathBuf>,
    /// The default action of recorded profiles.
    #[serde(deserialize_with = "action")]
    pub default_action: Action,
    /// Arguments of calls whose values are recorded too, at most [`MAX_ARGUMENTS`].
    #[serde(deserialize_with = "arguments")]
    pub arguments: Vec<Argument>,
    /// Whether a recording is merged into an existing profile, instead of replacing it.
    pub merge: bool,
    /// Whether the calls that a recorded container's filter denies are executed and logged instead,
    /// so that they are captured.
    pub log_denials: bool,
    /// What happens to a container that can't be recorded. The limits below never refuse one whose
    /// denials are in force.
    pub on_failure: OnFailure,
    /// How many recordings may run at once.
    pub max_active: u32,
    /// How many bytes the recordings folder may hold.
    pub max_bytes: u64,
    /// How many seconds one recording may run.
    pub max_seconds: u64,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            namespaces: Vec::new(),
            folders: vec![PathBuf::from("/var/lib/portcullis/recordings")],
            default_action: Action::Errno,
            arguments: Vec::new(),
            merge: false,
            log_denials: false,
            on_failure: OnFailure::Refuse,
            max_active: 128,
            max_bytes: 64 * 1024 * 1024,
            max_seconds: 24 * 60 * 60,
        }
    }
}

fn action<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn arguments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Argument>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > MAX_ARGUMENTS {
        let message = format!("at most {MAX_ARGUMENTS} arguments can be recorded");
        return Err(serde::de::Error::custom(message));
    }
    let mut all: Vec<Argument> = Vec::new();
    for text in texts {
        let argument: Argument = text.parse().map_err(serde::de::Error::custom)?;
        if all.iter().any(|other| other.call == argument.call) {
            let message = format!("two arguments of {} can't be recorded", argument.call);
            return Err(serde::de::Error::custom(message));
        }
        all.push(argument);
    }
    Ok(all)
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

/// `[runtimes]` alone, for the wrapper: mistakes elsewhere in the file must not change which
/// runtime a container runs under. A missing file has none.
///
/// # Errors
/// The file can't be read, or the table's contents can't be determined.
pub fn load_runtimes(path: &Path) -> Result<BTreeMap<String, PathBuf>, SettingsError> {
    match read(path)? {
        Some(text) => parse_runtimes(path, &text),
        None => Ok(BTreeMap::new()),
    }
}

/// The table in a text; `path` is for messages only.
///
/// # Errors
/// The table's contents can't be determined.
pub fn parse_runtimes(path: &Path, text: &str) -> Result<BTreeMap<String, PathBuf>, SettingsError> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        runtimes: BTreeMap<String, PathBuf>,
        #[serde(flatten)]
        others: BTreeMap<String, toml::Value>,
    }
    let invalid = |line, reason| SettingsError::Invalid {
        path: path.to_owned(),
        line,
        reason,
    };
    let part: Part = match toml::from_str(text) {
        Ok(part) => part,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let error = invalid(line, error.message().replace(['\n', '\r'], " "));
            // The file is not valid TOML, or the mistake is in the table itself.
            let section = runtimes_section(text).ok_or(error)?;
            toml::from_str(section).map_err(|error| {
                let at = section.as_ptr() as usize - text.as_ptr() as usize;
                let within = error.span().map_or(0, |span| span.start);
                let reason = error.message().replace(['\n', '\r'], " ");
                invalid(line_of(text, at + within), reason)
            })?
        }
    };
    if part.runtimes.is_empty() {
        if let Some(key) = part.others.keys().find(|key| is_nearly_runtimes(key)) {
            let reason = format!("unknown field `{key}`; the table is called [{RUNTIMES}]");
            return Err(invalid(line_of_key(text, key), reason));
        }
        if let Some(key) = stray(&part.others) {
            let reason =
                format!("unknown field `{key}`; a runtime's path belongs under [{RUNTIMES}]");
            return Err(invalid(line_of_key(text, key), reason));
        }
    }
    match part.runtimes.values().find(|path| !path.is_absolute()) {
        None => Ok(part.runtimes),
        Some(relative) => {
            let reason = format!(
                "runtimes must hold absolute paths, not {}",
                relative.display()
            );
            Err(invalid(line_of_key(text, RUNTIMES), reason))
        }
    }
}

/// The table's name.
const RUNTIMES: &str = "runtimes";

/// Whether a key is probably meant to be the table's name.
fn is_nearly_runtimes(key: &str) -> bool {
    nearest(key, [RUNTIMES]).is_some()
}

/// The lines of `[runtimes]` in a text that is not valid TOML; empty if no line belongs to it.
/// `None` if that can't be determined.
fn runtimes_section(text: &str) -> Option<&str> {
    let mut section: Option<(usize, usize)> = None;
    let mut inside = false;
    let mut is_headless = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (offset, offset + line.len());
        offset = end;
        let content = line.trim();
        if content.starts_with('[') {
            let name = content.split('#').next().unwrap_or_default();
            let name = name.trim_matches(|c: char| "[] \t\"'".contains(c));
            let header = content.split('#').next().unwrap_or_default().trim_end();
            let is_whole = header.ends_with(']') && !header.starts_with("[[");
            inside = name == RUNTIMES && is_whole && section.is_none();
            if inside {
                section = Some((start, end));
                continue;
            }
            if name.contains(RUNTIMES) || is_nearly_runtimes(name) {
                return None;
            }
        } else if inside {
            section = section.map(|(start, _)| (start, end));
        } else if !content.starts_with('#') {
            if content.contains(RUNTIMES) {
                return None;
            }
            is_headless |= is_torn(content) || is_stray_line(content);
        }
    }
    match section {
        Some((start, end)) => Some(&text[start..end]),
        None => (!is_headless).then_some(""),
    }
}

/// A line of the table that is not in it, since its header is lost: a key that is the wrapper's name
/// or the runtime's, with a path.
fn is_stray(key: &str, value: &str) -> bool {
    let runtime = Path::new(value).file_name();
    value.starts_with('/')
        && (key == "default"
            || key.starts_with("portcullis-")
            || runtime.is_some_and(|name| name == key))
}

/// The key of such a line in a text whose table is empty.
fn stray(others: &BTreeMap<String, toml::Value>) -> Option<&str> {
    let is_stray = |key: &str, value: &toml::Value| {
        let text = value.as_str();
        text.is_some_and(|text| is_stray(key, text))
    };
    others.iter().find_map(|(key, value)| match value {
        toml::Value::Table(below) => below
            .iter()
            .find_map(|(key, value)| is_stray(key, value).then_some(key.as_str())),
        value => is_stray(key, value).then_some(key.as_str()),
    })
}

/// Whether a line of a text that is not TOML as a whole is one.
fn is_stray_line(line: &str) -> bool {
    let plain = |text: &str| text.trim_matches(|c: char| " \t\"'".contains(c)).to_owned();
    let content = line.split('#').next().unwrap_or_default();
    content
        .split_once('=')
        .is_some_and(|(key, value)| is_stray(&plain(key), &plain(value)))
}

/// Whether a line may be what is left of the table's header: its name nearly, without the bracket.
fn is_torn(line: &str) -> bool {
    let end = line.find(['=', '.', ']', '#']).unwrap_or(line.len());
    is_nearly_runtimes(line[..end].trim_matches(|c: char| " \t\"'".contains(c)))
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

    fn runtimes(text: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let map = parse_runtimes(Path::new("hook.toml"), text)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(map.into_iter().map(|(name, at)| (name, text(at))).collect())
    }

    #[test]
    fn runtimes_survive_mistakes_elsewhere() {
        let table = "[runtimes]\n# ours\ndefault = \"/c\" # runtimes\nportcullis-g = '/g'\n";
        let both = [("default", "/c"), ("portcullis-g", "/g")];
        let both = both.map(|(name, path)| (name.to_owned(), path.to_owned()));
        for text in [
            table.to_owned(),
            format!("mod = 'warn'\n{table}"),
            format!("mode = \n{table}"),
            format!("wait_ms = 99999999\nseccomp_root = 3\n{table}[record]\nfolders = 3\n"),
            format!("mode = 'warn\n  {table}\n[record\nx\n"),
            format!("{table}[record]\nmerge = maybe\n"),
            format!("{table}[[\n"),
            format!("mode = \ndefault = '/x'\n{table}"),
        ] {
            assert_eq!(runtimes(&text).unwrap(), both, "{text}");
        }
        for text in [
            "",
            "mod = 'warn'",
            "mode = ",
            "runtime_default = '/d'\nmode",
            "secomp_root = '/x'",
            "secomp_root = '/x'\nmode",
            "# default = '/a'\nmode",
        ] {
            assert_eq!(runtimes(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn runtimes_that_cannot_be_told_are_an_error() {
        for text in [
            "[runtimes]\ndefault = 3",
            "[runtimes]\ndefault = 'crun'",
            "[runtimes]\ndefault = \n",
            "[runtimes]\ndefault = '/a'\ndefault = '/b'",
            "[runtimes]\ndefault = '/a'\n[runtimes]\nx = '/b'",
            "runtimes = 3",
            "mode = \nruntimes.default = '/a'\n",
            "mode = \nruntimes = { default = '/a' }\n",
            "[runtimes\ndefault = '/a'",
            "[runtime]\ndefault = '/a'",
            "[Runtimes]\ndefault = '/a'",
            "mode = \n[runtime]\ndefault = '/a'",
            "mode = \n[[runtimes]]\ndefault = '/a'",
            // The header is lost, or a part of it.
            "default = '/a'",
            "mode = 'warn'\nportcullis-g = '/a'",
            "[record]\nmerge = true\ndefault = '/a'",
            "runsc = '/usr/bin/runsc'",
            "mode = \nrunsc = \"/usr/bin/runsc\" # g",
            "mode = \n'default' = '/a'",
            "runtimes]\ndefault = '/a'",
            "untimes]\nx = '/a'",
            "mode = 'warn'\n[record]\nntimes]\nx = '/a'",
        ] {
            assert!(runtimes(text).is_err(), "{text}");
        }
        assert!(load_runtimes(Path::new("/dev/null")).is_err());
        assert_eq!(
            load_runtimes(Path::new("/nonexistent/x")).unwrap(),
            BTreeMap::new()
        );
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
