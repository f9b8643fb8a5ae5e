//! Which runtime reads a filter, and what it makes of it before libseccomp has a say.

use crate::{Filter, filter::ARGUMENTS};
use std::borrow::Cow;

/// The runtime that compiles a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// crun: of each rule it takes the first six conditions (1.8.1; newer ones differ).
    Crun,
    /// runc: takes all conditions, and puts its ENOSYS stub before the program.
    Runc,
    /// Not known: what is said must hold for both.
    Either,
}

impl Reader {
    /// Both readers that are known.
    pub const KNOWN: [Reader; 2] = [Reader::Crun, Reader::Runc];

    /// The filter as this reader has it; two where [`Reader::Either`] may mean two.
    pub fn filters(self, filter: &Filter) -> Vec<Cow<'_, Filter>> {
        let most = usize::from(ARGUMENTS);
        if self == Reader::Runc || filter.syscalls.iter().all(|rule| rule.args.len() <= most) {
            return vec![Cow::Borrowed(filter)];
        }
        let mut cut = filter.clone();
        for rule in &mut cut.syscalls {
            rule.args.truncate(most);
        }
        match self {
            Reader::Either => vec![Cow::Borrowed(filter), Cow::Owned(cut)],
            _ => vec![Cow::Owned(cut)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action,
        fixtures::{filter, is},
    };

    #[test]
    fn crun_reads_six_conditions_and_runc_all() {
        let seven: Vec<_> = (0..7).map(|value| is(0, value)).collect();
        let long = filter(Action::Errno, &[("clone", Action::Allow, &seven)]);
        let counts = |reader: Reader| -> Vec<usize> {
            let filters = reader.filters(&long);
            filters
                .iter()
                .map(|filter| filter.syscalls[0].args.len())
                .collect()
        };
        assert_eq!(counts(Reader::Crun), [6]);
        assert_eq!(counts(Reader::Runc), [7]);
        assert_eq!(counts(Reader::Either), [7, 6]);
        let short = filter(Action::Errno, &[("clone", Action::Allow, &seven[..6])]);
        assert_eq!(Reader::Either.filters(&short).len(), 1);
    }
}
