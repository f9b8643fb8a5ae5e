//! Which programs a filter may become: libseccomp can lay its tests out in two ways, and runtimes
//! differ in which one they ask for.
//!
//! crun, and runc before 1.2, take libseccomp's default, one test after the other. Since 1.2 runc asks
//! for a binary tree where a filter has more than 32 names (`InitSeccomp` in
//! `libcontainer/seccomp`). The two should do the same; with libseccomp 2.5.4 they don't always.

use crate::{
    Filter,
    compose::inert::is_inert,
    filter::{Treatment, reader::Runtime},
    program::bpf::Program,
};

/// From so many names on runc may ask for a tree. Our rule without effect is not among them, so that
/// it makes no difference; runc counts it, and asks from 33 on.
const NAMES_OF_A_TREE: usize = 32;

/// Whether a runtime may load a filter as a binary tree. Where the runtime is not known, only the
/// default layout counts: the hooks run under a runtime that they know, and look again.
pub(crate) fn may_be_a_tree(filter: &Filter, runtime: Runtime) -> bool {
    let default = Treatment::default_of(filter);
    let rules = filter.syscalls.iter();
    let names = rules
        .filter(|rule| !is_inert(rule, default))
        .map(|rule| rule.names.len());
    runtime == Runtime::Runc && names.sum::<usize>() >= NAMES_OF_A_TREE
}

/// The programs that a filter may become.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// One test after the other.
    pub(crate) linear: Program,
    /// A binary tree, where a runtime may ask for one.
    pub(crate) tree: Option<Program>,
}

impl Programs {
    /// All of them.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Program> {
        [&self.linear].into_iter().chain(&self.tree)
    }

    /// Each with the one that the same runtime would make of another filter.
    pub(crate) fn beside<'a>(
        &'a self,
        other: &'a Programs,
    ) -> impl Iterator<Item = (&'a Program, &'a Program)> {
        let newer = |programs: &'a Programs| programs.tree.as_ref().unwrap_or(&programs.linear);
        let trees =
            (self.tree.is_some() || other.tree.is_some()).then(|| (newer(self), newer(other)));
        [(&self.linear, &other.linear)].into_iter().chain(trees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, compose::inert::with_inert_rule, fixtures::rule};

    #[test]
    fn only_runc_makes_a_tree_and_only_of_many_names() {
        let of = |count: usize| Filter {
            syscalls: (0..count)
                .map(|_| rule(&["read"], Action::Errno, &[]))
                .collect(),
            ..Filter::new(Action::Allow)
        };
        for (count, may) in [(0, false), (31, false), (32, true), (400, true)] {
            for filter in [of(count), with_inert_rule(&of(count))] {
                assert_eq!(may_be_a_tree(&filter, Runtime::Runc), may, "{count}");
                for other in [Runtime::Crun, Runtime::Either] {
                    assert!(!may_be_a_tree(&filter, other));
                }
            }
        }
    }
}
