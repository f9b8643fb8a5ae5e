//! Why a container does not start, or a program ends without success: each reason with its exit
//! code, its stable word and its sentence.
//!
//! A new reason is one entry in [`Reason`]. If no code fits it, it is also one in [`Code`]; the
//! README's table, `--help` and the metrics' label values follow from there.

use crate::{
    compare::{Difference, subset::Excess},
    document::DocumentError,
    gather::crun::CrunError,
    program::{Unusable, compile::CompileError},
    root::ReadError,
    select::{Engine, SelectionError},
};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $word:literal, $meaning:literal, $remedy:literal;)+) => {
        /// A kind of reason, as an exit code. crun shows nothing else of a failing hook, so what
        /// has a remedy of its own has a code of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant = $number,)+
        }

        impl Code {
            /// Every code, in ascending order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The stable word for logs, decisions, events and metrics.
            pub const fn word(self) -> &'static str {
                match self { $(Code::$variant => $word,)+ }
            }

            /// What it means, as the README's table says it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)+ }
            }

            /// What to do about it, as the README's table says it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Code::$variant => $remedy,)+ }
            }
        }
    };
}

codes! {
    /// Anything that has no code of its own.
    Unexpected = 1, "unexpected", "unexpected failure", "read the line";
    /// The command line is wrong.
    Usage = 2, "usage", "wrong command line", "see `--help`";
    /// hook.toml is broken.
    Settings = 3, "settings", "hook.toml is broken and the container selects something",
        "mend the line that is named";
    /// The state or `config.json` can't be used.
    Input = 4, "input", "state or config.json can't be used",
        "the line says what is wrong; the engine wrote something unexpected";
    /// An annotation or its reference is not valid, or ambiguous.
    Annotation = 5, "annotation", "annotation or reference not valid, or ambiguous",
        "correct the annotation";
    /// The profile is not there.
    ProfileMissing = 6, "profile-missing", "profile missing",
        "put the file below the seccomp root; `wait_ms` is how long it is waited for";
    /// The profile can't be used.
    ProfileUnusable = 7, "profile-unusable", "profile can't be used",
        "a link, not a regular file, too large, not valid, or without the effect that it asks for: the line says which";
    /// Another filter is there, or it is not known which.
    Conflict = 8, "conflict", "conflict: another filter is there", "the line says what differs";
    /// The selected filter is not there.
    FilterMissing = 9, "filter-missing", "the selected filter is not there",
        "nothing applied it: is the wrapper or `inject` installed?";
    /// Settings require a filter and there is none.
    Required = 10, "required", "`require = \"any-filter\"` and there is none",
        "select a profile, or exempt the namespace";
    /// An annotation makes the runtime ignore its filter, or write files.
    RuntimeAnnotation = 11, "runtime-annotation",
        "an annotation that makes crun ignore its filter or write files",
        "remove it; `allow_runtime_annotations` allows those that touch the filter";
    /// The runtime's libseccomp would silently drop a rule that is stricter than the default.
    UnknownToRuntime = 12, "unknown-to-runtime",
        "a stricter rule that the runtime's libseccomp does not know",
        "it would silently not be there: update libseccomp or remove the name";
    /// The engine's default profile is not known.
    NoDefault = 13, "no-default", "the engine's default profile is not known",
        "set `runtime_default`";
    /// What was asked to be recorded can't be, or denials are logged without a recording.
    Recording = 14, "recording",
        "what was asked to be recorded can't be, or can't be written; or denials are logged and the container is not recorded (also under `mode = \"warn\"`)",
        "the line says why; `[record]` in hook.toml; is the record hook there?";
    /// What was decided can't be written.
    Output = 15, "output", "config.json can't be written", "is the disk full, or read-only?";
    /// crun would load another program than the one that `config.json` asks for.
    CrunCache = 16, "crun-cache", "crun's cache holds another program than config.json asks for",
        "delete the folder that is named; update crun";
}

impl Code {
    /// The number that the process exits with.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> std::process::ExitCode {
        std::process::ExitCode::from(code.number())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* [$code:ident] $sentence:literal $variant:ident $({ $($named:tt)* })? $(( $($plain:tt)* ))?;)+) => {
        /// Why a container does not start. Its text says what is wrong and what to do.
        #[derive(Debug, thiserror::Error)]
        pub enum Reason {
            $($(#[$doc])* #[error($sentence)] $variant $({ $($named)* })? $(( $($plain)* ))?,)+
        }

        impl Reason {
            /// Its kind, which carries exit code and word.
            pub const fn code(&self) -> Code {
                match self { $(Reason::$variant { .. } => Code::$code,)+ }
            }
        }
    };
}

reasons! {
    /// hook.toml is broken and the container selects something.
    [Settings] "the settings can't be used: {0}"
    Settings(String);

    /// Nothing can be selected: an annotation is not valid or ambiguous.
    [Annotation] "{0}"
    Selection(SelectionError);

    /// An annotation makes the runtime ignore its filter.
    [RuntimeAnnotation] "{0}"
    RuntimeAnnotation(SelectionError);

    /// An annotation makes the runtime write files.
    [RuntimeAnnotation] "{0}"
    HookOutput(SelectionError);

    /// The profile is not there.
    [ProfileMissing] "{0}"
    ProfileMissing(ReadError);

    /// The profile can't be read.
    [ProfileUnusable] "{0}"
    ProfileUnreadable(ReadError);

    /// The profile is not valid.
    [ProfileUnusable] "the profile is not valid: {0}"
    ProfileInvalid(DocumentError);

    /// Its filter can't be built, so that it can't be compared.
    [ProfileUnusable] "libseccomp can't build the filter: {0}"
    NotBuilt(CompileError);

    /// Its filter has no program, or one that does something else than the filter asks for.
    [ProfileUnusable] "{0}"
    Unusable(Unusable);

    /// Rules would silently not be there.
    [UnknownToRuntime]
    "the runtime's libseccomp does not know {0}, so that rule would silently not be there; update libseccomp or remove the name"
    UnknownToRuntime(String);

    /// A rule has more conditions than crun reads.
    [ProfileUnusable]
    "syscalls[{0}] of the profile has more than 6 conditions, of which crun reads the first 6; split the rule"
    BeyondCrun(usize);

    /// crun has compiled another filter before, which it takes for this one.
    [CrunCache]
    "crun would load another filter from its cache ({what}): to it, filters that differ only in an errno or in where names end are the same; delete {folder} and start the container again"
    CrunCache {
        /// What the cached program does otherwise.
        what: String,
        /// The cache's folder.
        folder: String
    };

    /// Whether crun has one can't be told.
    [CrunCache] "it can't be told which filter crun will load: {0}"
    CrunUnknown(CrunError);

    /// The filter that is there can't be read.
    [Input] "linux.seccomp in config.json is not valid: {0}"
    PresentUnreadable(DocumentError);

    /// Another filter is there.
    [Conflict] "config.json has another filter, which {0}"
    Conflict(Difference);

    /// Nobody says which filter is there.
    [Conflict]
    "the engine does not say which filter the container has, so that a profile can't be set without losing it; select the profile by the field securityContext.seccompProfile"
    PresentUnknown;

    /// The selected profile is looser than the engine's default.
    [Conflict]
    "the engine's default filter is there and is only replaced by a stricter one (replace_default = \"any\" lifts that); the profile {0}"
    LooserThanDefault(Excess);

    /// Whether it is stricter than the engine's default can't be found out.
    [Conflict]
    "the engine's default filter is there and is only replaced by a stricter one; which it is, is not known here: set runtime_default = FILE in hook.toml, or replace_default = \"any\""
    DefaultNotCompared;

    /// The engine's default is never replaced.
    [Conflict] "the engine's default filter is there and replace_default = \"never\""
    DefaultNeverReplaced;

    /// The selected filter is not there.
    [FilterMissing]
    "config.json has no filter; nothing applied the profile (admission, NRI, portcullis-runtime or inject)"
    FilterMissing;

    /// Its filter would come out of a checkpoint's image.
    [FilterMissing]
    "restoring loads the filter from the checkpoint's image, which nobody checked; start the container anew"
    Restored;

    /// A filter is required.
    [Required] "the container has no filter and require = \"any-filter\""
    Required;

    /// Its filter was relaxed for a recording that is not there.
    [Recording]
    "the denials of its filter are only logged, which is for recorded containers alone, and it is not recorded: {0}"
    Unrecorded(String);

    /// The engine's default profile is not known.
    [NoDefault]
    "the default profile of {engine} is not known: {why}; set runtime_default = FILE in hook.toml"
    NoDefault {
        /// The engine.
        engine: Engine,
        /// Why it is not.
        why: String
    };

    /// The engine's default profile can't be used.
    [NoDefault] "the engine's default profile {path}: {reason}"
    DefaultUnusable {
        /// Its file.
        path: String,
        /// What is wrong with it.
        reason: String
    };
}

impl Reason {
    /// Whether it holds where settings only warn too: that a filter of ours is looser than it should
    /// be is our doing, and a file written as root is no filter; neither is what the node's owner
    /// let pass.
    pub const fn is_absolute(&self) -> bool {
        matches!(self, Reason::Unrecorded(_) | Reason::HookOutput(_))
    }
}
