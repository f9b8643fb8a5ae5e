//! `portcullis-hook recordings`: lists running recordings, and shows the profile that one would
//! produce now.

use crate::{
    clock::now,
    exit::Code,
    recorder::{
        RecordError,
        live::{list, snapshot},
        names, profile,
    },
    report,
};
use portcullis_profile::settings::Settings;
use serde_json::json;
use std::{fmt::Write, path::Path};

/// Arguments of `recordings`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the running recordings.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the profile that a running recording would produce now.
    Show {
        /// The container's ID, or its first characters.
        id: String,
    },
}

/// Prints it.
#[allow(clippy::print_stdout)]
pub(crate) fn run(path: &Path, arguments: &Arguments) -> Result<(), Code> {
    let settings = Settings::load(path).map_err(report::failing(Code::Settings))?;
    let printed = match &arguments.what {
        What::List { json } => listed(&settings, *json),
        What::Show { id } => shown(&settings, id).map(|text| (text, Vec::new())),
    };
    let (text, broken) = printed.map_err(report::failing(Code::Recording))?;
    print!("{text}");
    let mut result = Ok(());
    for error in broken {
        result = Err(report::failure(Code::Recording, &error.to_string()));
    }
    result
}

/// The list, and the errors of recordings that could not be read.
fn listed(settings: &Settings, json: bool) -> Result<(String, Vec<RecordError>), RecordError> {
    let (running, broken) = list(&settings.record)?;
    if json {
        let all: Vec<_> = running
            .iter()
            .map(|active| {
                json!({ "id": active.id, "identity": active.identity, "started": active.started,
                    "profile": active.output().path() })
            })
            .collect();
        return Ok((format!("{:#}\n", json!(all)), broken));
    }
    let mut text = format!("{:<14} {:<8} {:<40} PROFILE\n", "CONTAINER", "AGE", "POD");
    for active in running {
        let age = humantime::format_duration(std::time::Duration::from_secs(
            now().saturating_sub(active.started),
        ));
        let id: String = active.id.chars().take(12).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{id:<14} {:<8} {:<40} {}",
            age.to_string().replace(' ', ""),
            active.identity.to_string(),
            active.output().path().display()
        );
    }
    Ok((text, broken))
}

fn shown(settings: &Settings, id: &str) -> Result<String, RecordError> {
    let (active, observed) = snapshot(id, &settings.record)?;
    let names = names::names(&active, &observed);
    let filter = profile::profile(&active, &names, settings.record.default_action)?;
    profile::text(&filter, &active.output().path())
}
