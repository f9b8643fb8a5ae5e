//! The findings of `check`, for people and programs.

use serde::{Deserialize, Serialize};

/// The version of the JSON format. It changes when a field changes its meaning.
const VERSION: u32 = 1;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not everything that one might expect.
    Warning,
    /// The gate is not in place, or refuses what it should not.
    Problem,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was checked.
    pub subject: String,
    /// What was found; empty if there is nothing to say.
    pub text: String,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: String,
}

/// Everything that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format, 1 so far.
    pub version: u32,
    /// When, in seconds since 1970-01-01 UTC.
    pub time: u64,
    /// Whether there is no problem.
    pub good: bool,
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    /// An empty report.
    pub fn new(time: u64) -> Report {
        Report {
            version: VERSION,
            time,
            good: true,
            findings: Vec::new(),
        }
    }

    /// Adds something that is as it should be.
    pub fn ok(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Ok, subject, text, "");
    }

    /// Adds a warning and what to do about it.
    pub fn warning(
        &mut self,
        subject: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Level::Warning, subject, text, remedy);
    }

    /// Adds a problem and what to do about it.
    pub fn problem(
        &mut self,
        subject: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.good = false;
        self.add(Level::Problem, subject, text, remedy);
    }

    fn add(
        &mut self,
        level: Level,
        subject: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding {
            level,
            subject: subject.into(),
            text: text.into(),
            remedy: remedy.into(),
        });
    }

    /// One line for each finding.
    pub fn lines(&self) -> Vec<String> {
        self.findings
            .iter()
            .map(|finding| {
                let mut line = format!("{:<8} {}", finding.level.as_str(), finding.subject);
                for (mark, part) in [(": ", &finding.text), ("; ", &finding.remedy)] {
                    if !part.is_empty() {
                        line.push_str(mark);
                        line.push_str(part);
                    }
                }
                line.replace(char::is_control, " ")
            })
            .collect()
    }
}
