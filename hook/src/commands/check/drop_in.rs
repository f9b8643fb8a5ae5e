//! The drop-in that `setup crio` wrote: whether it still fits the configuration that it was made from.

use super::Report;
use crate::{
    commands::setup::crio::{self, State},
    node::Node,
};
use std::path::Path;

/// Checks it, if there is one. `settings` is hook.toml, `folder` the folder of drop-ins, if another.
pub(super) fn look(node: &Node, settings: &Path, folder: Option<&Path>, report: &mut Report) {
    let subject = format!("CRI-O's drop-in {}", crio::NAME);
    let again = "portcullis-hook setup crio, then systemctl restart crio";
    match crio::state(node, settings, folder) {
        State::Absent => {}
        State::Current => report.ok(subject, "is what setup would write now"),
        State::Outdated => report.problem(
            subject,
            "CRI-O's configuration has changed since setup made it",
            again,
        ),
        State::Edited => report.problem(
            subject,
            "is not what this version of setup writes from the same configuration",
            again,
        ),
        State::Leaving => report.warning(
            subject,
            "is being removed; it has only handlers that containers were under",
            "portcullis-hook setup crio --remove, once these containers are gone",
        ),
        State::Unknown => report.warning(
            subject,
            "whether it still fits is not known, because crio is not executed below --root",
            "if you trust that root, add --execute",
        ),
        State::Wrong(why) => report.problem(subject, why, again),
    }
}
