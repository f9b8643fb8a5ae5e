//! The one place that maps reasons to exit codes. crun shows nothing else of a failing hook, so
//! each kind of refusal has a code of its own.

/// Why the program ends with something else than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything that has no code of its own.
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// hook.toml is broken and the container selects something.
    Settings = 3,
    /// The state or `config.json` can't be read.
    Input = 4,
    /// An annotation or its reference is not valid, or ambiguous.
    Annotation = 5,
    /// The profile is not there.
    ProfileMissing = 6,
    /// The profile can't be used.
    ProfileUnusable = 7,
    /// Another filter is there.
    Conflict = 8,
    /// The selected filter is not there.
    FilterMissing = 9,
    /// Settings require a filter and there is none.
    Required = 10,
    /// An annotation makes the runtime ignore its filter.
    RuntimeAnnotation = 11,
    /// The runtime's libseccomp would silently drop a rule that is stricter than the default.
    UnknownToRuntime = 12,
    /// The engine's default profile is not known.
    NoDefault = 13,
    /// What was asked to be recorded can't be, or can't be written; or a container whose denials
    /// are logged for a recording is not recorded.
    Recording = 14,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 14] = [
        Code::Unexpected,
        Code::Usage,
        Code::Settings,
        Code::Input,
        Code::Annotation,
        Code::ProfileMissing,
        Code::ProfileUnusable,
        Code::Conflict,
        Code::FilterMissing,
        Code::Required,
        Code::RuntimeAnnotation,
        Code::UnknownToRuntime,
        Code::NoDefault,
        Code::Recording,
    ];

    /// A word for logs, decisions and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Unexpected => "unexpected",
            Code::Usage => "usage",
            Code::Settings => "settings",
            Code::Input => "input",
            Code::Annotation => "annotation",
            Code::ProfileMissing => "profile-missing",
            Code::ProfileUnusable => "profile-unusable",
            Code::Conflict => "conflict",
            Code::FilterMissing => "filter-missing",
            Code::Required => "required",
            Code::RuntimeAnnotation => "runtime-annotation",
            Code::UnknownToRuntime => "unknown-to-runtime",
            Code::NoDefault => "no-default",
            Code::Recording => "recording",
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> std::process::ExitCode {
        std::process::ExitCode::from(code.number())
    }
}

/// The codes as a table for `--help`.
pub const HELP: &str = "\
Exit codes:
  0   accepted or applied           8   conflict: another filter is there
  1   unexpected failure            9   the selected filter is not there
  2   wrong command line           10   a filter is required, there is none
  3   hook.toml is broken          11   annotation that bypasses the filter
  4   state or config unreadable   12   rule unknown to the runtime's libseccomp
  5   annotation not valid         13   engine's default profile not known
  6   profile missing              14   can't be recorded, or written out
  7   profile can't be used";

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::gate::decision::REASONS;

    #[test]
    fn every_code_is_in_the_help() {
        let words: Vec<&str> = HELP.split_whitespace().collect();
        for code in Code::ALL {
            let number = code.number().to_string();
            assert!(words.contains(&number.as_str()), "{number}");
        }
    }

    #[test]
    fn every_code_is_a_reason_that_decisions_may_have() {
        for code in Code::ALL {
            assert!(REASONS.contains(&code.as_str()), "{}", code.as_str());
        }
    }
}
