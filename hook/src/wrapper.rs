//! `portcullis-runtime`: wraps crun or runc. It sets the selected filter on every command that
//! creates a container, then executes the real runtime with the same arguments.

pub mod arguments;
pub mod remembered;
pub mod runtime;

use crate::{
    exit::Code,
    gate::{Maker, Moment, changed, evaluate},
    oci::{
        command_line::{Command as Wanted, CommandLine, Container, Runtime, Verb},
        config::{OciConfig, OciError, read_bundle},
        parent,
    },
    program, report,
};
use arguments::Arguments;
use nix::fcntl::OFlag;
use portcullis_profile::settings::{LogLevel, Settings, SettingsError, load_runtimes};
use remembered::Remembered;
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

/// The name in the system log.
const NAME: &str = "portcullis-runtime";

/// Why the real runtime was not executed.
struct Refused {
    code: Code,
    /// The message; none if it has been reported already.
    message: Option<String>,
}

impl Refused {
    fn because(code: Code, why: &dyn std::error::Error) -> Refused {
        Refused {
            code,
            message: Some(why.to_string()),
        }
    }
}

/// Does what the verb requires, then becomes the real runtime. Returns only if it refuses.
pub fn run(argv: Vec<OsString>) -> Code {
    program::set_name(NAME);
    let arguments = match Arguments::parse(argv) {
        Ok(arguments) => arguments,
        Err(error) => return report::failure(Code::Usage, &error.to_string()),
    };
    let found = runtime::find(&arguments, load_runtimes(&arguments.settings));
    let kind = found.as_deref().map_or(Runtime::Other, kind);
    let line = CommandLine::read(kind, &arguments.passed);
    let log = line.as_ref().map_or_else(|_| Log::default(), Log::of);
    let ready = line
        .map_err(|error| Refused::because(Code::Usage, &error))
        .and_then(|line| prepare(&arguments, &line, found, &log));
    let refused = match ready {
        Ok(real) => {
            let error = Command::new(&real).args(&arguments.passed).exec();
            Refused {
                code: Code::Unexpected,
                message: Some(format!("{}: {error}", real.display())),
            }
        }
        Err(refused) => refused,
    };
    if let Some(message) = refused.message {
        log.say(&format!("portcullis: refused: {message}"));
        report::failure(refused.code, &message);
    }
    refused.code
}

/// Which runtime a program is, after following links.
fn kind(path: &Path) -> Runtime {
    Runtime::named(&path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

/// Does everything that has to happen before the real runtime runs, and returns which one that is.
fn prepare(
    arguments: &Arguments,
    line: &CommandLine,
    found: Result<PathBuf, runtime::RuntimeError>,
    log: &Log,
) -> Result<PathBuf, Refused> {
    let found = found.map_err(|error| Refused::because(Code::Settings, &error));
    match &line.command {
        Wanted::Speaks => found,
        Wanted::Other { words, .. } => {
            let made = remembered()
                .ok()
                .flatten()
                .and_then(|remembered| remembered.find(line.root.as_deref(), words));
            match made {
                Some(made) => {
                    runtime::usable(made).map_err(|error| Refused::because(Code::Settings, &error))
                }
                None => found,
            }
        }
        Wanted::Makes(container) => {
            let real = found?;
            let settings = Settings::load(&arguments.settings);
            let refused = apply(container, arguments, kind(&real), &settings, log)
                .map_err(|error| Refused::because(error.code(), &error))?;
            if let Some(code) = refused {
                return Err(Refused {
                    code,
                    message: None,
                });
            }
            let kept = remembered().and_then(|remembered| match remembered {
                Some(remembered) => remembered.remember(line, &container.id, &real),
                None => Ok(()),
            });
            if let Err(error) = kept {
                let wanted = settings.map_or(LogLevel::Info, |settings| settings.log_level);
                let folder = remembered::FOLDER;
                let text = format!(
                    "can't remember the runtime of {}: {folder}: {error}",
                    container.id
                );
                report::say(wanted, LogLevel::Info, &text);
            }
            Ok(real)
        }
    }
}

/// The remembered runtimes of this node's containers. There are none for ordinary users, who can't
/// write to `/run`.
fn remembered() -> io::Result<Option<Remembered>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    Remembered::open(Path::new(remembered::FOLDER)).map(Some)
}

fn apply(
    container: &Container,
    arguments: &Arguments,
    kind: Runtime,
    settings: &Result<Settings, SettingsError>,
    log: &Log,
) -> Result<Option<Code>, OciError> {
    let bundle = container.bundle();
    let text = read_bundle(bundle)?;
    let config = OciConfig::parse(&text)?;
    let moment = match container.verb {
        Verb::Create | Verb::Run => Moment::Apply,
        Verb::Restore => Moment::Restore,
    };
    let executed = parent::executed_by_monitor();
    let maker = Maker {
        reader: kind.reader(),
        crun: None,
        executed: executed.as_deref(),
    };
    let evaluation = evaluate(moment, &config, settings, arguments.engine, maker);
    if let Some(changed) = changed(&evaluation, &config)? {
        write_config(bundle, &changed)?;
    }
    let fallback = Settings::default();
    let usable = settings.as_ref().unwrap_or(&fallback);
    report::evaluation("runtime", Some(&container.id), &evaluation, usable);
    let refused = evaluation.code();
    if refused.is_some() {
        log.say(&format!("portcullis: refused: {}", evaluation.line()));
    }
    Ok(refused)
}

/// Replaces `config.json` by rename, with its permissions.
fn write_config(bundle: &Path, text: &str) -> Result<(), OciError> {
    let path = bundle.join("config.json");
    let temporary = bundle.join(format!(".config.json.portcullis-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| {
        // Only we could have left the temporary file; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        OciError::Write { path, source }
    })
}

/// The file that the runtime was told to log to. Engines that name one show only that file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    file: Option<PathBuf>,
    is_json: bool,
}

impl Log {
    /// crun also supports logs other than files (`crun(1)`); messages for them go to the system
    /// log.
    fn of(line: &CommandLine) -> Log {
        let file = line.log.as_ref().and_then(|log| {
            let text = log.to_string_lossy();
            match text.split_once(':') {
                Some(("file", path)) => Some(PathBuf::from(path)),
                Some(("journald" | "syslog", _)) => None,
                _ => Some(log.clone()),
            }
        });
        Log {
            file,
            is_json: line.log_is_json,
        }
    }

    /// Writes a line in the runtime's own form. If that fails, the message is still on stderr and
    /// in the system log.
    fn say(&self, message: &str) {
        let Some(path) = &self.file else { return };
        let message = message.replace(char::is_control, " ");
        let line = if self.is_json {
            json!({ "level": "error", "msg": message }).to_string()
        } else {
            format!("level=error msg={message:?}")
        };
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(path);
        if let Ok(mut file) = opened
            && file.metadata().is_ok_and(|data| data.is_file())
        {
            let _ = writeln!(file, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::Engine;

    #[test]
    fn a_configuration_is_replaced_whole_and_keeps_its_permissions() {
        let bundle = tempfile::tempdir().unwrap();
        let path = bundle.path().join("config.json");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write_config(bundle.path(), "{\"a\":1}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        assert_eq!(fs::read_dir(bundle.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_says_that_it_was_one_and_leaves_nothing() {
        let bundle = tempfile::tempdir().unwrap();
        // Renaming a file over a folder fails.
        let path = bundle.path().join("config.json");
        fs::create_dir(&path).unwrap();
        let error = write_config(bundle.path(), "{}").unwrap_err();
        assert!(matches!(error, OciError::Write { .. }), "{error}");
        assert!(error.to_string().contains("can't be written"), "{error}");
        assert_eq!(fs::read_dir(bundle.path()).unwrap().count(), 1);
    }

    fn says(log: &str, json: bool) -> Log {
        let line = CommandLine {
            log: Some(log.into()),
            log_is_json: json,
            ..CommandLine::default()
        };
        Log::of(&line)
    }

    #[test]
    fn the_runtimes_log_gets_one_line_in_its_own_form() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        says(file.to_str().unwrap(), false).say("a\n\"b\"");
        says(&format!("file:{}", file.display()), true).say("c\nd");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "level=error msg=\"a \\\"b\\\"\"\n{\"level\":\"error\",\"msg\":\"c d\"}\n"
        );
        assert_eq!(says("journald:x", true).file, None);
        assert_eq!(says("syslog:x", true).file, None);
    }

    #[test]
    fn a_log_that_nobody_reads_blocks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        says(fifo.to_str().unwrap(), true).say("x");
    }

    #[test]
    fn a_selected_profile_is_in_the_bundle_that_the_command_line_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("p.json"), r#"{"defaultAction":"SCMP_ACT_LOG"}"#).unwrap();
        fs::create_dir(at("bundle")).unwrap();
        let config =
            r#"{"annotations":{"seccomp.security.alpha.kubernetes.io/pod":"localhost/p.json"}}"#;
        fs::write(at("bundle/config.json"), config).unwrap();
        let settings = Ok(Settings {
            seccomp_root: folder.path().to_owned(),
            gate_socket: at("none"),
            wait_ms: 0,
            ..Settings::default()
        });
        let mut arguments = Arguments::parse(vec!["x".into()]).unwrap();
        arguments.engine = Some(Engine::Podman);
        let mut container = Container {
            verb: Verb::Create,
            bundle: Some(at("bundle")),
            id: "ID".to_owned(),
        };
        let log = Log::default();
        let end = apply(&container, &arguments, Runtime::Crun, &settings, &log).unwrap();
        assert_eq!(end, None);
        let text = fs::read_to_string(at("bundle/config.json")).unwrap();
        assert!(text.contains("SCMP_ACT_LOG"), "{text}");
        container.verb = Verb::Restore;
        let end = apply(&container, &arguments, Runtime::Crun, &settings, &log).unwrap();
        assert_eq!(end, Some(Code::FilterMissing));
        container.bundle = Some(at("none"));
        assert!(apply(&container, &arguments, Runtime::Crun, &settings, &log).is_err());
    }
}
