//! Why a container does not start, or a program fails: each reason with its exit code, its stable
//! word and its sentence.
//!
//! A new reason is one entry in [`Reason`]. If no existing code fits, also add one to [`Code`];
//! `--help` and the metrics' label values follow from it, and a test compares docs/exit-codes.md.

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
        /// A kind of reason, as an exit code. crun shows nothing else of a failing hook, so each
        /// kind that has its own remedy has its own code.
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

            /// What it means, as in docs/exit-codes.md.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)+ }
            }

            /// What to do about it, as in docs/exit-codes.md.
            pub const fn remedy(self) -> &'static str {
                match self { $(Code::$variant => $remedy,)+ }
            }
        }
    };
}

codes! {
    /// Anything that has no code of its own.
    Unexpected = 1, "unexpected", "unexpected failure", "read the message";
    /// The command line is wrong.
    Usage = 2, "usage", "wrong command line", "see `--help`";
    /// hook.toml is broken.
    Settings = 3, "settings", "hook.toml is invalid and the container selects something",
        "fix the line that the message names";
    /// The state or `config.json` can't be used.
    Input = 4, "input", "the OCI state or config.json can't be used",
        "the engine wrote something unexpected; the message says what";
    /// An annotation or its reference is not valid, or ambiguous.
    Annotation = 5, "annotation", "an annotation or reference is invalid or ambiguous",
        "correct the annotation";
    /// The profile is not there.
    ProfileMissing = 6, "profile-missing", "the profile does not exist",
        "put the file below the seccomp root; `wait_ms` says how long the gate waits for it";
    /// The profile can't be used.
    ProfileUnusable = 7, "profile-unusable", "the profile can't be used",
        "it is a link or not a regular file, too large, invalid, or does not compile to what it says: the message says which";
    /// The container has another filter, or an unknown one.
    Conflict = 8, "conflict", "the container already has another filter", "the message says what differs";
    /// The container does not have the selected filter.
    FilterMissing = 9, "filter-missing", "the container does not have the selected filter",
        "nothing set it: is the wrapper or `inject` installed?";
    /// The settings require a filter and there is none.
    Required = 10, "required", "`require = \"any-filter\"`, and the container has no filter",
        "select a profile, or exempt the namespace";
    /// An annotation makes the runtime ignore its filter, or write files.
    RuntimeAnnotation = 11, "runtime-annotation",
        "an annotation makes crun ignore its filter or write files",
        "remove it; `allow_runtime_annotations` can allow those that change the filter";
    /// The runtime's libseccomp would silently drop a rule that is stricter than the default.
    UnknownToRuntime = 12, "unknown-to-runtime",
        "the runtime's libseccomp does not know a name in a rule that is stricter than the default",
        "the rule would silently be dropped: update libseccomp, or remove the name";
    /// The engine's default profile is not known.
    NoDefault = 13, "no-default", "the engine's default profile is not known",
        "set `runtime_default`";
    /// A requested recording can't be made, or denials are logged without a recording.
    Recording = 14, "recording",
        "a requested recording can't be made or written; or the container's denials are only logged and it is not being recorded (also with `mode = \"warn\"`)",
        "the message says why; check `[record]` in hook.toml, and that the record hook is installed";
    /// The changed `config.json` can't be written.
    Output = 15, "output", "config.json can't be written", "is the disk full or read-only?";
    /// crun would load another program than the one that `config.json` asks for.
    CrunCache = 16, "crun-cache", "crun's cache holds another program than config.json asks for",
        "delete the folder that the message names";
}

impl Code {
    /// The number that the process exits with.
    pub const fn number(self) -> u8 {
        self as u8
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
            /// Its kind, which has the exit code and the word.
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

    /// Nothing can be selected, because an annotation is invalid or ambiguous.
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

    /// Its filter can't be compiled, so it can't be compared.
    [ProfileUnusable] "libseccomp can't compile the filter: {0}"
    NotBuilt(CompileError);

    /// Its filter does not compile, or its program does something else than the filter says.
    [ProfileUnusable] "{0}"
    Unusable(Unusable);

    /// The runtime would silently drop rules.
    [UnknownToRuntime]
    "the runtime's libseccomp does not know {0} and would silently drop its rule; update libseccomp or remove the name"
    UnknownToRuntime(String);

    /// A rule has more conditions than crun reads.
    [ProfileUnusable]
    "syscalls[{0}] of the profile has more than 6 conditions, but crun reads only the first 6; split the rule"
    BeyondCrun(usize);

    /// crun would load the cached program of another filter.
    [CrunCache]
    "crun is about to load another filter from its cache ({what}), which confuses filters that differ only in an errno or in where names end; delete {folder} and start the container again"
    CrunCache {
        /// What the cached program does differently.
        what: String,
        /// The cache's folder.
        folder: String
    };

    /// Whether crun has one can't be told.
    [CrunCache] "it is not known which filter crun will load: {0}"
    CrunUnknown(CrunError);

    /// The container's filter can't be read.
    [Input] "linux.seccomp in config.json is not valid: {0}"
    PresentUnreadable(DocumentError);

    /// The container has another filter.
    [Conflict] "config.json has another filter, which {0}"
    Conflict(Difference);

    /// It is unknown which filter the container has.
    [Conflict]
    "the engine does not say which filter the container has, and setting a profile could replace a stricter one; select the profile by the field securityContext.seccompProfile"
    PresentUnknown;

    /// The selected profile is looser than the engine's default.
    [Conflict]
    "the engine's default filter is there, and only a stricter profile may replace it (replace_default = \"any\" lifts that); this one {0}"
    LooserThanDefault(Excess);

    /// It is unknown whether the profile is stricter than the engine's default.
    [Conflict]
    "the engine's default filter is there, and only a stricter profile may replace it, but the default can't be read for comparison; set runtime_default = FILE in hook.toml, or replace_default = \"any\""
    DefaultNotCompared;

    /// The engine's default is never replaced.
    [Conflict] "the container has the engine's default filter, and replace_default = \"never\""
    DefaultNeverReplaced;

    /// The container does not have the selected filter.
    [FilterMissing]
    "config.json has no filter: nothing (admission, NRI, portcullis-runtime or inject) set the selected profile"
    FilterMissing;

    /// NRI can't set filters under this runtime.
    [FilterMissing]
    "{0} drops a seccomp policy that an NRI plugin sets, so its filter can't be set that way; update the runtime (containerd 2.2, CRI-O 1.34), or run the agent without --nri"
    DroppedByRuntime(String);

    /// It was not decided in time.
    [Unexpected]
    "it was not decided within {0} ms, and the runtime waits no longer"
    TooLate(u128);

    /// Its filter would come from a checkpoint image.
    [FilterMissing]
    "restoring loads the filter from the checkpoint's image, which nobody has checked; create the container again instead"
    Restored;

    /// A filter is required.
    [Required] "the container has no filter and require = \"any-filter\""
    Required;

    /// Its denials are logged for a recording that does not exist.
    [Recording]
    "the denials of its filter are only logged, which is reserved for recorded containers, and this one is not recorded: {0}"
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
    /// Whether it refuses the container even with `mode = "warn"`. That setting lets containers
    /// start without their filter. It does not excuse a filter that we relaxed ourselves, nor files
    /// that crun would write as root.
    pub const fn is_absolute(&self) -> bool {
        matches!(self, Reason::Unrecorded(_) | Reason::HookOutput(_))
    }
}
