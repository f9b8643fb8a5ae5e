//! `portcullis-hook record`: the OCI hook that starts recording a container that asks for it.

use super::ended;
use crate::{
    exit::Code,
    oci::{
        bundle,
        config::{OciConfig, OciError, read_text},
        state::HookState,
    },
    recorder::{
        RecordError,
        request::{is_marked, request},
        start::{Container, StartOutcome, start},
    },
    report,
};
use portcullis_profile::{
    Engine,
    select::identity::Identity,
    settings::{LogLevel, OnFailure, Settings},
};
use std::{io, path::Path};

/// Reads the state, and starts recording if the container asks for it and may be recorded.
pub(crate) fn run(settings: &Path, engine: Option<Engine>) -> Result<(), Code> {
    ended(record(settings, engine))
}

fn record(path: &Path, engine: Option<Engine>) -> Result<Option<Code>, OciError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let state = HookState::parse(&text)?;
    let text = bundle::read(&state)?;
    let config = OciConfig::parse(&text)?;
    let loaded = Settings::load(path);
    let fallback = Settings::default();
    let settings = loaded.as_ref().unwrap_or(&fallback);
    let engine = engine.unwrap_or(settings.engine);
    let annotations = config.annotations().clone();
    let identity = Identity::of(engine, &annotations);
    let about = report::about(&identity);
    let outcome = request(engine, &identity, &annotations, &settings.record).and_then(|asked| {
        let Some(asked) = asked else { return Ok(None) };
        if let Err(error) = &loaded {
            return Err(RecordError::Settings(error.to_string()));
        }
        let container = Container {
            id: &state.id,
            init: state.pid.ok_or(RecordError::NoProcess)?,
            bundle: &state.bundle,
            config: &config,
            identity,
            engine,
        };
        start(asked, container, settings).map(Some)
    });
    let outcome = match outcome {
        // Whatever else applies, no container runs unrecorded with its denials logged.
        Ok(None) if is_marked(&annotations) => Err(RecordError::Relaxed(
            "its annotations don't ask for a recording".to_owned(),
        )),
        Ok(Some(StartOutcome::Unrecorded(why))) if is_marked(&annotations) => {
            Err(RecordError::Relaxed(why))
        }
        other => other,
    };
    let may_start = settings.record.on_failure == OnFailure::Start && !is_marked(&annotations);
    Ok(match outcome {
        Ok(None) => None,
        Ok(Some(StartOutcome::Recording { profile, warnings })) => {
            let say = |level, text: &str| report::say(settings.log_level, level, text);
            for warning in warnings {
                say(LogLevel::Warn, &format!("warning: {about}: {warning}"));
            }
            let file = profile.display();
            say(
                LogLevel::Info,
                &format!("recording: {about}: the profile will be {file}"),
            );
            None
        }
        Ok(Some(StartOutcome::Unrecorded(why))) => {
            report::say(
                settings.log_level,
                LogLevel::Warn,
                &format!("warning: {about}: starts unrecorded: {why}"),
            );
            None
        }
        Err(error) if may_start => {
            report::say(
                settings.log_level,
                LogLevel::Warn,
                &format!("warning: {about}: starts unrecorded: {error}"),
            );
            None
        }
        Err(error) => {
            let message = format!("{about}: can't be recorded: {error}");
            Some(report::failure(Code::Recording, &message))
        }
    })
}
