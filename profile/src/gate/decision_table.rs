//! The decision table: what happens to a container, given the filter that it has and the one that
//! it selects. Two pure functions, one for applying and one for verifying.

use crate::settings::{ReplaceDefault, Require};

/// The filter that the container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// None.
    None,
    /// One that is equal to the selected one.
    Selected,
    /// The engine's default, known as such, and not equal to the selected one.
    EngineDefault(Replacement),
    /// Any other.
    Other,
    /// It is unknown (NRI on CRI-O).
    Unknown,
}

/// How the selected filter compares with the engine's default that it would replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// It allows nothing that the default denies.
    Stricter,
    /// It allows something that the default denies.
    Looser,
    /// Unknown, because the engine's default is not available.
    NotCompared,
}

/// What the annotation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There is no annotation.
    Nothing,
    /// `unconfined`.
    Unconfined,
    /// `runtime/default` or `docker/default`.
    RuntimeDefault,
    /// A profile.
    Profile,
    /// Nothing of the above counts: its field asked for the engine's default, and the node has a
    /// default of its own in place of it.
    OwnDefault,
}

/// What applying does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// Leaves the container as it is.
    Leave,
    /// Keeps the filter although the annotation asks for less, and logs that.
    Keep,
    /// Keeps the engine's default, which the node's own may not replace.
    KeepDefault,
    /// Sets the selected profile.
    Set,
    /// Sets the engine's default profile.
    SetDefault,
    /// Refuses: the container has another filter.
    Conflict,
    /// Refuses: the selected profile allows something that the engine's default denies.
    LooserThanDefault,
    /// Refuses: the container has the engine's default, and the settings never replace it.
    DefaultNeverReplaced,
    /// Refuses: the container has the engine's default, which is not available for comparison.
    DefaultNotCompared,
    /// Refuses: it is unknown which filter the container has.
    Unknown,
    /// Refuses: the settings require a filter and there is none. If no hook verifies (containerd),
    /// only the applying side can refuse.
    Required,
}

/// What verifying does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Accepts.
    Accept,
    /// Accepts a filter that the annotation did not ask for, and logs that.
    Keep,
    /// Refuses: the container does not have the selected filter.
    Missing,
    /// Refuses: the container has another filter.
    Conflict,
    /// Refuses: it is unknown which filter the container has.
    Unknown,
    /// Refuses: the settings require a filter and there is none.
    Required,
}

/// The "apply" column.
pub fn apply(present: Present, wanted: Wanted, replace: ReplaceDefault, require: Require) -> Apply {
    match (wanted, present) {
        (Wanted::Nothing | Wanted::Unconfined | Wanted::OwnDefault, Present::None)
            if require == Require::AnyFilter =>
        {
            Apply::Required
        }
        (Wanted::OwnDefault, Present::EngineDefault(replacement)) => {
            if replaces(replace, replacement) {
                Apply::Set
            } else {
                Apply::KeepDefault
            }
        }
        (Wanted::Nothing | Wanted::OwnDefault, _)
        | (Wanted::Unconfined, Present::None)
        | (_, Present::Selected) => Apply::Leave,
        (Wanted::Profile | Wanted::RuntimeDefault, Present::Unknown) => Apply::Unknown,
        (Wanted::RuntimeDefault, Present::None) => Apply::SetDefault,
        (Wanted::Unconfined | Wanted::RuntimeDefault, _) => Apply::Keep,
        (Wanted::Profile, Present::None) => Apply::Set,
        (Wanted::Profile, Present::Other) => Apply::Conflict,
        (Wanted::Profile, Present::EngineDefault(replacement)) => match (replace, replacement) {
            (ReplaceDefault::Any, _) | (ReplaceDefault::Stricter, Replacement::Stricter) => {
                Apply::Set
            }
            (ReplaceDefault::Never, _) => Apply::DefaultNeverReplaced,
            (ReplaceDefault::Stricter, Replacement::Looser) => Apply::LooserThanDefault,
            (ReplaceDefault::Stricter, Replacement::NotCompared) => Apply::DefaultNotCompared,
        },
    }
}

/// Whether a filter may take the place of the engine's default.
const fn replaces(replace: ReplaceDefault, replacement: Replacement) -> bool {
    match replace {
        ReplaceDefault::Any => true,
        ReplaceDefault::Stricter => matches!(replacement, Replacement::Stricter),
        ReplaceDefault::Never => false,
    }
}

/// The "verify" column.
pub fn verify(
    present: Present,
    wanted: Wanted,
    replace: ReplaceDefault,
    require: Require,
) -> Verify {
    match (wanted, present) {
        (Wanted::Profile | Wanted::RuntimeDefault | Wanted::OwnDefault, Present::None) => {
            Verify::Missing
        }
        (Wanted::Profile | Wanted::RuntimeDefault, Present::Unknown) => Verify::Unknown,
        (Wanted::Profile, Present::Selected) => Verify::Accept,
        (Wanted::Profile, _) => Verify::Conflict,
        (Wanted::OwnDefault, Present::EngineDefault(replacement)) => {
            if replaces(replace, replacement) {
                Verify::Conflict
            } else {
                Verify::Accept
            }
        }
        (Wanted::Nothing | Wanted::Unconfined, Present::None) => match require {
            Require::None => Verify::Accept,
            Require::AnyFilter => Verify::Required,
        },
        (Wanted::RuntimeDefault | Wanted::Unconfined, _) => Verify::Keep,
        (Wanted::Nothing | Wanted::OwnDefault, _) => Verify::Accept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Present::{EngineDefault, Other, Selected};

    const STRICTER: Present = EngineDefault(Replacement::Stricter);
    const LOOSER: Present = EngineDefault(Replacement::Looser);
    const NOT_COMPARED: Present = EngineDefault(Replacement::NotCompared);
    const UNKNOWN: Present = Present::Unknown;

    #[test]
    fn every_row_of_the_table_applies_as_designed() {
        let stricter = ReplaceDefault::Stricter;
        let rows = [
            (Present::None, Wanted::Profile, stricter, Apply::Set),
            (STRICTER, Wanted::Profile, stricter, Apply::Set),
            (LOOSER, Wanted::Profile, stricter, Apply::LooserThanDefault),
            (LOOSER, Wanted::Profile, ReplaceDefault::Any, Apply::Set),
            (
                NOT_COMPARED,
                Wanted::Profile,
                stricter,
                Apply::DefaultNotCompared,
            ),
            (
                NOT_COMPARED,
                Wanted::Profile,
                ReplaceDefault::Any,
                Apply::Set,
            ),
            (
                UNKNOWN,
                Wanted::Profile,
                ReplaceDefault::Any,
                Apply::Unknown,
            ),
            (UNKNOWN, Wanted::RuntimeDefault, stricter, Apply::Unknown),
            (UNKNOWN, Wanted::Unconfined, stricter, Apply::Keep),
            (UNKNOWN, Wanted::Nothing, stricter, Apply::Leave),
            (
                STRICTER,
                Wanted::Profile,
                ReplaceDefault::Never,
                Apply::DefaultNeverReplaced,
            ),
            (
                Selected,
                Wanted::Profile,
                ReplaceDefault::Never,
                Apply::Leave,
            ),
            (Other, Wanted::Profile, ReplaceDefault::Any, Apply::Conflict),
            (
                Present::None,
                Wanted::RuntimeDefault,
                stricter,
                Apply::SetDefault,
            ),
            (
                LOOSER,
                Wanted::RuntimeDefault,
                ReplaceDefault::Any,
                Apply::Keep,
            ),
            (
                Other,
                Wanted::RuntimeDefault,
                ReplaceDefault::Any,
                Apply::Keep,
            ),
            (Other, Wanted::Unconfined, ReplaceDefault::Any, Apply::Keep),
            (LOOSER, Wanted::Unconfined, ReplaceDefault::Any, Apply::Keep),
            (Present::None, Wanted::Unconfined, stricter, Apply::Leave),
            (Present::None, Wanted::Nothing, stricter, Apply::Leave),
            (Other, Wanted::Nothing, ReplaceDefault::Any, Apply::Leave),
            (LOOSER, Wanted::Nothing, ReplaceDefault::Any, Apply::Leave),
            (STRICTER, Wanted::OwnDefault, stricter, Apply::Set),
            (LOOSER, Wanted::OwnDefault, stricter, Apply::KeepDefault),
            (
                NOT_COMPARED,
                Wanted::OwnDefault,
                stricter,
                Apply::KeepDefault,
            ),
            (LOOSER, Wanted::OwnDefault, ReplaceDefault::Any, Apply::Set),
            (Selected, Wanted::OwnDefault, stricter, Apply::Leave),
            (Present::None, Wanted::OwnDefault, stricter, Apply::Leave),
        ];
        for (present, wanted, replace, outcome) in rows {
            assert_eq!(
                apply(present, wanted, replace, Require::None),
                outcome,
                "{present:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn a_required_filter_that_nothing_sets_is_missed_before_the_container_is_made() {
        for (present, wanted, outcome) in [
            (Present::None, Wanted::Nothing, Apply::Required),
            (Present::None, Wanted::Unconfined, Apply::Required),
            (Present::None, Wanted::Profile, Apply::Set),
            (Present::None, Wanted::RuntimeDefault, Apply::SetDefault),
            (Other, Wanted::Nothing, Apply::Leave),
            (Other, Wanted::Unconfined, Apply::Keep),
        ] {
            let replace = ReplaceDefault::Stricter;
            assert_eq!(
                apply(present, wanted, replace, Require::AnyFilter),
                outcome,
                "{present:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn every_row_of_the_table_verifies_as_designed() {
        let rows = [
            (
                Present::None,
                Wanted::Profile,
                Require::None,
                Verify::Missing,
            ),
            (Selected, Wanted::Profile, Require::None, Verify::Accept),
            (UNKNOWN, Wanted::Profile, Require::None, Verify::Unknown),
            (
                UNKNOWN,
                Wanted::RuntimeDefault,
                Require::None,
                Verify::Unknown,
            ),
            (STRICTER, Wanted::Profile, Require::None, Verify::Conflict),
            (Other, Wanted::Profile, Require::None, Verify::Conflict),
            (
                Present::None,
                Wanted::RuntimeDefault,
                Require::None,
                Verify::Missing,
            ),
            (Other, Wanted::RuntimeDefault, Require::None, Verify::Keep),
            (Other, Wanted::Unconfined, Require::AnyFilter, Verify::Keep),
            (
                Present::None,
                Wanted::Unconfined,
                Require::None,
                Verify::Accept,
            ),
            (
                Present::None,
                Wanted::Unconfined,
                Require::AnyFilter,
                Verify::Required,
            ),
            (
                Present::None,
                Wanted::Nothing,
                Require::None,
                Verify::Accept,
            ),
            (
                Present::None,
                Wanted::Nothing,
                Require::AnyFilter,
                Verify::Required,
            ),
            (Other, Wanted::Nothing, Require::AnyFilter, Verify::Accept),
            (Selected, Wanted::OwnDefault, Require::None, Verify::Accept),
            (LOOSER, Wanted::OwnDefault, Require::None, Verify::Accept),
            (
                STRICTER,
                Wanted::OwnDefault,
                Require::None,
                Verify::Conflict,
            ),
            (
                Present::None,
                Wanted::OwnDefault,
                Require::None,
                Verify::Missing,
            ),
        ];
        for (present, wanted, require, outcome) in rows {
            assert_eq!(
                verify(present, wanted, ReplaceDefault::Stricter, require),
                outcome,
                "{present:?} {wanted:?}"
            );
        }
    }
}
