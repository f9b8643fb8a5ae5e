//! `portcullis-runtime`: stands before crun or runc, sets the selected filter on `create` and
//! `run`, and executes the real runtime with its arguments untouched.

pub mod arguments;
pub mod runtime;

use crate::{
    exit::Code,
    gate::{Moment, changed, evaluate},
    oci::config::{OciConfig, OciError, read_bundle},
    report,
};
use arguments::{Arguments, LogFormat};
use portcullis_profile::{filter::reader::Runtime, settings::Settings};
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, ExitCode},
};

/// Does what the verb asks for, then becomes the real runtime.
pub fn run(argv: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::parse(argv) {
        Ok(arguments) => arguments,
        Err(error) => return report::failure(Code::Usage, &error.to_string()).into(),
    };
    let settings = Settings::load(&arguments.config);
    let runtimes = settings
        .as_ref()
        .map(|s| s.runtimes.clone())
        .unwrap_or_default();
    let real = match runtime::find(&arguments, &runtimes) {
        Ok(real) => real,
        Err(error) => return refuse(&arguments, Code::Settings, &error.to_string()),
    };
    if let Some(bundle) = &arguments.bundle {
        match apply(bundle, &arguments, &settings) {
            Ok(None) => {}
            Ok(Some(code)) => return code.into(),
            Err(error) => return refuse(&arguments, error.code(), &error.to_string()),
        }
    }
    let error = Command::new(&real).args(&arguments.passed).exec();
    refuse(
        &arguments,
        Code::Unexpected,
        &format!("{}: {error}", real.display()),
    )
}

/// Says a failure on stderr, in the system's log and in the runtime's own.
fn refuse(arguments: &Arguments, code: Code, message: &str) -> ExitCode {
    runtime_log(arguments, message);
    report::failure(code, message).into()
}

fn apply(
    bundle: &Path,
    arguments: &Arguments,
    settings: &Result<Settings, portcullis_profile::settings::SettingsError>,
) -> Result<Option<Code>, OciError> {
    let text = read_bundle(bundle)?;
    let config = OciConfig::parse(&text)?;
    let engine = arguments.engine;
    let evaluation = evaluate(Moment::Apply, &config, settings, engine, Runtime::Either);
    if let Some(changed) = changed(&evaluation, &config)? {
        write_config(bundle, &changed)?;
    }
    let fallback = Settings::default();
    let usable = settings.as_ref().unwrap_or(&fallback);
    report::evaluation("runtime", arguments.id().as_deref(), &evaluation, usable);
    let refused = evaluation.code();
    if refused.is_some() {
        runtime_log(
            arguments,
            &format!("portcullis: refused: {}", report::line(&evaluation)),
        );
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
        // What is left of a failed write is ours alone; the first error is the one that counts.
        let _ = fs::remove_file(&temporary);
        OciError::Write { path, source }
    })
}

/// One line where the runtime was told to log, in the form that it was told; engines that give
/// `--log` show only that file.
fn runtime_log(arguments: &Arguments, message: &str) {
    let Some(log) = &arguments.log else { return };
    let line = match arguments.log_format {
        LogFormat::Json => json!({ "level": "error", "msg": message }).to_string(),
        LogFormat::Text => format!("level=error msg={message:?}"),
    };
    if let Ok(mut file) = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)
    {
        // The same line goes to stderr and the system's log.
        let _ = writeln!(file, "{line}");
    }
}
