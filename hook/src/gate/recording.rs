//! What the container's request to be recorded means for its filter (`[record] log_denials` of
//! hook.toml), as an input of the evaluator.
//!
//! What applies a filter with its denials logged marks `config.json`. The mark gives nothing: it
//! makes `record` and `verify` refuse a container that is not being recorded, so whoever forges it
//! harms himself.

use super::Running;
use crate::{
    oci::config::OciConfig,
    recorder::{
        request::{is_marked, request},
        session::{hindrance, recorded},
    },
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
    let asked = match request(engine, identity, config.annotations(), &settings.record) {
        Ok(None) => return Recording::Enforced,
        Ok(Some(asked)) => asked,
        Err(error) => return Recording::Kept(error.to_string()),
    };
    if !config.is_recorded_before_it_is_verified() {
        return Recording::Kept("no hook in config.json records it before verify".to_owned());
    }
    match hindrance(&asked, identity, engine, settings) {
        Ok(None) => Recording::Logged,
        Ok(Some(why)) => Recording::Kept(why),
        Err(error) => Recording::Kept(error.to_string()),
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
    match recorded(id, init, &settings.record) {
        Ok(true) if settings.record.log_denials => Recording::Logged,
        Ok(true) => Recording::Enforced,
        Ok(false) => Recording::Unrecorded("is the record hook there?".to_owned()),
        Err(error) => Recording::Unrecorded(error.to_string()),
    }
}
