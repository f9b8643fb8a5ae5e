//! `portcullis-hook collect`: the OCI hook that ends a recording and writes its profile. With
//! `--stale`, does the same for recordings that no hook ended.

use crate::{
    exit::Code,
    oci::{config::read_text, state::HookState},
    recorder::{finish::collect, stale::collect_stale},
    report,
};
use portcullis_profile::settings::{LogLevel, Settings};
use std::{io, path::Path};

/// Arguments of `collect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write the profiles of recordings whose container exited or vanished, or that ran
    /// for too long, instead of reading a state.
    #[arg(long)]
    stale: bool,
}

/// Ends recordings and reports what was written.
pub(crate) fn run(path: &Path, arguments: &Arguments) -> Result<(), Code> {
    let settings = Settings::load(path).map_err(report::failing(Code::Settings))?;
    if arguments.stale {
        return stale(&settings);
    }
    let state = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))
        .and_then(|text| HookState::parse(&text))
        .map_err(report::failing(Code::Input))?;
    let written = collect(&state.id, &settings.record).map_err(report::failing(Code::Recording))?;
    if let Some(file) = written {
        let line = format!("recorded: container {}: {}", state.id, file.display());
        report::say(settings.log_level, LogLevel::Info, &line);
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn stale(settings: &Settings) -> Result<(), Code> {
    let results = collect_stale(&settings.record).map_err(report::failing(Code::Recording))?;
    let mut ended = Ok(());
    for result in results {
        match result {
            Ok(written) => {
                let (file, end) = (written.profile.display(), written.end);
                println!("{file}: {}", end.sentence());
                let line = format!(
                    "recorded: container {}: {}: {file}",
                    written.id,
                    end.sentence()
                );
                report::say(settings.log_level, LogLevel::Info, &line);
            }
            Err(error) => ended = Err(report::failure(Code::Recording, &error.to_string())),
        }
    }
    ended
}
