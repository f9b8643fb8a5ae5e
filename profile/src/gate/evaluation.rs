//! The result of evaluating one container, and how it is put into words.

use super::{
    Code, Reason,
    decision::{Outcome, plain},
};
use crate::{
    Engine, Filter,
    select::identity::Identity,
    settings::{LogLevel, Mode},
};
use std::sync::Arc;

/// Remarks for people, one sentence each.
pub type Notes = Vec<String>;

/// Why a container is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It selects nothing, and nothing is required.
    Nothing,
    /// It is the pod's sandbox.
    Sandbox,
    /// Its namespace is exempt.
    Exempt,
    /// It has the selected filter.
    Selected,
    /// It has the engine's default filter, as selected.
    EngineDefault,
    /// It keeps the filter that it has: an annotation never weakens one.
    Kept,
    /// It keeps the engine's default filter, which the node's own may not replace.
    DefaultKept,
    /// The denials of its filter are logged, and it is being recorded.
    Logged,
}

/// What happens to the container.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It starts as it is.
    Leave(Standing),
    /// It starts with this filter.
    Set {
        /// The filter.
        filter: Arc<Filter>,
        /// Whether its denials are logged instead of enforced; the container then has to be marked.
        denials_logged: bool,
    },
    /// It does not start.
    Refuse(Arc<Reason>),
}

/// What was decided on which container, and why.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The engine whose annotations were trusted.
    pub engine: Engine,
    /// The container.
    pub identity: Identity,
    /// The annotation that selects a profile, or that is at fault.
    pub annotation: Option<String>,
    /// Its value, as written.
    pub reference: Option<String>,
    /// What happens to the container.
    pub verdict: Verdict,
    /// The node's `mode`.
    pub mode: Mode,
    /// Further remarks: warnings about the profile, denials that stay in force.
    pub notes: Notes,
}

impl Evaluation {
    /// The reason to refuse the container, even if it starts anyway.
    pub fn reason(&self) -> Option<&Reason> {
        match &self.verdict {
            Verdict::Refuse(reason) => Some(reason),
            _ => None,
        }
    }

    /// Why the container does not start; `None` if it starts, even despite a reason to refuse it
    /// (`mode = "warn"`).
    pub fn refusal(&self) -> Option<&Reason> {
        self.reason()
            .filter(|reason| self.mode != Mode::Warn || reason.is_absolute())
    }

    /// The exit code; `None` if the container starts.
    pub fn code(&self) -> Option<Code> {
        self.refusal().map(Reason::code)
    }

    /// What happens to the container.
    pub fn outcome(&self) -> Outcome {
        match (&self.verdict, self.refusal()) {
            (Verdict::Refuse(_), Some(_)) => Outcome::Refused,
            (Verdict::Refuse(_), None) => Outcome::Warned,
            (Verdict::Set { .. }, _) => Outcome::Applied,
            (Verdict::Leave(_), _) => Outcome::Accepted,
        }
    }

    /// The stable word of the reason, or of the outcome if there is no reason.
    pub fn word(&self) -> &'static str {
        self.reason()
            .map_or(self.outcome().as_str(), |reason| reason.code().word())
    }

    /// The log level of the message.
    pub fn level(&self) -> LogLevel {
        match (self.outcome(), &self.verdict) {
            (Outcome::Refused, _) => LogLevel::Error,
            (Outcome::Warned, _) => LogLevel::Warn,
            (_, Verdict::Leave(Standing::Nothing | Standing::Sandbox)) => LogLevel::Debug,
            _ => LogLevel::Info,
        }
    }

    /// What was decided on which container and why, in one line with special characters escaped.
    pub fn line(&self) -> String {
        let part = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
        format!(
            "{}, annotation {}, reference {}: {}",
            self.identity,
            part(&self.annotation),
            part(&self.reference),
            self.sentence(),
        )
    }

    /// What was decided and why, as a sentence that does not name the container.
    pub fn sentence(&self) -> String {
        let what = match &self.verdict {
            Verdict::Refuse(reason) => reason.to_string(),
            Verdict::Leave(standing) => standing.sentence().to_owned(),
            Verdict::Set {
                denials_logged: false,
                ..
            } => "the selected filter is set".to_owned(),
            Verdict::Set {
                denials_logged: true,
                ..
            } => "its filter is set with its denials logged instead of enforced, because it will \
                  be recorded"
                .to_owned(),
        };
        let notes = self.notes.iter().map(String::as_str);
        let all: Vec<&str> = std::iter::once(what.as_str()).chain(notes).collect();
        all.join("; ").replace(char::is_control, " ")
    }
}

impl Standing {
    const fn sentence(self) -> &'static str {
        match self {
            Standing::Nothing => "nothing to do",
            Standing::Sandbox => "the pod's sandbox is left alone",
            Standing::Exempt => "its namespace is exempt",
            Standing::Selected => "it has the selected filter",
            Standing::EngineDefault => "it has the engine's default filter, as selected",
            Standing::Kept => "its filter is kept, because an annotation never weakens a container",
            Standing::DefaultKept => {
                "it keeps the engine's default filter, which runtime_default may not replace"
            }
            Standing::Logged => "the denials of its filter are logged, and it is being recorded",
        }
    }
}
