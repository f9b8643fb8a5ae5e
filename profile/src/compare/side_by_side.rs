//! Two programs walked side by side.

use crate::{
    filter::Treatment,
    program::{
        Program,
        walk::{Leaf, WalkError, Walker},
    },
};

/// Calls `visit` for each set of calls that each program treats uniformly, with both treatments.
pub(crate) fn side_by_side<E: From<WalkError>>(
    a: &Program,
    b: &Program,
    mut visit: impl FnMut(&Leaf<'_>, Treatment, Treatment) -> Result<(), E>,
) -> Result<(), E> {
    Walker::default().walk(a, |walker, leaf| {
        let of_a = Treatment::of_answer(leaf.returns);
        walker.walk_leaf(b, leaf, |_, leaf| {
            visit(leaf, of_a, Treatment::of_answer(leaf.returns))
        })
    })
}
