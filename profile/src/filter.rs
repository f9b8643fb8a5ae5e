//! The resolved filter: `linux.seccomp` of the OCI runtime specification as types.
//!
//! A [`Filter`] is what a runtime is told to load; conditions on capabilities, architecture or
//! kernel have been resolved. [`crate::document`] makes filters from the two document forms;
//! [`crate::compare::equality`], [`crate::compare::difference`], [`crate::compare::subset`],
//! [`crate::compose::combine`] and [`crate::compose::stack`] work on them. A filter serialises to
//! the JSON in `config.json`.

mod arch;
pub mod digest;
pub mod errno;
pub(crate) mod nearest;
pub mod reader;
pub mod syscalls;
pub(crate) mod treatment;
pub mod unknown;

pub use treatment::Treatment;

use serde::Serialize;
use std::{fmt, str::FromStr};

/// The largest errno that the kernel returns to a caller (`MAX_ERRNO`, `include/linux/err.h`).
pub const MAX_ERRNO: u16 = 4095;

/// The errno of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` if a document gives none: EPERM, in both crun
/// and runc.
pub const DEFAULT_ERRNO: u16 = 1;

/// The number of arguments of a system call; an argument's index is less than this.
pub const ARGUMENTS: u8 = 6;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $type {
            $($(#[$vdoc])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$type] = &[$($type::$variant,)+];

            /// The name as documents write it.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok($type::$variant),)+
                    _ => Err(UnknownName { what: $what, name: name.to_owned() }),
                }
            }
        }
    };
}

/// A name that is not one of an enumeration's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}")]
pub struct UnknownName {
    /// What it should name: "action", "operator" …
    pub what: &'static str,
    /// The name, as written.
    pub name: String,
}

named! {
    /// What the kernel does with a call (OCI runtime-spec, `config-linux.md#seccomp`).
    Action, "action" {
        /// Kills the thread: the old name for [`Action::KillThread`], with the same effect.
        Kill = "SCMP_ACT_KILL",
        /// Kills the process.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Kills the thread.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// Sends SIGSYS.
        Trap = "SCMP_ACT_TRAP",
        /// Fails with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// Asks a supervisor over the listener's descriptor.
        Notify = "SCMP_ACT_NOTIFY",
        /// Tells a tracer; without one the call fails with ENOSYS.
        Trace = "SCMP_ACT_TRACE",
        /// Executes the call and logs it.
        Log = "SCMP_ACT_LOG",
        /// Executes the call.
        Allow = "SCMP_ACT_ALLOW",
    }
}

impl Action {
    /// Whether the action takes an errno (or, for a tracer, a number). With any other action, crun
    /// refuses an `errnoRet` and runc ignores it.
    pub const fn takes_errno(self) -> bool {
        matches!(self, Action::Errno | Action::Trace)
    }

    /// Whether the kernel executes the call by itself: allowed, or allowed and logged.
    pub const fn lets_through(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }

    /// Whether runc adds no ENOSYS stub if this is the default action
    /// (`libcontainer/seccomp/patchbpf`).
    pub const fn is_permissive_default(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace)
    }

    /// Whether the kernel prefers this action where several filters disagree (seccomp(2):
    /// `KILL_PROCESS`, `KILL_THREAD`, `TRAP`, `ERRNO`, `USER_NOTIF`, `TRACE`, `LOG`, `ALLOW`).
    #[must_use]
    pub fn is_stricter_than(self, other: Action) -> bool {
        // The order of declaration, but for the old name.
        self.folded() < other.folded()
    }

    /// The action, with different names for the same behaviour folded into one.
    #[must_use]
    pub const fn folded(self) -> Action {
        match self {
            Action::Kill => Action::KillThread,
            other => other,
        }
    }
}

named! {
    /// An architecture token of libseccomp (runtime-spec, `LinuxSeccomp.architectures`).
    #[allow(missing_docs)]
    Arch, "architecture" {
        Native = "SCMP_ARCH_NATIVE",
        X86 = "SCMP_ARCH_X86",
        X86_64 = "SCMP_ARCH_X86_64",
        X32 = "SCMP_ARCH_X32",
        Arm = "SCMP_ARCH_ARM",
        Aarch64 = "SCMP_ARCH_AARCH64",
        Mips = "SCMP_ARCH_MIPS",
        Mips64 = "SCMP_ARCH_MIPS64",
        Mips64N32 = "SCMP_ARCH_MIPS64N32",
        Mipsel = "SCMP_ARCH_MIPSEL",
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        Mipsel64N32 = "SCMP_ARCH_MIPSEL64N32",
        Ppc = "SCMP_ARCH_PPC",
        Ppc64 = "SCMP_ARCH_PPC64",
        Ppc64Le = "SCMP_ARCH_PPC64LE",
        S390 = "SCMP_ARCH_S390",
        S390X = "SCMP_ARCH_S390X",
        Parisc = "SCMP_ARCH_PARISC",
        Parisc64 = "SCMP_ARCH_PARISC64",
        Riscv64 = "SCMP_ARCH_RISCV64",
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        M68K = "SCMP_ARCH_M68K",
        Sh = "SCMP_ARCH_SH",
        Sheb = "SCMP_ARCH_SHEB",
    }
}

named! {
    /// How an argument is compared.
    Operator, "operator" {
        /// `argument != value`
        Ne = "SCMP_CMP_NE",
        /// `argument < value`
        Lt = "SCMP_CMP_LT",
        /// `argument <= value`
        Le = "SCMP_CMP_LE",
        /// `argument == value`
        Eq = "SCMP_CMP_EQ",
        /// `argument >= value`
        Ge = "SCMP_CMP_GE",
        /// `argument > value`
        Gt = "SCMP_CMP_GT",
        /// `argument & value == valueTwo`
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
}

named! {
    /// A flag of `seccomp(2)` that a profile may ask for.
    Flag, "flag" {
        /// Synchronises threads; runtimes filter a single thread, so it changes nothing there.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Logs every action but allow.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leaves the speculative store bypass mitigation off.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// A notified caller can only be interrupted by a fatal signal.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

/// One condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgCondition {
    /// Which argument, counted from 0, below [`ARGUMENTS`].
    pub index: u8,
    /// The value; for [`Operator::MaskedEq`] the mask.
    pub value: u64,
    /// For [`Operator::MaskedEq`], the expected value after masking; otherwise meaningless.
    #[serde(skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// The comparison.
    pub op: Operator,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// One entry of `syscalls`: the same action for some names under the same conditions.
///
/// The runtimes combine the conditions with "and". But if one argument has two of them, each
/// condition becomes a rule of its own, which amounts to "or" (runc `matchCall`, crun
/// `libcrun_generate_seccomp`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// System call names, in the document's order.
    pub names: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// The errno; `None` means [`DEFAULT_ERRNO`] where the action takes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u16>,
    /// Conditions on the arguments; without any, the rule always matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgCondition>,
}

impl Rule {
    /// The sets of conditions of which at least one must hold completely; an empty set always
    /// holds.
    pub(crate) fn branches(&self) -> Vec<&[ArgCondition]> {
        let mut seen = 0_u8;
        let repeats = self.args.iter().any(|arg| {
            let bit = 1_u8.checked_shl(u32::from(arg.index)).unwrap_or(0);
            let again = seen & bit != 0;
            seen |= bit;
            again
        });
        match self.args.len() {
            0 => vec![&[]],
            _ if repeats => self.args.chunks(1).collect(),
            _ => vec![&self.args],
        }
    }
}

/// A filter as a runtime is told to load it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// What happens to a call that no rule names.
    pub default_action: Action,
    /// The default's errno; `None` means [`DEFAULT_ERRNO`] where the action takes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u16>,
    /// Architectures beside the native one, which runtimes always include.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Arch>,
    /// Flags; `None` lets the runtime choose (crun and runc ≥ 1.2: `SPEC_ALLOW`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<Flag>>,
    /// The socket of the supervisor that decides [`Action::Notify`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Opaque data for that supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules, in the document's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

impl Filter {
    /// A filter that consists only of a default action.
    pub fn new(default_action: Action) -> Filter {
        Filter {
            default_action,
            default_errno_ret: None,
            architectures: Vec::new(),
            flags: None,
            listener_path: None,
            listener_metadata: None,
            syscalls: Vec::new(),
        }
    }

    /// Every name in the rules, in order and with repetitions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.syscalls
            .iter()
            .flat_map(|rule| rule.names.iter().map(String::as_str))
    }
}
