//! `portcullis lint`: what is wrong with profiles, and what their compiled filters really do.

use super::{CommandError, Ending};
use crate::{
    input::{Situation, name, read, standard_input_once},
    output::print,
};
use portcullis_profile::{
    Document,
    filter::reader::Runtime,
    program::{Examiner, Memo, compile::unprotected_by_runtime},
};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The gate reads no larger document by default (`max_profile_bytes` in hook.toml).
const GATE_READS: usize = 1024 * 1024;

/// Arguments of `lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The profiles.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON: a list with an object for each finding.
    #[arg(long)]
    json: bool,
    /// Exit with 1 for warnings too.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    situation: Situation,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// It works, but perhaps not as its author thinks.
    Warning,
    /// The gate refuses the profile, and the operator does not install it.
    Error,
}

/// Something to say about a profile.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    file: String,
    level: Level,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{}: {level}: {}", self.file, self.message)
    }
}

/// Checks the profiles and prints what is found.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    standard_input_once(&arguments.files)?;
    let mut findings = Vec::new();
    for path in &arguments.files {
        let text = read(path)?;
        findings.extend(lint(path, &text, &arguments.situation));
    }
    let text = if arguments.json {
        let text = serde_json::to_string_pretty(&findings);
        text.map_err(|error| CommandError::Unusable(error.to_string()))? + "\n"
    } else {
        let lines = findings
            .iter()
            .flat_map(|finding| [finding.to_string(), "\n".to_owned()]);
        lines.collect()
    };
    print(&text)?;
    let limit = if arguments.strict {
        Level::Warning
    } else {
        Level::Error
    };
    if findings.iter().any(|finding| finding.level >= limit) {
        Ok(Ending::Found)
    } else {
        Ok(Ending::Good)
    }
}

/// Everything about one profile: its errors, or, if it has none, its warnings.
fn lint(path: &Path, text: &[u8], situation: &Situation) -> Vec<Finding> {
    let finding = |level, message: String| Finding {
        file: name(path),
        level,
        message,
    };
    let error = |message: String| finding(Level::Error, message);
    let Ok(document) = Document::parse(text) else {
        let problems = Document::problems(text);
        return problems.iter().map(|one| error(one.to_string())).collect();
    };
    let warnings = situation.within(|context| document.warnings_in(context));
    let mut findings: Vec<Finding> = warnings
        .iter()
        .map(|one| finding(Level::Warning, one.to_string()))
        .collect();
    if text.len() > GATE_READS {
        findings.push(error(format!(
            "it has {} bytes, and the gate reads at most {GATE_READS} unless hook.toml says otherwise",
            text.len()
        )));
    }
    let filter = match situation.within(|context| document.resolve(context)) {
        Ok(filter) => filter,
        Err(problem) => {
            findings.push(error(problem.to_string()));
            return findings;
        }
    };
    if !situation.is_native() {
        findings.push(finding(
            Level::Warning,
            "what the compiled filter does was not checked: that takes a machine of the same architecture".to_owned(),
        ));
        return findings;
    }
    let lost = unprotected_by_runtime(&filter);
    if !lost.is_empty() {
        findings.push(error(format!(
            "this machine's libseccomp does not know {}, so that these rules would not be there",
            lost.join(", ")
        )));
    }
    match Examiner::new(&Memo::none()).effect(&filter, Runtime::Either) {
        Ok(notes) => {
            findings.extend(notes.into_iter().map(|note| finding(Level::Warning, note)));
        }
        Err(reason) => findings.push(error(reason.to_string())),
    }
    findings
}
