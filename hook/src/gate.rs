//! From a container's `config.json` to its evaluation and back: builds the evaluator's input for a
//! hook or the wrapper, and the changed `config.json`.

pub mod recording;

use crate::oci::config::{OciConfig, OciError};
use portcullis_profile::{
    Engine,
    compose::inert::with_inert_rule,
    document::kernel::KernelVersion,
    filter::reader::Runtime,
    gate::{Evaluation, Input, PresentFilter, Recording, Stage, Verdict},
    gather::{crun::CrunContainer, decide, files::Files},
    program::memo::{self, Memo},
    select::{
        annotations::{DENIALS_LOGGED_ANNOTATION, selects},
        identity::Identity,
    },
    settings::{Settings, SettingsError},
};
use std::{borrow::Cow, path::Path};

/// The point in a container's start at which the gate decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// The container can still be changed: `inject` and the wrapper.
    Apply,
    /// It cannot: `verify`, with the container if it is known.
    Verify(Option<Running<'a>>),
    /// It is restored from a checkpoint image: the wrapper.
    Restore,
}

/// What the NRI plugin told the hook that it put into a container. containerd hides a pod's
/// annotations from hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Which container it is.
    pub identity: Identity,
    /// The annotation that selects, with its value.
    pub selection: Option<(String, String)>,
    /// Whether the plugin set the container's filter.
    pub set_filter: bool,
    /// Whether the container's field asked for the engine's default.
    pub says_default: bool,
}

/// A container that the runtime has created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The process ID of its init.
    pub init: Option<u32>,
}

/// The runtime that creates a container, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    /// How it reads a filter.
    pub reader: Runtime,
    /// The container, if crun creates it or may create it.
    pub crun: Option<&'a CrunContainer>,
    /// The path that the engine executed.
    pub executed: Option<&'a Path>,
}

impl Maker<'_> {
    /// Nothing is known.
    pub const UNKNOWN: Maker<'static> = Maker {
        reader: Runtime::Either,
        crun: None,
        executed: None,
    };
}

/// Decides on one container. `engine` overrides the settings. If the settings are invalid, only a
/// container that selects something is refused.
pub fn evaluate(
    moment: Moment<'_>,
    config: &OciConfig<'_>,
    settings: &Result<Settings, SettingsError>,
    engine: Option<Engine>,
    maker: Maker<'_>,
) -> Evaluation {
    evaluate_told(moment, config, settings, engine, maker, None)
}

/// The same, with what the NRI plugin told.
pub fn evaluate_told(
    moment: Moment<'_>,
    config: &OciConfig<'_>,
    settings: &Result<Settings, SettingsError>,
    engine: Option<Engine>,
    maker: Maker<'_>,
    told: Option<&Told>,
) -> Evaluation {
    let fallback = Settings::default();
    let usable = settings.as_ref().unwrap_or(&fallback);
    let engine = engine.unwrap_or(usable.engine);
    let mut annotations = Cow::Borrowed(config.annotations());
    let identity = match told {
        Some(told) => {
            let all = annotations.to_mut();
            all.retain(|key, _| !selects(key));
            all.extend(told.selection.clone());
            told.identity.clone()
        }
        None => Identity::of(engine, &annotations),
    };
    let annotations = &*annotations;
    let recording = match moment {
        Moment::Apply => recording::to_apply(config, &identity, engine, usable),
        Moment::Verify(running) => recording::to_verify(annotations, running, usable),
        Moment::Restore => Recording::Enforced,
    };
    let input = Input {
        stage: match moment {
            Moment::Apply => Stage::Apply,
            Moment::Verify(_) => Stage::Verify,
            Moment::Restore => Stage::Restore,
        },
        engine,
        identity: &identity,
        annotations,
        settings: settings.as_ref(),
        present: config
            .seccomp()
            .map_or(PresentFilter::None, PresentFilter::Document),
        says_default: told.map_or_else(
            || engine.says_runtime_default(annotations),
            |told| told.says_default,
        ),
        bounding: config.bounding(),
        kernel: KernelVersion::running_or_oldest(),
        recording,
        set_by_nri: told.is_some_and(|told| told.set_filter),
    };
    decide(
        &input,
        &Files {
            settings: usable,
            runtime: maker.reader,
            crun: maker.crun,
            executed: maker.executed,
            memo: &Memo::at(Path::new(memo::FOLDER), "gate"),
        },
    )
}

/// The changed text of `config.json`; `None` if it stays as it is.
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
    let text = config.with_filter(&with_inert_rule(filter))?;
    if !denials_logged {
        return Ok(Some(text));
    }
    OciConfig::parse(&text)?
        .with_annotation(DENIALS_LOGGED_ANNOTATION, "true")
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::{
        gate::{Code, Reason},
        settings::{Mode, Require},
    };

    const POD: &str = r#""seccomp.security.alpha.kubernetes.io/pod":"#;

    fn restoring(annotations: &str, settings: &Result<Settings, SettingsError>) -> Evaluation {
        let text = format!(r#"{{"annotations":{{{annotations}}}}}"#);
        let config = OciConfig::parse(&text).unwrap();
        let engine = Some(Engine::CriO);
        evaluate(Moment::Restore, &config, settings, engine, Maker::UNKNOWN)
    }

    #[test]
    fn what_selects_or_needs_a_filter_is_not_restored() {
        let free = Ok(Settings::default());
        let strict = Ok(Settings {
            require: Require::AnyFilter,
            ..Settings::default()
        });
        let refuses = |annotations: &str, settings| {
            let evaluation = restoring(annotations, settings);
            matches!(evaluation.reason(), Some(Reason::Restored))
        };
        assert!(refuses(&format!(r#"{POD}"localhost/p""#), &free));
        assert!(refuses(&format!(r#"{POD}"runtime/default""#), &free));
        assert!(!refuses(&format!(r#"{POD}"unconfined""#), &free));
        assert!(!refuses("", &free));
        assert!(refuses("", &strict));
        assert!(refuses(&format!(r#"{POD}"unconfined""#), &strict));
        let sandbox = r#""io.kubernetes.cri-o.ContainerType":"sandbox""#;
        assert!(!refuses(sandbox, &strict));
    }

    #[test]
    fn what_can_not_be_told_is_not_restored() {
        let broken = Err(SettingsError::TooLarge {
            path: "hook.toml".into(),
        });
        let code = |annotations: &str| restoring(annotations, &broken).code();
        assert_eq!(
            code(&format!(r#"{POD}"localhost/p""#)),
            Some(Code::Settings)
        );
        assert_eq!(code(&format!(r#"{POD}"../x""#)), Some(Code::Annotation));
        let hooks = r#""run.oci.hooks.stderr":"/x""#;
        let warning = Ok(Settings {
            mode: Mode::Warn,
            ..Settings::default()
        });
        let warned = |annotations: &str| restoring(annotations, &warning).code();
        assert_eq!(warned(&format!(r#"{POD}"localhost/p""#)), None);
        // That one would write a file as root, which is nothing to warn about.
        assert_eq!(warned(hooks), Some(Code::RuntimeAnnotation));
        assert_eq!(code(hooks), Some(Code::RuntimeAnnotation));
        assert_eq!(code(""), None);
    }
}
