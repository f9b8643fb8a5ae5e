//! What the container's request to be recorded means for its filter (`[record] log_denials` of
//! hook.toml), as an input of the evaluator.
//!
//! What applies a filter with its denials logged marks `config.json`. The mark gives nothing: it
//! makes `record` and `verify` refuse a container that is not being recorded, so whoever forges it
//! harms himself.

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

/// As it is when a filter is applied: whether the container will be recorded.
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
        return Recording::Kept("no hook in config.json records it before verify".to_owned());
    }
    match intent {
        RecordingIntent::NotRequested => Recording::Enforced,
        RecordingIntent::WillRecord => Recording::Logged,
        RecordingIntent::Unrecorded(why) | RecordingIntent::Impossible(why) => Recording::Kept(why),
    }
}

/// As it is when a filter is verified: whether a marked container is being recorded.
pub fn to_verify(
    annotations: &Annotations,
    running: Option<Running<'_>>,
    settings: &Settings,
) -> Recording {
    if !is_marked(annotations) {
        return Recording::Enforced;
    }
    let Some((id, init)) = running.and_then(|running| Some((running.id, running.init?))) else {
        return Recording::Unrecorded("no running container is known here".to_owned());
    };
    match is_recorded(id, init, &settings.record) {
        Ok(()) if settings.record.log_denials => Recording::Logged,
        Ok(()) => Recording::Enforced,
        Err(why) => Recording::Unrecorded(why),
    }
}
