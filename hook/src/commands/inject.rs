//! `portcullis-hook inject`: Podman's precreate stage, the configuration on stdin, the changed
//! one on stdout.

use crate::{
    exit::Code,
    gate::{Stage, decide, denials::applied},
    oci::config::{OciConfig, OciError, read_text},
    report::{self, End},
};
use portcullis_profile::{Engine, settings::Settings};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// Reads, decides, writes.
pub fn run(settings: &Path, engine: Option<Engine>) -> ExitCode {
    match inject(settings, engine) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report::failure(Code::Input, &error.to_string()).into(),
    }
}

fn inject(settings: &Path, engine: Option<Engine>) -> Result<u8, OciError> {
    let text = read_text(
        io::stdin().lock(),
        "config.json on stdin",
        Path::new("stdin"),
    )?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let ruling = decide(Stage::Apply, &config, &settings, engine);
    let settings = settings.unwrap_or_default();
    let changed = match &ruling.result {
        Ok(passed) => applied(passed, &config)?,
        Err(_) => None,
    };
    let end = report::ruling("inject", None, &ruling, &settings);
    if end == End::Starts {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(changed.as_deref().unwrap_or(&text).as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|source| OciError::Write {
                path: "stdout".into(),
                source,
            })?;
    }
    Ok(end.code())
}
