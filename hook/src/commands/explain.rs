//! `portcullis-hook explain`: what would be decided for a bundle, and why, without refusing.

use crate::{
    exit::Code,
    gate::{Ruling, Stage, decide},
    oci::config::{OciConfig, OciError, read_bundle},
    report,
};
use portcullis_profile::{Engine, settings::Settings};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The bundle: the folder that holds config.json.
    #[arg(long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Decides as both stages would and prints it.
#[allow(clippy::print_stdout)]
pub fn run(settings: &Path, engine: Option<Engine>, arguments: &Arguments) -> ExitCode {
    match explain(settings, engine, arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => report::failure(Code::Input, &error.to_string()).into(),
    }
}

fn explain(
    settings: &Path,
    engine: Option<Engine>,
    arguments: &Arguments,
) -> Result<String, OciError> {
    let text = read_bundle(&arguments.bundle)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let apply = decide(Stage::Apply, &config, &settings, engine);
    let verify = decide(Stage::Verify(None), &config, &settings, engine);
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

fn sentence(ruling: &Ruling) -> String {
    let word = match &ruling.result {
        Ok(_) => "would pass: ".to_owned(),
        Err(refusal) => format!("would refuse (exit code {}): ", refusal.code().number()),
    };
    word + &report::line(ruling)
}

fn value(ruling: &Ruling) -> Value {
    match &ruling.result {
        Ok(_) => json!({ "passes": true, "message": report::line(ruling) }),
        Err(refusal) => json!({
            "passes": false,
            "code": refusal.code().number(),
            "reason": refusal.code().as_str(),
            "message": report::line(ruling),
        }),
    }
}
