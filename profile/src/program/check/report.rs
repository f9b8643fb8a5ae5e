//! The findings from comparing a program with its filter, in words.

use crate::{Arch, compare::difference::first_names, filter::Treatment, program::walk::WalkError};
use std::fmt;

/// Something that libseccomp does by design but the profile's author probably did not intend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Rules give different errnos for the same call.
    Errnos {
        /// The system call.
        name: String,
        /// The indices of two of the rules in `syscalls`.
        rules: (usize, usize),
    },
    /// One rule allows a call that another one denies like the default but with another errno, as
    /// in Podman's own default for `setns`.
    Contradiction {
        /// The system call.
        name: String,
        /// The indices in `syscalls` of the rule that denies and the rule that allows.
        rules: (usize, usize),
        /// What the compiled filter does.
        found: Treatment,
    },
    /// Conditions on arguments that a multiplexer does not show.
    Multiplexed {
        /// The architecture.
        arch: Arch,
        /// The multiplexer's number.
        number: u32,
        /// The calls.
        names: Vec<String>,
    },
    /// Calls for which libseccomp creates no rules behind a multiplexer, so that the default
    /// applies to them there.
    Unfiltered {
        /// The architecture.
        arch: Arch,
        /// The multiplexer's number.
        number: u32,
        /// The calls.
        names: Vec<String>,
    },
    /// Names that the linked libseccomp does not know, in rules that are no stricter than the
    /// default. The default applies to them.
    Unknown(Vec<String>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Errnos { name, rules } => write!(
                f,
                "syscalls[{}] and syscalls[{}] give {name} different errnos; which one a call gets \
                 is up to libseccomp",
                rules.0, rules.1
            ),
            Warning::Contradiction { name, rules, found } => write!(
                f,
                "syscalls[{}] and syscalls[{}] contradict each other; {name} gets {found}",
                rules.0, rules.1
            ),
            Warning::Multiplexed {
                arch,
                number,
                names,
            } => write!(
                f,
                "on {arch}, call {number} multiplexes {}: a filter can't check their arguments there",
                first_names(names)
            ),
            Warning::Unfiltered {
                arch,
                number,
                names,
            } => write!(
                f,
                "on {arch}, call {number} multiplexes {}; libseccomp leaves their rules out there, so \
                 the default action applies",
                first_names(names)
            ),
            Warning::Unknown(names) => write!(
                f,
                "libseccomp does not know {}: the default action applies there",
                first_names(names)
            ),
        }
    }
}

/// Something that a filter says but its program does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A call is not treated as its rule says.
    #[error(
        "syscalls[{rule}]: {name} on {arch} should get {expected}, but the compiled filter gives \
         {found}{}", because(*.other, *.known)
    )]
    Rule {
        /// The rule's index in `syscalls`.
        rule: usize,
        /// The system call.
        name: String,
        /// The architecture.
        arch: Arch,
        /// What the rule says.
        expected: Treatment,
        /// What the program does.
        found: Treatment,
        /// Another rule for the same call that says what the program does.
        other: Option<usize>,
        /// Whether the linked libseccomp knows the call.
        known: bool,
    },
    /// A call does not get the default although no rule matches it.
    #[error(
        "call {number}{} on {arch} should get the default {expected}, but the compiled filter gives \
         {found}", of_name(.name.as_deref())
    )]
    Default {
        /// The call's number.
        number: u32,
        /// Its name, if a rule mentions it under other conditions.
        name: Option<String>,
        /// The architecture.
        arch: Arch,
        /// The default.
        expected: Treatment,
        /// What the program does.
        found: Treatment,
    },
    /// Calls of an architecture that is not listed are not killed.
    #[error(
        "call {number} of architecture {arch:#010x}, which the filter does not list, gets {found} \
         instead of being killed"
    )]
    Foreign {
        /// The architecture, an `AUDIT_ARCH_*`.
        arch: u32,
        /// The call's number.
        number: u32,
        /// What the program does.
        found: Treatment,
    },
    /// A rule stricter than the default for a name that nothing knows.
    #[error("syscalls[{rule}]: libseccomp does not know {name} and would drop the rule")]
    Lost {
        /// The rule's index in `syscalls`.
        rule: usize,
        /// The system call, quoted.
        name: String,
    },
    /// A name that runtimes would cut or refuse.
    #[error("syscalls[{rule}]: {name} is not a system call name: it contains a NUL character")]
    Name {
        /// The rule's index in `syscalls`.
        rule: usize,
        /// The name, quoted.
        name: String,
    },
    /// A constant with a high half although only low halves are compared.
    #[error(
        "syscalls[{rule}]: {name} on {arch} is compared with {value:#x}, but only the low 32 bits of \
         arguments are compared there"
    )]
    Constant {
        /// The rule's index in `syscalls`.
        rule: usize,
        /// The system call.
        name: String,
        /// The architecture.
        arch: Arch,
        /// The constant.
        value: u64,
    },
    /// A condition on an argument that no call has.
    #[error("syscalls[{rule}]: there is no argument {index}")]
    Argument {
        /// The rule's index in `syscalls`.
        rule: usize,
        /// The index.
        index: u8,
    },
}

fn because(other: Option<usize>, known: bool) -> String {
    match other {
        Some(rule) => format!(", which syscalls[{rule}] says: let one rule decide this call"),
        None if !known => ": libseccomp does not know this call".to_owned(),
        None => String::new(),
    }
}

fn of_name(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" ({name})"))
}

/// The faults of a filter: at least one, and of many only the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first ones.
    pub first: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.first.first() {
            first.fmt(f)?;
        }
        match self.first.len().saturating_sub(1) + self.more {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

/// Why a program does not do, or may not do, what its filter says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It certainly does not.
    #[error("{0}")]
    Faults(Faults),
    /// It can't be determined.
    #[error("the compiled filter can't be checked: {0}")]
    Unchecked(#[from] WalkError),
}
