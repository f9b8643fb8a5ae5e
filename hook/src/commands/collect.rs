//! `portcullis-hook collect`: the OCI hook that ends a recording and writes its profile. With
//! `--stale`, does the same for recordings that no hook ended.

use crate::{
    exit::Code,
    oci::{config::read_text, state::HookState},
    recorder::{finish::collect, stale::collect_stale},
    report,
};
use portcullis_profile::settings::{LogLevel, Settings};
use std::{io, path::Path, process::ExitCode};

/// Arguments of `collect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write the profiles of recordings whose container exited or vanished, or that ran
    /// for too long, instead of reading a state.
    #[arg(long)]
    stale: bool,
}

/// Ends recordings and reports what was written.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let settings = match Settings::load(path) {
        Ok(settings) => settings,
        Err(error) => return report::failure(Code::Settings, &error.to_string()).into(),
    };
    if arguments.stale {
        return stale(&settings);
    }
    let state = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))
        .and_then(|text| HookState::parse(&text));
    let state = match state {
        Ok(state) => state,
        Err(error) => return report::failure(Code::Input, &error.to_string()).into(),
    };
    match collect(&state.id, &settings.record) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(file)) => {
            let line = format!("recorded: container {}: {}", state.id, file.display());
            report::say(settings.log_level, LogLevel::Info, &line);
            ExitCode::SUCCESS
        }
        Err(error) => report::failure(Code::Recording, &error.to_string()).into(),
    }
}

#[allow(clippy::print_stdout)]
fn stale(settings: &Settings) -> ExitCode {
    let results = match collect_stale(&settings.record) {
        Ok(results) => results,
        Err(error) => return report::failure(Code::Recording, &error.to_string()).into(),
    };
    let mut code = ExitCode::SUCCESS;
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
            Err(error) => code = report::failure(Code::Recording, &error.to_string()).into(),
        }
    }
    code
}
