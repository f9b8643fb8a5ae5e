//! Denials that are logged instead of enforced, `[record] log_denials` of hook.toml: for which
//! container the filter is relaxed, and that none starts so without being recorded.
//!
//! What applies the filter marks `config.json`. The mark gives nothing: it makes `record` and
//! `verify` refuse a container that is not being recorded, so whoever forges it harms himself.

use super::{Passed, Refusal, Running};
use crate::{
    config::{Config, ConfigError},
    recorder::{
        request::request,
        session::{hindrance, recorded},
    },
};
use portcullis_profile::{
    Engine, Filter,
    identity::{Annotations, Identity},
    parse_filter,
    relax::relax,
    settings::Settings,
};

/// The annotation in `config.json` that says that its filter was relaxed.
pub const MARK: &str = "portcullis.dev/denials-logged";

/// Whether a configuration is marked.
pub fn is_marked(annotations: &Annotations) -> bool {
    annotations.contains_key(MARK)
}

/// Whether the denials of a container's filter are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denials {
    /// They are.
    Enforced,
    /// They are, though the container asks for a recording and settings would have them logged.
    Kept(String),
    /// They are logged.
    Logged,
}

impl Denials {
    /// As they may be when a filter is applied.
    pub fn to_apply(
        config: &Config<'_>,
        annotations: &Annotations,
        identity: &Identity,
        engine: Engine,
        settings: &Settings,
    ) -> Denials {
        if !settings.record.log_denials {
            return Denials::Enforced;
        }
        let asked = match request(engine, identity, annotations, &settings.record) {
            Ok(None) => return Denials::Enforced,
            Ok(Some(asked)) => asked,
            Err(error) => return Denials::Kept(error.to_string()),
        };
        if !config.is_recorded_before_it_is_verified() {
            return Denials::Kept("no hook in config.json records it before verify".to_owned());
        }
        match hindrance(&asked, identity, engine, settings) {
            Ok(None) => Denials::Logged,
            Ok(Some(why)) => Denials::Kept(why),
            Err(error) => Denials::Kept(error.to_string()),
        }
    }

    /// As they may be when a filter is verified.
    ///
    /// # Errors
    /// The filter was relaxed for a recording that is not there.
    pub fn to_verify(
        annotations: &Annotations,
        running: Option<Running<'_>>,
        settings: &Settings,
    ) -> Result<Denials, Refusal> {
        if !is_marked(annotations) {
            return Ok(Denials::Enforced);
        }
        let running = running
            .and_then(|running| Some((running.id, running.init?)))
            .ok_or_else(|| Refusal::Unrecorded("no running container is known here".to_owned()))?;
        match recorded(running.0, running.1, &settings.record) {
            Ok(true) if settings.record.log_denials => Ok(Denials::Logged),
            Ok(true) => Ok(Denials::Enforced),
            Ok(false) => Err(Refusal::Unrecorded("is the record hook there?".to_owned())),
            Err(error) => Err(Refusal::Unrecorded(error.to_string())),
        }
    }

    /// Whether `there` is the relaxed form of a selected filter and may be.
    pub fn allow(&self, selected: &Filter) -> Option<Filter> {
        match self {
            Denials::Logged => relax(selected),
            _ => None,
        }
    }
}

/// What passed at the gate with its filter relaxed, the one that is to be set or the one that is
/// there; unchanged where that denies nothing.
pub(super) fn relaxed(passed: Passed, config: &Config<'_>) -> Passed {
    let filter = match &passed {
        Passed::Set(filter) => relax(filter),
        // A filter that can't be read is the runtime's to refuse.
        _ => config
            .seccomp()
            .and_then(|text| parse_filter(text.as_bytes()).ok())
            .and_then(|filter| relax(&filter)),
    };
    filter.map_or(passed, |filter| Passed::Relaxed(Box::new(filter)))
}

/// The changed text of `config.json`; `None` where it stays as it is.
///
/// # Errors
/// It can't be written as JSON.
pub fn applied(passed: &Passed, config: &Config<'_>) -> Result<Option<String>, ConfigError> {
    match passed {
        Passed::Set(filter) => config.with_filter(filter).map(Some),
        Passed::Relaxed(filter) => {
            let text = config.with_filter(filter)?;
            Config::parse(&text)?
                .with_annotation(MARK, "true")
                .map(Some)
        }
        _ => Ok(None),
    }
}
