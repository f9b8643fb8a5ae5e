//! `portcullis-hook verify`: the OCI hook that refuses.

use crate::{
    exit::Code,
    gate::{Maker, Moment, Running, evaluate},
    oci::{
        bundle,
        config::{OciConfig, OciError, read_text},
        parent::ParentRuntime,
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
    let text = bundle::read(&state)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let running = Running {
        id: &state.id,
        init: state.pid,
    };
    let moment = Moment::Verify(Some(running));
    let parent = ParentRuntime::of(&state.id);
    let reader = parent
        .as_ref()
        .map_or(Runtime::Either, |parent| parent.kind.reader());
    let executed = parent.as_ref().and_then(|parent| parent.executed.clone());
    let crun = parent
        .filter(|_| reader == Runtime::Crun)
        .map(ParentRuntime::into_container);
    let maker = Maker {
        reader,
        crun: crun.as_ref(),
        executed: executed.as_deref(),
    };
    let evaluation = evaluate(moment, &config, &settings, engine, maker);
    let settings = settings.unwrap_or_default();
    report::evaluation("verify", Some(&state.id), &evaluation, &settings);
    Ok(evaluation.code())
}
