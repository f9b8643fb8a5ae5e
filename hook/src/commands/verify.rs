//! `portcullis-hook verify`: the OCI hook that refuses.

use crate::{
    exit::Code,
    gate::{Moment, Running, evaluate},
    oci::{
        config::{OciConfig, OciError, read_bundle, read_text},
        state::HookState,
    },
    report,
};
use portcullis_profile::{Engine, filter::reader::Runtime, settings::Settings};
use std::{io, path::Path, process::ExitCode};

/// Reads the state, decides, says so.
pub fn run(settings: &Path, engine: Option<Engine>) -> ExitCode {
    match verify(settings, engine) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(code)) => code.into(),
        Err(error) => report::failure(error.code(), &error.to_string()).into(),
    }
}

fn verify(settings: &Path, engine: Option<Engine>) -> Result<Option<Code>, OciError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let state = HookState::parse(&text)?;
    let text = read_bundle(&state.bundle)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let running = Running {
        id: &state.id,
        init: state.pid,
    };
    let moment = Moment::Verify(Some(running));
    let evaluation = evaluate(moment, &config, &settings, engine, Runtime::Either);
    let settings = settings.unwrap_or_default();
    report::evaluation("verify", Some(&state.id), &evaluation, &settings);
    Ok(evaluation.code())
}
