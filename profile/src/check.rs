//! The findings of `portcullis-hook check`, for people and programs, and the file in which a timer
//! keeps them for the operator's agent.

use crate::private_folder::{Others, PrivateFolder, make_one};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// Where the last findings of a node are.
pub const FILE: &str = "/run/portcullis/check.json";

/// The longest such file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

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

impl Finding {
    /// The subject, what was found and what to do, on one line.
    fn line(&self) -> String {
        let mut line = self.subject.clone();
        for (mark, part) in [(": ", &self.text), ("; ", &self.remedy)] {
            if !part.is_empty() {
                line.push_str(mark);
                line.push_str(part);
            }
        }
        line.replace(char::is_control, " ")
    }
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

    /// Stores the report as a file that only its owner can read (mode 0600). Its folder is created if
    /// it is missing, and must be one that nobody else can write.
    ///
    /// # Errors
    /// The folder or the file can't be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = split(path)?;
        make_one(folder, 0o755)?;
        let text = serde_json::to_vec(self)?;
        PrivateFolder::open(folder, Others::MayRead)?.replace(name, &text)
    }

    /// Reads a stored report. It must belong to this user, and nobody else may write it.
    ///
    /// # Errors
    /// There is none, or it can't be read, or it is of another version.
    pub fn read(path: &Path) -> io::Result<Report> {
        let (folder, name) = split(path)?;
        let text = PrivateFolder::open(folder, Others::MayRead)?.read(name, MAX_BYTES)?;
        let report: Report = serde_json::from_slice(&text)?;
        if report.version != VERSION {
            let version = report.version;
            return Err(io::Error::other(format!("it is of version {version}")));
        }
        Ok(report)
    }

    /// One line for each finding.
    pub fn lines(&self) -> Vec<String> {
        let line = |finding: &Finding| format!("{:<8} {}", finding.level.as_str(), finding.line());
        self.findings.iter().map(line).collect()
    }

    /// The first problem in words, if there is any, and how many more there are.
    pub fn first_problem(&self) -> Option<String> {
        let mut problems = self.findings.iter();
        let first = problems.find(|finding| finding.level == Level::Problem)?;
        let more = problems.filter(|finding| finding.level == Level::Problem);
        Some(match more.count() {
            0 => first.line(),
            count => format!("{} (and {count} more)", first.line()),
        })
    }
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent()
        .zip(name)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_report_is_read_back_by_its_owner_unless_others_may_write_it() {
        let above = tempfile::tempdir().unwrap();
        let file = above.path().join("portcullis/check.json");
        let mut report = Report::new(7);
        report.ok("a", "b");
        assert_eq!(report.first_problem(), None);
        report.problem("the hook", "is away", "install it");
        report.problem("the folder", "is a link", "");
        let first = "the hook: is away; install it (and 1 more)";
        assert_eq!(report.first_problem().as_deref(), Some(first));
        report.write(&file).unwrap();
        assert_eq!(Report::read(&file).unwrap(), report);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        report.version = 2;
        report.write(&file).unwrap();
        Report::read(&file).unwrap_err();
        report.version = VERSION;
        report.write(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        Report::read(&file).unwrap_err();
        Report::read(above.path()).unwrap_err();
    }
}
