//! Errors and warnings about documents, with their location.

use crate::{Action, select::engine::Engine};
use std::fmt::{self, Write as _};

/// How many characters of a document's text a message quotes.
const QUOTED: usize = 64;

/// Why a document can't be used: the location, and what is wrong there.
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

/// What can be wrong with a document. Text from the document is already quoted and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON.
    #[error("line {line}, column {column}: not JSON: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The parser's message.
        reason: String,
    },
    /// Another JSON type than expected.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The expected type, with its article.
        expected: &'static str,
        /// The actual type, with its article.
        found: &'static str,
    },
    /// A number out of its range, negative or fractional.
    #[error("must be a whole number from 0 to {largest}")]
    Number {
        /// The largest allowed number.
        largest: u64,
    },
    /// A required key that is absent, null or an empty string.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// No names, in an entry that is stricter than the default action: it protects nothing.
    #[error("no system call is named")]
    NoNames,
    /// A name with a NUL: the runtimes would cut it off there.
    #[error("{0} contains a NUL character")]
    Nul(String),
    /// The same key twice, which different readers treat differently.
    #[error("key `{0}` is given twice")]
    DuplicateKey(&'static str),
    /// Go reads keys whatever their case, C does not.
    #[error("key {written} must be written `{meant}`: some programs would read it as that key")]
    KeyCase {
        /// As written.
        written: String,
        /// As it must be.
        meant: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("`{0}` and `{1}` are both given")]
    Both(&'static str, &'static str),
    /// A name that is not allowed here.
    #[error("unknown {what} {name}{}", meant(*.nearest))]
    Unknown {
        /// What it should name: "action", "system call" …
        what: &'static str,
        /// The name, as written.
        name: String,
        /// The known name that is closest to it.
        nearest: Option<&'static str>,
    },
    /// An errno name whose number on this architecture is not known here.
    #[error("the number of {0} on this architecture is not known: give a number instead")]
    ErrnoNumber(String),
    /// runc refuses such a container, because it could not pass on the listener.
    #[error("SCMP_ACT_NOTIFY can't be {0}")]
    Notify(&'static str),
    /// Nothing would decide on the calls.
    #[error("SCMP_ACT_NOTIFY needs a `listenerPath`")]
    NoListener,
    /// A key that the engine does not read, so that the filter would differ from what the document
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

/// A probable mistake that does not prevent the document's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A path as in [`DocumentError::place`].
    pub place: String,
    /// The warning.
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

/// What a warning can be about. Text from the document is already quoted and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// An unknown key, which nothing reads.
    #[error("unknown key {name} is ignored{}", meant(*.nearest))]
    UnknownKey {
        /// As written.
        name: String,
        /// The known key that is closest to it.
        nearest: Option<&'static str>,
    },
    /// A capability or architecture in a condition that no container or host has.
    #[error("unknown {what} {name} never matches{}", meant(*.nearest))]
    NeverMatches {
        /// "capability" or "architecture"
        what: &'static str,
        /// As written.
        name: String,
        /// The known name that is closest to it.
        nearest: Option<&'static str>,
    },
    /// A known key in another case: Go reads it as that key.
    #[error("key {written} is read as `{meant}`")]
    KeyCase {
        /// As written.
        written: String,
        /// As it should be.
        meant: &'static str,
    },
    /// The same key twice: Go uses the last one.
    #[error("key `{0}` is given twice: the last one counts")]
    DuplicateKey(&'static str),
    /// An unknown system call, in a rule that is no stricter than the default action: it gets a
    /// rule if libseccomp knows it, otherwise the default action.
    #[error(
        "unknown system call {name}{}: the default action applies where libseccomp does not know \
         it either",
        meant(*.nearest)
    )]
    UnknownCall {
        /// As written.
        name: String,
        /// The known name that is closest to it.
        nearest: Option<&'static str>,
    },
    /// An unknown architecture in `archMap`, which can't be the host's.
    #[error("unknown architecture {name}{}: it matches no known host", meant(*.nearest))]
    UnknownArch {
        /// As written.
        name: String,
        /// The known name that is closest to it.
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
    /// An empty list of flags, which programs written in Go leave out when they write a
    /// configuration.
    #[error(
        "an empty list is lost where an engine applies the profile itself (a pod's field, \
         Podman): the runtime then chooses, and runc sets SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    )]
    EmptyFlags,
    /// Metadata that is never sent: the runtimes ignore it.
    #[error("`listenerMetadata` is ignored without a `listenerPath`")]
    MetadataWithoutListener,
    /// An invalid kernel version.
    #[error("{0} is not a kernel version such as \"5.10\"; CRI-O and Podman ignore `minKernel`")]
    KernelVersion(String),
    /// `minKernel` has no effect (measured with Podman; containers/common has no such field).
    #[error("CRI-O and Podman ignore `minKernel`")]
    MinKernelIgnored,
    /// Like [`Remark::MinKernelIgnored`], if the running kernel would make a difference.
    #[error(
        "{engine} ignores `minKernel` {minimum}: this entry applies, though by it it would not on \
         kernel {kernel}"
    )]
    AppliesAgainstMinKernel {
        /// The engine.
        engine: Engine,
        /// The version that the document requires.
        minimum: crate::document::kernel::KernelVersion,
        /// The version of the running kernel.
        kernel: crate::document::kernel::KernelVersion,
    },
}

fn meant(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

/// A text from a document for use in messages: quoted, escaped, cut after 64 characters.
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
