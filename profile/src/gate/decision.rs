//! The record of one decision at the gate: what the hook sends to `gate.sock` and the agent reads.
//!
//! Versioned JSON, one datagram each. Values come from pod authors: control characters are
//! escaped and each value is cut at [`MAX_VALUE`] bytes, so a record is bounded.

use super::{Code, Evaluation};
use crate::Engine;
use serde::{Deserialize, Serialize};

/// The version of the record that this library writes.
pub const VERSION: u32 = 1;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 256;
/// The longest record, in bytes: every value at its longest and every byte of it escaped.
pub const MAX_RECORD: usize = 8192;
/// All possible values of [`Decision::reason`]: the word of the reason to refuse the container, or
/// of the outcome if there is none.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    let outcomes = [Outcome::Accepted, Outcome::Applied].map(Outcome::as_str);
    let codes = Code::ALL.iter().map(|code| code.word());
    codes.chain(outcomes)
}

/// What happened to the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It starts as it is.
    Accepted,
    /// A filter was set.
    Applied,
    /// It does not start.
    Refused,
    /// It starts despite a reason to refuse it (`mode = "warn"`).
    Warned,
}

impl Outcome {
    /// The word for it, as the record has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
            Outcome::Warned => "warned",
        }
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// [`VERSION`].
    pub version: u32,
    /// Seconds since 1970-01-01 UTC.
    pub time: u64,
    /// `verify`, `inject` or `runtime`.
    pub verb: String,
    /// What happened to the container.
    pub outcome: Outcome,
    /// The matching exit code; 0 if the container starts.
    pub code: u8,
    /// The word for the reason, from a fixed set.
    pub reason: String,
    /// The engine whose annotations were trusted.
    pub engine: Engine,
    /// The pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The container's ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The annotation that selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
    /// The profile that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The reason as a sentence, without what the other fields say.
    pub message: String,
}

impl Decision {
    /// The record of an evaluation. `verb` says which part decided and `time` when, in seconds
    /// since 1970-01-01 UTC. Its size is bounded.
    pub fn of(evaluation: &Evaluation, verb: &str, id: Option<&str>, time: u64) -> Decision {
        let identity = &evaluation.identity;
        Decision {
            version: VERSION,
            time,
            verb: verb.to_owned(),
            outcome: evaluation.outcome(),
            code: evaluation.code().map_or(0, Code::number),
            reason: evaluation.word().to_owned(),
            engine: evaluation.engine,
            namespace: identity.namespace.clone(),
            pod: identity.pod.clone(),
            uid: identity.uid.clone(),
            container: identity.container.clone(),
            id: id.map(str::to_owned),
            annotation: evaluation.annotation.clone(),
            reference: evaluation.reference.clone(),
            message: evaluation.sentence(),
        }
        .bounded()
    }

    /// The same record with every value escaped and cut by [`plain`].
    #[must_use]
    pub fn bounded(mut self) -> Decision {
        for value in [
            &mut self.namespace,
            &mut self.pod,
            &mut self.uid,
            &mut self.container,
            &mut self.id,
            &mut self.annotation,
            &mut self.reference,
        ]
        .into_iter()
        .flatten()
        {
            *value = plain(value);
        }
        self.message = plain(&self.message);
        self
    }
}

/// A text with its control characters escaped, cut at [`MAX_VALUE`] bytes (with `…`).
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_VALUE));
    for char in text.chars() {
        let escaped: String = if is_unprintable(char) {
            char.escape_default().collect()
        } else {
            char.to_string()
        };
        if out.len() + escaped.len() > MAX_VALUE - '…'.len_utf8() {
            out.push('…');
            break;
        }
        out.push_str(&escaped);
    }
    out
}

/// Control characters, and those that reverse or break a line on a terminal.
fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || ('\u{202a}'..='\u{202e}').contains(&char)
        || ('\u{2066}'..='\u{2069}').contains(&char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_one_word() {
        for outcome in [
            Outcome::Accepted,
            Outcome::Applied,
            Outcome::Refused,
            Outcome::Warned,
        ] {
            let written = serde_json::to_value(outcome).unwrap();
            assert_eq!(written, outcome.as_str());
        }
    }

    #[test]
    fn values_are_escaped_and_cut() {
        assert_eq!(plain("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
        assert_eq!(plain("\u{202e}x"), "\\u{202e}x");
        let long = plain(&"é".repeat(1000));
        assert!(long.len() <= MAX_VALUE && long.ends_with('…'));
    }
}
