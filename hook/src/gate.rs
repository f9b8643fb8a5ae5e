//! From a container's `config.json` to its evaluation, and back: the input of `profile`'s evaluator
//! as a hook or the wrapper knows it, and the changed text.

pub mod recording;

use crate::oci::config::{OciConfig, OciError};
use portcullis_profile::{
    Engine,
    document::kernel::KernelVersion,
    filter::reader::Runtime,
    gate::{Evaluation, Input, PresentFilter, Stage, Verdict},
    gather::{decide, files::Files},
    select::{annotations::DENIALS_LOGGED_ANNOTATION, identity::Identity},
    settings::{Settings, SettingsError},
};

/// Where in a container's start the gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// The container can still be changed: `inject` and the wrapper.
    Apply,
    /// It cannot: `verify`, where the container is known.
    Verify(Option<Running<'a>>),
}

/// A container that the runtime has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The process id of its init.
    pub init: Option<u32>,
}

/// Decides on one container. `engine` overrides the settings'; broken settings refuse only what
/// selects something.
pub fn evaluate(
    moment: Moment<'_>,
    config: &OciConfig<'_>,
    settings: &Result<Settings, SettingsError>,
    engine: Option<Engine>,
    runtime: Runtime,
) -> Evaluation {
    let fallback = Settings::default();
    let usable = settings.as_ref().unwrap_or(&fallback);
    let engine = engine.unwrap_or(usable.engine);
    let annotations = config.annotations();
    let identity = Identity::of(engine, annotations);
    let recording = match moment {
        Moment::Apply => recording::to_apply(config, &identity, engine, usable),
        Moment::Verify(running) => recording::to_verify(annotations, running, usable),
    };
    let input = Input {
        stage: match moment {
            Moment::Apply => Stage::Apply,
            Moment::Verify(_) => Stage::Verify,
        },
        engine,
        identity: &identity,
        annotations,
        settings: settings.as_ref(),
        present: config
            .seccomp()
            .map_or(PresentFilter::None, PresentFilter::Document),
        says_default: engine.says_runtime_default(annotations),
        bounding: config.bounding(),
        // No engine reads minKernel; a kernel without a readable release counts as old.
        kernel: KernelVersion::running().unwrap_or(KernelVersion {
            version: 0,
            revision: 0,
        }),
        recording,
    };
    decide(
        &input,
        &Files {
            settings: usable,
            runtime,
        },
    )
}

/// The text of `config.json` as it was decided; `None` where it stays as it is.
///
/// # Errors
/// It can't be written as JSON.
pub fn changed(
    evaluation: &Evaluation,
    config: &OciConfig<'_>,
) -> Result<Option<String>, OciError> {
    let Verdict::Set {
        filter,
        denials_logged,
    } = &evaluation.verdict
    else {
        return Ok(None);
    };
    let text = config.with_filter(filter)?;
    if !denials_logged {
        return Ok(Some(text));
    }
    OciConfig::parse(&text)?
        .with_annotation(DENIALS_LOGGED_ANNOTATION, "true")
        .map(Some)
}
