//! What was decided of one container, and how it reads.

use super::{Code, Reason, decision::Outcome};
use crate::{
    Engine, Filter,
    select::identity::Identity,
    settings::{LogLevel, Mode},
};
use std::sync::Arc;

/// Sentences for people.
pub type Notes = Vec<String>;

/// Why a container is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing asks for anything.
    Nothing,
    /// It is the pod's sandbox.
    Sandbox,
    /// Its namespace is exempt.
    Exempt,
    /// The selected filter is there.
    Selected,
    /// The engine's default filter is there, as selected.
    EngineDefault,
    /// Another filter is there and is kept: an annotation never weakens one.
    Kept,
    /// The denials of its filter are logged, and it is being recorded.
    Logged,
}

/// What follows for the container.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It starts as it is.
    Leave(Standing),
    /// It starts with this filter.
    Set {
        /// The filter.
        filter: Box<Filter>,
        /// Whether its denials are logged instead of enforced, so that the container has to be
        /// marked.
        denials_logged: bool,
    },
    /// It does not start.
    Refuse(Arc<Reason>),
}

/// What was decided, of whom and why.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Whose annotations were believed.
    pub engine: Engine,
    /// Which container.
    pub identity: Identity,
    /// The annotation that selected or is at fault.
    pub annotation: Option<String>,
    /// What it names, as it was written.
    pub reference: Option<String>,
    /// What follows.
    pub verdict: Verdict,
    /// The node's `mode`.
    pub mode: Mode,
    /// What else its users should know: warnings of the profile, denials that stay in force.
    pub notes: Notes,
}

impl Evaluation {
    /// Why it was refused, whether or not it starts all the same.
    pub fn reason(&self) -> Option<&Reason> {
        match &self.verdict {
            Verdict::Refuse(reason) => Some(reason),
            _ => None,
        }
    }

    /// Why the container does not start; `None` where it does, also against a reason
    /// (`mode = "warn"`).
    pub fn refusal(&self) -> Option<&Reason> {
        self.reason()
            .filter(|reason| self.mode != Mode::Warn || reason.is_absolute())
    }

    /// The code to exit with; `None` where the container starts.
    pub fn code(&self) -> Option<Code> {
        self.refusal().map(Reason::code)
    }

    /// What becomes of the container.
    pub fn outcome(&self) -> Outcome {
        match (&self.verdict, self.refusal()) {
            (Verdict::Refuse(_), Some(_)) => Outcome::Refused,
            (Verdict::Refuse(_), None) => Outcome::Warned,
            (Verdict::Set { .. }, _) => Outcome::Applied,
            (Verdict::Leave(_), _) => Outcome::Accepted,
        }
    }

    /// The stable word for why: the reason's, else the outcome's.
    pub fn word(&self) -> &'static str {
        self.reason()
            .map_or(self.outcome().as_str(), |reason| reason.code().word())
    }

    /// How loudly it is said.
    pub fn level(&self) -> LogLevel {
        match (self.outcome(), &self.verdict) {
            (Outcome::Refused, _) => LogLevel::Error,
            (Outcome::Warned, _) => LogLevel::Warn,
            (_, Verdict::Leave(Standing::Nothing | Standing::Sandbox)) => LogLevel::Debug,
            _ => LogLevel::Info,
        }
    }

    /// What was decided and why, in words, without who the container is.
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
            } => "its filter is set with its denials logged instead of enforced, since it will be \
                  recorded"
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
            Standing::Selected => "the selected filter is there",
            Standing::EngineDefault => "the engine's default filter is there, as selected",
            Standing::Kept => "the filter that is there is kept; an annotation never weakens it",
            Standing::Logged => "the denials of its filter are logged, and it is recorded",
        }
    }
}
