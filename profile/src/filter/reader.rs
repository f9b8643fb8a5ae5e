//! How the runtimes read a filter's rules differently.

use super::{ARGUMENTS, Filter};
use std::borrow::Cow;

/// The runtime that reads a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// crun takes the first six conditions of a rule.
    Crun,
    /// runc takes all of them.
    Runc,
    /// Unknown: only what both read alike is certain.
    Either,
}

impl Filter {
    /// The positions in `syscalls` of rules with more conditions than crun reads. Every runtime
    /// reads a filter without such rules alike.
    pub fn rules_beyond_crun(&self) -> impl Iterator<Item = usize> {
        self.syscalls
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.args.len() > usize::from(ARGUMENTS))
            .map(|(index, _)| index)
    }

    /// The filter as a runtime reads it: under [`Runtime::Crun`] each rule has its first six
    /// conditions only. [`Runtime::Either`] leaves it whole; whether that is enough to rely on
    /// is told by [`Filter::rules_beyond_crun`].
    #[must_use]
    pub fn as_read_by(&self, runtime: Runtime) -> Cow<'_, Filter> {
        if runtime != Runtime::Crun || self.rules_beyond_crun().next().is_none() {
            return Cow::Borrowed(self);
        }
        let mut read = self.clone();
        for rule in &mut read.syscalls {
            rule.args.truncate(usize::from(ARGUMENTS));
        }
        Cow::Owned(read)
    }
}

#[cfg(test)]
mod tests {
    use super::Runtime;
    use crate::{
        Action,
        fixtures::{filter, is},
    };
    use std::borrow::Cow;

    #[test]
    fn crun_reads_six_conditions_of_a_rule_and_runc_all() {
        let conditions: Vec<_> = (0..7).map(|value| is(0, value)).collect();
        let long = filter(
            Action::Errno,
            &[
                ("read", Action::Allow, &conditions[..6]),
                ("clone", Action::Allow, &conditions),
            ],
        );
        assert_eq!(long.rules_beyond_crun().collect::<Vec<_>>(), [1]);
        let cut = long.as_read_by(Runtime::Crun);
        assert_eq!(cut.syscalls[1].args, conditions[..6]);
        assert_eq!(cut.syscalls[0], long.syscalls[0]);
        assert_eq!(cut.rules_beyond_crun().next(), None);
        for runtime in [Runtime::Runc, Runtime::Either] {
            assert_eq!(*long.as_read_by(runtime), long);
        }
        assert!(matches!(cut.as_read_by(Runtime::Crun), Cow::Borrowed(_)));
    }
}
