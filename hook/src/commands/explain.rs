//! `portcullis-hook explain`: shows what the gate would decide for a bundle, and why.

use crate::{
    exit::Code,
    gate::{Maker, Moment, evaluate},
    oci::config::{OciConfig, OciError, read_bundle},
    report,
};
use portcullis_profile::{Engine, gate::Evaluation, settings::Settings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The bundle, which is the folder that contains config.json.
    #[arg(long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Decides as applying and verifying would, and prints both results.
#[allow(clippy::print_stdout)]
pub(crate) fn run(
    settings: &Path,
    engine: Option<Engine>,
    arguments: &Arguments,
) -> Result<(), Code> {
    let text = explain(settings, engine, arguments)
        .map_err(|error| report::failure(error.code(), &error.to_string()))?;
    println!("{text}");
    Ok(())
}

fn explain(
    settings: &Path,
    engine: Option<Engine>,
    arguments: &Arguments,
) -> Result<String, OciError> {
    let text = read_bundle(&arguments.bundle)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let at = |moment| evaluate(moment, &config, &settings, engine, Maker::UNKNOWN);
    let (apply, verify) = (at(Moment::Apply), at(Moment::Verify(None)));
    if arguments.json {
        let both = json!({
            "engine": apply.engine,
            "identity": apply.identity,
            "annotation": apply.annotation,
            "reference": apply.reference,
            "settingsError": settings.as_ref().err().map(ToString::to_string),
            "apply": value(&apply),
            "verify": value(&verify),
        });
        return Ok(format!("{both:#}"));
    }
    let mut lines = vec![
        format!("engine: {}", apply.engine),
        format!("apply (inject, portcullis-runtime): {}", sentence(&apply)),
        format!("verify: {}", sentence(&verify)),
    ];
    if let Err(error) = &settings {
        lines.push(format!("settings: {error}"));
    }
    Ok(lines.join("\n"))
}

fn sentence(evaluation: &Evaluation) -> String {
    let word = match evaluation.reason() {
        None => "would pass: ".to_owned(),
        Some(reason) => format!("would refuse (exit code {}): ", reason.code().number()),
    };
    word + &evaluation.line()
}

fn value(evaluation: &Evaluation) -> Value {
    let message = evaluation.line();
    match evaluation.reason() {
        None => json!({ "passes": true, "message": message }),
        Some(reason) => json!({
            "passes": false,
            "code": reason.code().number(),
            "reason": reason.code().word(),
            "message": message,
        }),
    }
}
