//! `portcullis-hook verify`: the OCI hook that refuses a container without its selected filter.

use super::ended;
use crate::{
    exit::Code,
    gate::{Maker, Moment, Running, evaluate},
    oci::{
        bundle,
        config::{OciConfig, OciError, read_text},
        parent::{ParentRuntime, as_crun_makes_it},
        state::HookState,
    },
    report,
};
use portcullis_profile::{Engine, filter::reader::Runtime, settings::Settings};
use std::{io, path::Path};

/// Reads the state, decides, and reports the decision.
pub(crate) fn run(settings: &Path, engine: Option<Engine>) -> Result<(), Code> {
    ended(verify(settings, engine))
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
    let crun = as_crun_makes_it(parent.as_ref(), &state.id);
    let executed = parent
        .as_ref()
        .and_then(|parent| parent.executed.as_deref());
    let maker = Maker {
        reader,
        crun: crun.as_ref(),
        executed,
    };
    let evaluation = evaluate(moment, &config, &settings, engine, maker);
    let settings = settings.unwrap_or_default();
    report::evaluation("verify", Some(&state.id), &evaluation, &settings);
    Ok(evaluation.code())
}
