//! What a request to be recorded means for the container's filter (`[record] log_denials` in
//! hook.toml), as an input of the evaluator.
//!
//! Setting a filter whose denials are logged also marks `config.json`. The mark grants nothing: it
//! makes `record` and `verify` refuse a container that is not being recorded, so forging it only
//! gets the forger's own container refused.

use super::Running;
use crate::{
    oci::config::OciConfig,
    recorder::{intent::RecordingIntent, live::is_recorded, request::is_marked},
};
use portcullis_profile::{
    Engine,
    gate::Recording,
    select::identity::{Annotations, Identity},
    settings::Settings,
};

/// When applying: whether the container will be recorded.
pub fn to_apply(
    config: &OciConfig<'_>,
    identity: &Identity,
    engine: Engine,
    settings: &Settings,
) -> Recording {
    if !settings.record.log_denials {
        return Recording::Enforced;
    }
    let intent = RecordingIntent::of(engine, identity, config, settings);
    if intent == RecordingIntent::NotRequested {
        return Recording::Enforced;
    }
    if !config.is_recorded_before_it_is_verified() {
        return Recording::Kept("config.json has no record hook before verify".to_owned());
    }
    match intent {
        RecordingIntent::NotRequested => Recording::Enforced,
        RecordingIntent::WillRecord => Recording::Logged,
        RecordingIntent::Unrecorded(why) | RecordingIntent::Impossible(why) => Recording::Kept(why),
    }
}

/// When verifying: whether a marked container is being recorded.
pub fn to_verify(
    annotations: &Annotations,
    running: Option<Running<'_>>,
    settings: &Settings,
) -> Recording {
    if !is_marked(annotations) {
        return Recording::Enforced;
    }
    let Some((id, init)) = running.and_then(|running| Some((running.id, running.init?))) else {
        return Recording::Unrecorded("the running container is not known here".to_owned());
    };
    match is_recorded(id, init, &settings.record) {
        Ok(()) if settings.record.log_denials => Recording::Logged,
        Ok(()) => Recording::Enforced,
        Err(why) => Recording::Unrecorded(why),
    }
}
