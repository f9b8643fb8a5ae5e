//! What is wrong, or only remarkable, with a document, and where.

use crate::{Action, select::engine::Engine};
use std::fmt::{self, Write as _};

/// How many characters of a document's own text a message repeats.
const QUOTED: usize = 64;

/// A document that can't be used: the place, and what is wrong there.
///
/// It displays as one line of bounded length, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError {
    /// A path such as `syscalls[3].args[0].op`; empty for the document as a whole.
    pub place: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        self.problem.fmt(f)
    }
}

/// What can be wrong with a document. Text that comes from it is already quoted and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON.
    #[error("line {line}, column {column}: not JSON: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The parser's word for it.
        reason: String,
    },
    /// Another JSON type than this place takes.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What belongs here, with its article.
        expected: &'static str,
        /// What is here, with its article.
        found: &'static str,
    },
    /// A number out of its range, negative or fractional.
    #[error("must be a whole number from 0 to {largest}")]
    Number {
        /// The largest number that this place takes.
        largest: u64,
    },
    /// A required key that is absent, null or an empty string.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// No names, in an entry that is stricter than the default action: it protects nothing.
    #[error("no system call is named")]
    NoNames,
    /// Not a name to C: the runtimes would read it as far as its first NUL.
    #[error("{0} contains a NUL character")]
    Nul(String),
    /// The same key twice; what that makes depends on who reads.
    #[error("key `{0}` is given twice")]
    DuplicateKey(&'static str),
    /// Go reads keys whatever their case, C does not.
    #[error("key {written} must be written `{meant}`: some programs would read it as that key")]
    KeyCase {
        /// As it is written.
        written: String,
        /// As it must be.
        meant: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("`{0}` and `{1}` are both given")]
    Both(&'static str, &'static str),
    /// A name that is none of those that this place takes.
    #[error("unknown {what} {name}{}", meant(*.nearest))]
    Unknown {
        /// What the name should have been: "action", "system call" …
        what: &'static str,
        /// The name as it is written.
        name: String,
        /// The real name nearest to it.
        nearest: Option<&'static str>,
    },
    /// An errno name whose number on this architecture is not known here.
    #[error("the number of {0} on this architecture is not known: give a number instead")]
    ErrnoNumber(String),
    /// runc refuses such a container: it could not hand the listener over.
    #[error("SCMP_ACT_NOTIFY can't be {0}")]
    Notify(&'static str),
    /// Nobody would decide the calls.
    #[error("SCMP_ACT_NOTIFY needs a `listenerPath`")]
    NoListener,
    /// A key that the engine does not read, so that the filter would not be what the document
    /// says.
    #[error("{engine} ignores `{key}`, so the filter would not be what the document says")]
    NotRead {
        /// The engine.
        engine: Engine,
        /// The key.
        key: &'static str,
    },
    /// A key whose effect depends on the engine, the container or the host, where the document
    /// has to be one filter.
    #[error(
        "`{0}` makes the filter depend on the container or the host; use the OCI form (`names`, \
         `errnoRet`, `architectures`)"
    )]
    Conditional(&'static str),
}

/// Something that does not hinder the use of a document but is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A path as in [`DocumentError::place`].
    pub place: String,
    /// What is remarkable there.
    pub remark: Remark,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        self.remark.fmt(f)
    }
}

/// What can be remarkable in a document. Text that comes from it is already quoted and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// A key that nobody reads.
    #[error("unknown key {name} is ignored{}", meant(*.nearest))]
    UnknownKey {
        /// As it is written.
        name: String,
        /// The real key nearest to it.
        nearest: Option<&'static str>,
    },
    /// A capability or architecture in a condition that no container or host has.
    #[error("unknown {what} {name} never matches{}", meant(*.nearest))]
    NeverMatches {
        /// "capability" or "architecture"
        what: &'static str,
        /// As it is written.
        name: String,
        /// The real name nearest to it.
        nearest: Option<&'static str>,
    },
    /// A known key in another case: Go reads it as that key.
    #[error("key {written} is read as `{meant}`")]
    KeyCase {
        /// As it is written.
        written: String,
        /// As it should be.
        meant: &'static str,
    },
    /// The same key twice: to Go the last one counts.
    #[error("key `{0}` is given twice: the last one counts")]
    DuplicateKey(&'static str),
    /// A system call that is not known here, in a rule no stricter than the default action: it
    /// gets a rule where libseccomp knows it, else the default action.
    #[error(
        "unknown system call {name}{}: the default action applies where libseccomp does not know \
         it either",
        meant(*.nearest)
    )]
    UnknownCall {
        /// As it is written.
        name: String,
        /// The real name nearest to it.
        nearest: Option<&'static str>,
    },
    /// An architecture in `archMap` that is not known here, so that it is not the host's.
    #[error("unknown architecture {name}{}: it matches no known host", meant(*.nearest))]
    UnknownArch {
        /// As it is written.
        name: String,
        /// The real name nearest to it.
        nearest: Option<&'static str>,
    },
    /// No names, in an entry that is no stricter than the default action.
    #[error("no system call is named: this entry is ignored")]
    NoNames,
    /// More conditions than a call has arguments.
    #[error(
        "more than {} conditions: runc reads all of them, crun the first {}",
        crate::filter::ARGUMENTS,
        crate::filter::ARGUMENTS
    )]
    TooManyConditions,
    /// An errno for an action that takes none.
    #[error(
        "{0} takes no errno: it is ignored, as by runc; crun refuses the container where its \
         engine passes this on"
    )]
    NeedlessErrno(Action),
    /// An empty list of flags, which programs in Go leave out when they write a configuration.
    #[error(
        "an empty list is lost where an engine applies the profile itself (a pod's field, \
         Podman): the runtime then chooses, and runc sets SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    )]
    EmptyFlags,
    /// Metadata that nobody is sent: the runtimes pass over it.
    #[error("`listenerMetadata` is ignored without a `listenerPath`")]
    MetadataWithoutListener,
    /// A kernel version that is none.
    #[error("{0} is not a kernel version such as \"5.10\"; CRI-O and Podman ignore `minKernel`")]
    KernelVersion(String),
    /// `minKernel` decides nothing (measured with Podman; containers/common has no such field).
    #[error("CRI-O and Podman ignore `minKernel`")]
    MinKernelIgnored,
    /// As [`Remark::MinKernelIgnored`], where the running kernel makes a difference.
    #[error(
        "{engine} ignores `minKernel` {minimum}: this entry applies, though by it it would not on \
         kernel {kernel}"
    )]
    AppliesAgainstMinKernel {
        /// The engine.
        engine: Engine,
        /// What the document asks for.
        minimum: crate::document::kernel::KernelVersion,
        /// What is running.
        kernel: crate::document::kernel::KernelVersion,
    },
}

fn meant(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

/// A document's text as a message may repeat it: quoted, escaped, cut after 64 characters.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    let mut characters = text.chars();
    for character in characters.by_ref().take(QUOTED) {
        let _ = write!(out, "{}", character.escape_debug());
    }
    out.push('"');
    if characters.next().is_some() {
        out.push('…');
    }
    out
}
