//! `portcullis-hook inject`: Podman's precreate hook, which gets config.json on stdin and prints
//! the changed one on stdout.

use super::ended;
use crate::{
    exit::Code,
    gate::{Maker, Moment, changed, evaluate},
    oci::config::{OciConfig, OciError, read_text},
    report,
};
use portcullis_profile::{Engine, settings::Settings};
use std::{
    io::{self, Write},
    path::Path,
};

/// Reads, decides, writes.
pub(crate) fn run(settings: &Path, engine: Option<Engine>) -> Result<(), Code> {
    ended(inject(settings, engine))
}

fn inject(settings: &Path, engine: Option<Engine>) -> Result<Option<Code>, OciError> {
    let text = read_text(
        io::stdin().lock(),
        "config.json on stdin",
        Path::new("stdin"),
    )?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let evaluation = evaluate(Moment::Apply, &config, &settings, engine, Maker::UNKNOWN);
    let settings = settings.unwrap_or_default();
    let changed = changed(&evaluation, &config)?;
    report::evaluation("inject", None, &evaluation, &settings);
    if evaluation.code().is_none() {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(changed.as_deref().unwrap_or(&text).as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|source| OciError::Write {
                path: "stdout".into(),
                source,
            })?;
    }
    Ok(evaluation.code())
}
