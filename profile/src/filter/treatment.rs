//! What happens to a call: an action with its errno. Treatments are equal if the kernel does the
//! same.

use crate::filter::{Action, DEFAULT_ERRNO, Filter, MAX_ERRNO};
use std::fmt;

/// ENOSYS, which runc answers to calls that are newer than a filter.
const ENOSYS: u16 = 38;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Treatment {
    /// Never [`Action::Kill`].
    pub(crate) action: Action,
    /// The errno, or a tracer's number; 0 where the action takes none.
    pub(crate) errno: u16,
}

impl Treatment {
    /// What runc does instead of the default for numbers above the highest that a filter names.
    pub(crate) const STUB: Treatment = Treatment {
        action: Action::Errno,
        errno: ENOSYS,
    };

    pub(crate) fn of(action: Action, errno: Option<u16>) -> Treatment {
        let errno = if action.takes_errno() {
            errno.unwrap_or(DEFAULT_ERRNO)
        } else {
            0
        };
        Treatment {
            action: action.folded(),
            errno,
        }
    }

    pub(crate) fn default_of(filter: &Filter) -> Treatment {
        Treatment::of(filter.default_action, filter.default_errno_ret)
    }

    /// How the kernel interprets a program's return value (`__seccomp_filter` in
    /// `kernel/seccomp.c`).
    pub(crate) fn of_answer(answer: u32) -> Treatment {
        let data = u16::try_from(answer & 0xffff).unwrap_or(u16::MAX);
        let (action, errno) = match answer & 0xffff_0000 {
            0x0000_0000 => (Action::KillThread, 0),
            // A handler of SIGSYS sees the number.
            0x0003_0000 => (Action::Trap, data),
            0x0005_0000 => (Action::Errno, data.min(MAX_ERRNO)),
            0x7fc0_0000 => (Action::Notify, 0),
            0x7ff0_0000 => (Action::Trace, data),
            0x7ffc_0000 => (Action::Log, 0),
            0x7fff_0000 => (Action::Allow, 0),
            // 0x8000_0000, and whatever the kernel does not know.
            _ => (Action::KillProcess, 0),
        };
        Treatment { action, errno }
    }

    /// Whether such a call might be executed; a tracer or a supervisor may let it pass.
    pub(crate) fn might_pass(self) -> bool {
        self.action.lets_through() || matches!(self.action, Action::Trace | Action::Notify)
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errno == 0 && !self.action.takes_errno() {
            self.action.fmt(f)
        } else {
            write!(f, "{} ({})", self.action, self.errno)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_kernel_makes_of_them() {
        for (answer, expected) in [
            (0, Treatment::of(Action::Kill, None)),
            (0x8000_0000, Treatment::of(Action::KillProcess, None)),
            (0x7000_0000, Treatment::of(Action::KillProcess, None)),
            (0x0005_0026, Treatment::STUB),
            (0x0005_ffff, Treatment::of(Action::Errno, Some(MAX_ERRNO))),
            (0x7ff0_0007, Treatment::of(Action::Trace, Some(7))),
            (0x7fff_0001, Treatment::of(Action::Allow, None)),
            (0x7ffc_0000, Treatment::of(Action::Log, None)),
            (0x7fc0_0000, Treatment::of(Action::Notify, None)),
        ] {
            assert_eq!(Treatment::of_answer(answer), expected, "{answer:#x}");
        }
        let trap = Treatment::of(Action::Trap, None);
        assert_eq!(Treatment::of_answer(0x0003_0000), trap);
        assert_ne!(Treatment::of_answer(0x0003_0001), trap);
    }

    #[test]
    fn the_strictest_comes_first_as_in_the_kernel() {
        let order = [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno,
            Action::Notify,
            Action::Trace,
            Action::Log,
            Action::Allow,
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
    }
}
