//! `portcullis-hook record`: the OCI hook that starts recording a container that asks for it.

use super::{ended, plugin::PluginArguments};
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
    select::{
        annotations::records,
        identity::{Annotations, Identity},
    },
    settings::{LogLevel, OnFailure, Settings},
};
use std::{io, path::Path};

/// Arguments of `record`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    plugin: PluginArguments,
    /// An annotation that asks for a recording, as `KEY=VALUE`. May be repeated.
    #[arg(long, requires = "nri", value_name = "KEY=VALUE", value_parser = pair)]
    asks: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if records(key) => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not an annotation that asks for a recording".to_owned()),
    }
}

impl Arguments {
    /// The container, and its annotations with those that count.
    fn of_container(&self, engine: Engine, found: &Annotations) -> (Identity, Annotations) {
        let mut annotations = found.clone();
        let Some(identity) = self.plugin.identity() else {
            return (Identity::of(engine, found), annotations);
        };
        annotations.retain(|key, _| !records(key));
        annotations.extend(self.asks.iter().cloned());
        (identity, annotations)
    }
}

/// Reads the state, and starts recording if the container asks for it and may be recorded.
pub(crate) fn run(settings: &Path, engine: Option<Engine>, own: &Arguments) -> Result<(), Code> {
    ended(record(settings, engine, own))
}

fn record(path: &Path, engine: Option<Engine>, own: &Arguments) -> Result<Option<Code>, OciError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let state = HookState::parse(&text)?;
    let text = bundle::read(&state)?;
    let config = OciConfig::parse(&text)?;
    let loaded = Settings::load(path);
    let fallback = Settings::default();
    let settings = loaded.as_ref().unwrap_or(&fallback);
    let engine = engine.unwrap_or(settings.engine);
    let (identity, annotations) = own.of_container(engine, config.annotations());
    let about = identity.to_string();
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        own: Arguments,
    }

    fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("record").chain(words.iter().copied());
        Line::try_parse_from(words).map(|line| line.own)
    }

    #[test]
    fn what_the_plugin_tells_counts_and_annotations_that_ask_for_a_recording_do_not() {
        let in_config: Annotations = [
            ("portcullis.dev/record", "true"),
            ("portcullis.dev/denials-logged", "true"),
            ("io.kubernetes.cri.sandbox-namespace", "other"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let of = |words: &[&str]| {
            let own = parsed(words).unwrap();
            own.of_container(Engine::Containerd, &in_config)
        };
        let (identity, annotations) = of(&[
            "--nri",
            "--namespace=shop",
            "--pod=web",
            "--container=c",
            "--asks=portcullis.dev/record.c=true",
        ]);
        assert_eq!(identity.to_string(), "pod shop/web, container c");
        let asked = annotations.get("portcullis.dev/record.c");
        assert_eq!(asked.map(String::as_str), Some("true"));
        assert!(!annotations.contains_key("portcullis.dev/record") && is_marked(&annotations));
        let (identity, annotations) = of(&[]);
        assert_eq!(identity.namespace.as_deref(), Some("other"));
        assert_eq!(annotations, in_config);
    }

    #[test]
    fn only_annotations_that_ask_for_a_recording_are_taken_and_only_from_the_plugin() {
        let accepted = |words: &[&str]| parsed(words).is_ok();
        let trace = "--asks=io.containers.trace-syscall=of:/a=b";
        assert!(accepted(&["--nri", "--pod=web", trace]));
        for wrong in [
            &[trace][..],
            &["--nri", "--pod=web", "--asks=portcullis.dev/record"],
            &[
                "--nri",
                "--pod=web",
                "--asks=portcullis.dev/denials-logged=true",
            ],
        ] {
            assert!(!accepted(wrong), "{wrong:?}");
        }
    }
}
