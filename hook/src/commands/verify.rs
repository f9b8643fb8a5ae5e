//! `portcullis-hook verify`: the OCI hook that refuses.

use crate::{
    config::{Config, ConfigError, read_bundle, read_text},
    exit::Code,
    gate::{Running, Stage, decide},
    report,
};
use oci_spec::runtime::State;
use portcullis_profile::{Engine, settings::Settings};
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Reads the state, decides, says so.
pub fn run(settings: &Path, engine: Option<Engine>) -> ExitCode {
    match verify(settings, engine) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report::failure(Code::Input, &error.to_string()).into(),
    }
}

/// What a hook is told of its container.
#[derive(Debug)]
pub struct Told {
    /// The container's ID.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The process id of its init, where it has one.
    pub pid: Option<u32>,
}

/// Parses the state that a runtime writes to a hook's standard input (runtime-spec, `runtime.md`).
///
/// # Errors
/// It is not JSON of that form.
pub fn parse_state(text: &str) -> Result<Told, ConfigError> {
    let state: State = serde_json::from_str(text).map_err(|source| ConfigError::Invalid {
        what: "the state on stdin",
        source,
    })?;
    Ok(Told {
        id: state.id().clone(),
        bundle: state.bundle().clone(),
        pid: state.pid().and_then(|pid| u32::try_from(pid).ok()),
    })
}

fn verify(settings: &Path, engine: Option<Engine>) -> Result<u8, ConfigError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let told = parse_state(&text)?;
    let text = read_bundle(&told.bundle)?;
    let config = Config::parse(&text)?;
    let settings = Settings::load(settings);
    let running = Running {
        id: &told.id,
        init: told.pid,
    };
    let ruling = decide(Stage::Verify(Some(running)), &config, &settings, engine);
    let settings = settings.unwrap_or_default();
    Ok(report::ruling("verify", Some(&told.id), &ruling, &settings).code())
}
