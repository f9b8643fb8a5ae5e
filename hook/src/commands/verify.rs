//! `portcullis-hook verify`: the OCI hook that refuses.

use crate::{
    exit::Code,
    gate::{Running, Stage, decide},
    oci::{
        bundle,
        config::{OciConfig, OciError, read_text},
        state::HookState,
    },
    report,
};
use portcullis_profile::{Engine, settings::Settings};
use std::{io, path::Path, process::ExitCode};

/// Reads the state, decides, says so.
pub fn run(settings: &Path, engine: Option<Engine>) -> ExitCode {
    match verify(settings, engine) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report::failure(Code::Input, &error.to_string()).into(),
    }
}

fn verify(settings: &Path, engine: Option<Engine>) -> Result<u8, OciError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let state = HookState::parse(&text)?;
    let text = bundle::read(&state)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let running = Running {
        id: &state.id,
        init: state.pid,
    };
    let ruling = decide(Stage::Verify(Some(running)), &config, &settings, engine);
    let settings = settings.unwrap_or_default();
    Ok(report::ruling("verify", Some(&state.id), &ruling, &settings).code())
}
