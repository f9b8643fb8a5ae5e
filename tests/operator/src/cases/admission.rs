//! What admission does to pods, one file for each subject.

mod bindings;
mod broken;
mod enforcement;
mod outages;
mod precedence;
mod scale;
mod table;
mod untouched;

use crate::stage::Case;

/// The cases of all subjects.
pub(super) fn all() -> Vec<(&'static str, Case)> {
    [
        precedence::all(),
        untouched::all(),
        enforcement::all(),
        bindings::all(),
        outages::all(),
        broken::all(),
        scale::all(),
    ]
    .concat()
}
