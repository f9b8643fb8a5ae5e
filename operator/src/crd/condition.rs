//! Conditions whose type, status and reason come from enums, never from free strings.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

crate::words::words! {
    /// The status of a condition.
    pub enum Status {
        /// The condition holds.
        True = "True",
        /// The condition does not hold.
        False = "False",
        /// Whether it holds can't be determined.
        Unknown = "Unknown",
    }
}

/// The reasons of one type of condition. A reason determines the condition's type and status, so
/// the three can't contradict each other.
pub trait Reason: Copy + Sized {
    /// The condition's type, for example `Ready`.
    const TYPE: &'static str;

    /// The status that this reason stands for.
    fn status(self) -> Status;

    /// The reason's stable word.
    fn word(self) -> &'static str;

    /// The reason with this word, or `None`.
    fn parse_word(word: &str) -> Option<Self>;

    /// The reason that these conditions give for this type; `None` if the type is missing, or has
    /// a reason or status that this version does not know.
    fn of(conditions: &[Condition]) -> Option<Self> {
        let condition = find(conditions, Self::TYPE)?;
        Self::parse_word(&condition.reason)
            .filter(|reason| reason.status().as_str() == condition.status)
    }
}

/// The condition of a type, or `None`.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// A condition for an object of this generation. If the status is the same as in the conditions
/// `before`, the time of its last transition is kept.
pub fn condition<R: Reason>(
    reason: R,
    message: String,
    generation: Option<i64>,
    before: &[Condition],
) -> Condition {
    let status = reason.status().as_str();
    let same = find(before, R::TYPE).filter(|condition| condition.status == status);
    Condition {
        type_: R::TYPE.to_owned(),
        status: status.to_owned(),
        reason: reason.word().to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: same.map_or_else(
            || Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()),
            |condition| condition.last_transition_time.clone(),
        ),
    }
}

/// Implements [`Reason`] for an enum of words: its condition's type, and each reason's status.
macro_rules! reasons {
    ($name:ident of $kind:expr, { $($status:ident: $($variant:ident)|+,)+ }) => {
        impl $crate::crd::condition::Reason for $name {
            const TYPE: &'static str = $kind.as_str();

            fn status(self) -> $crate::crd::condition::Status {
                match self {
                    $($($name::$variant)|+ => $crate::crd::condition::Status::$status,)+
                }
            }

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn parse_word(word: &str) -> Option<Self> {
                $name::parse(word)
            }
        }
    };
}
pub(crate) use reasons;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::profile::ReadyReason;

    #[test]
    fn a_transition_is_a_change_of_the_status_and_not_of_the_reason() {
        let mut missing = condition(ReadyReason::NodesMissing, String::new(), Some(1), &[]);
        missing.last_transition_time = Time(Timestamp::from_second(7).unwrap());
        let before = [missing];
        let at = |reason| condition(reason, String::new(), Some(2), &before).last_transition_time;
        assert_eq!(at(ReadyReason::NodeFailed), before[0].last_transition_time);
        assert_ne!(at(ReadyReason::Ready), before[0].last_transition_time);
    }

    #[test]
    fn a_reason_is_read_back_unless_it_contradicts_its_status() {
        let failed = condition(ReadyReason::NodeFailed, String::new(), None, &[]);
        let mut conditions = [failed];
        assert_eq!(ReadyReason::of(&conditions), Some(ReadyReason::NodeFailed));
        conditions[0].status = "True".to_owned();
        assert_eq!(ReadyReason::of(&conditions), None);
        conditions[0].status = "False".to_owned();
        conditions[0].reason = "OfAnotherVersion".to_owned();
        assert_eq!(ReadyReason::of(&conditions), None);
        assert_eq!(ReadyReason::of(&[]), None);
    }
}
