//! Filters through libseccomp, as crun and runc build them: the compiled programs, the limits of
//! runc's ENOSYS stub, and the names that the library does not know.
//!
//! It uses the library that this program is linked with; a distribution's crun and runc use the
//! same one.

mod child;

pub use crate::filter::unknown::Unknown;
use crate::{
    Action, Arch, ArgCondition, Filter, Operator,
    compare::difference::first_names,
    filter::{
        Treatment,
        digest::{decode, encode},
        reader::Runtime,
        unknown::{unknown, unprotected},
    },
    program::{
        bpf::{Program, ProgramError},
        layout::{Programs, may_be_a_tree},
    },
};
pub use child::in_child;
use child::{Answer, LIMIT, ROOM, ask};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    error::SeccompError,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek},
    time::Duration,
};

/// How long libseccomp may take for a filter. The largest ones take some ten milliseconds.
const USUAL: Duration = Duration::from_millis(100);

/// The value of `SCMP_FLTATR_CTL_OPTIMIZE` for a binary tree (`seccomp_attr_set(3)`).
const BINARY_TREE: u32 = 2;

/// Why libseccomp can't build a filter.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// An architecture is not known to it.
    #[error("architecture {0} is not known to libseccomp")]
    Arch(Arch),
    /// A name that the runtimes would cut at its NUL character.
    #[error("{0} is not a system call name: it contains a NUL character")]
    Name(String),
    /// It refuses a rule or the whole filter.
    #[error("{0}")]
    Refused(String),
    /// The kernel would not load the program.
    #[error("the compiled filter: {0}")]
    Program(#[from] ProgramError),
    /// The library never finishes with these rules (2.5.4, overlapping conditional rules for one
    /// call); the runtimes would hang.
    #[error(
        "it did not finish within {} s on the rules for {names}; simplify their conditions, or put \
         the more specific rules first", LIMIT.as_secs()
    )]
    Endless {
        /// The calls that may be the cause.
        names: String,
        /// Whether it had the processor for all of that time; on a busy machine it gets less.
        is_sure: bool,
    },
    /// The library had no chance to come to an end.
    #[error("it did not finish within {} s, since the machine is too busy", LIMIT.as_secs())]
    Busy,
    /// The process that compiled ended before it was done.
    #[error("it ended without a result; it may use {} MiB of memory", ROOM >> 20)]
    Died,
    /// There can be no process that compiles.
    #[error("the process that compiles can't be started: {0}")]
    Io(#[from] std::io::Error),
}

impl CompileError {
    /// Whether the filter itself is at fault, so that retrying is useless.
    pub const fn is_lasting(&self) -> bool {
        match self {
            CompileError::Busy | CompileError::Died | CompileError::Io(_) => false,
            CompileError::Endless { is_sure, .. } => *is_sure,
            _ => true,
        }
    }
}

/// Compiles a filter into classic BPF (`struct sock_filter`, 8 bytes each), as both runtimes do with
/// one of up to 32 names before runc puts its ENOSYS stub before it. That is done by another process
/// of this program, which is given some time and memory and ends with this one: see [`in_child`].
///
/// # Errors
/// libseccomp refuses the filter or never finishes with it, as it would in the runtimes.
pub fn compile(filter: &Filter) -> Result<Vec<u8>, CompileError> {
    Ok(compile_all(filter, false)?.swap_remove(0))
}

/// The program, and the binary tree where that is wanted and there is one: at least one.
fn compile_all(filter: &Filter, with_tree: bool) -> Result<Vec<Vec<u8>>, CompileError> {
    if let Some(name) = filter.names().find(|name| name.contains('\0')) {
        return Err(CompileError::Name(format!("{name:?}")));
    }
    match ask(&encode(filter), with_tree)? {
        Answer::Programs(programs) => Ok(programs),
        Answer::Refused(why) => Err(CompileError::Refused(why)),
        Answer::Late { used } if used < USUAL => Err(CompileError::Busy),
        Answer::Late { used } => Err(CompileError::Endless {
            names: conditional_names(filter),
            is_sure: used >= LIMIT / 2,
        }),
        Answer::None => Err(CompileError::Died),
    }
}

/// Like [`compile`], and checks the program as the kernel would.
///
/// # Errors
/// As [`compile`]; or the kernel would not load the program.
pub fn compiled(filter: &Filter) -> Result<Program, CompileError> {
    Ok(Program::parse(&compile(filter)?)?)
}

/// All programs that a runtime may make of a filter, depending on its version.
///
/// # Errors
/// As [`compiled`].
pub(crate) fn compiled_for(filter: &Filter, runtime: Runtime) -> Result<Programs, CompileError> {
    let programs = compile_all(filter, may_be_a_tree(filter, runtime))?;
    let mut programs = programs.iter().map(|program| Program::parse(program));
    Ok(Programs {
        linear: programs.next().ok_or(CompileError::Died)??,
        tree: programs.next().transpose()?,
    })
}

/// The names that have more than one rule, one of them with conditions.
fn conditional_names(filter: &Filter) -> String {
    let mut rules: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for rule in &filter.syscalls {
        for name in &rule.names {
            let (count, conditional) = rules.entry(name).or_default();
            *count += 1;
            *conditional |= !rule.args.is_empty();
        }
    }
    let names: Vec<String> = rules
        .into_iter()
        .filter(|(_, (count, conditional))| *count > 1 && *conditional)
        .map(|(name, _)| name.to_owned())
        .collect();
    first_names(&names)
}

/// Why a filter can't be exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("it is not encoded as it should be")]
    Encoding,
    #[error("architecture {0} is not known to libseccomp")]
    Arch(Arch),
    #[error("rule for {name}: {source}")]
    Rule { name: String, source: SeccompError },
    #[error("{0}")]
    Library(#[from] SeccompError),
    #[error("reading the compiled program: {0}")]
    Io(#[from] std::io::Error),
}

/// The program of an encoded filter, and on demand the binary tree, as libseccomp makes them in this
/// process.
fn export(encoded: &[u8], with_tree: bool) -> Result<Vec<Vec<u8>>, ExportError> {
    let filter = decode(encoded).ok_or(ExportError::Encoding)?;
    let default = Treatment::default_of(&filter);
    let mut context = ScmpFilterContext::new(action(default))?;
    // In their order, as the runtimes do: the program depends on it.
    for arch in filter.architectures.iter().copied() {
        let token = arch.as_str().parse().map_err(|_| ExportError::Arch(arch))?;
        context.add_arch(token)?;
    }
    for rule in &filter.syscalls {
        let treatment = Treatment::of(rule.action, rule.errno_ret);
        if treatment == default {
            continue;
        }
        for name in &rule.names {
            if let Ok(call) = ScmpSyscall::from_name(name) {
                for conditions in rule.branches() {
                    let compared: Vec<_> = conditions.iter().map(comparison).collect();
                    let added = if compared.is_empty() {
                        context.add_rule(action(treatment), call)
                    } else {
                        context.add_rule_conditional(action(treatment), call, &compared)
                    };
                    added.map_err(|source| ExportError::Rule {
                        name: name.clone(),
                        source,
                    })?;
                }
            }
        }
    }
    let mut programs = vec![exported(&context)?];
    // Before 2.5 there is none, and runc goes on without.
    if with_tree && context.set_ctl_optimize(BINARY_TREE).is_ok() {
        programs.push(exported(&context)?);
    }
    Ok(programs)
}

fn exported(context: &ScmpFilterContext) -> Result<Vec<u8>, ExportError> {
    let memory = memfd_create("program", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from)?;
    let mut memory = File::from(memory);
    context.export_bpf(&memory)?;
    let mut program = Vec::new();
    memory.rewind()?;
    memory.read_to_end(&mut program)?;
    Ok(program)
}

fn action(treatment: Treatment) -> ScmpAction {
    match treatment.action {
        Action::Kill | Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno => ScmpAction::Errno(i32::from(treatment.errno)),
        Action::Notify => ScmpAction::Notify,
        Action::Trace => ScmpAction::Trace(treatment.errno),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

fn comparison(condition: &ArgCondition) -> ScmpArgCompare {
    let (operator, datum) = match condition.op {
        Operator::Ne => (ScmpCompareOp::NotEqual, condition.value),
        Operator::Lt => (ScmpCompareOp::Less, condition.value),
        Operator::Le => (ScmpCompareOp::LessOrEqual, condition.value),
        Operator::Eq => (ScmpCompareOp::Equal, condition.value),
        Operator::Ge => (ScmpCompareOp::GreaterEqual, condition.value),
        Operator::Gt => (ScmpCompareOp::Greater, condition.value),
        Operator::MaskedEq => (
            ScmpCompareOp::MaskedEqual(condition.value),
            condition.value_two,
        ),
    };
    ScmpArgCompare::new(u32::from(condition.index), operator, datum)
}

fn token(arch: Arch) -> Result<ScmpArch, CompileError> {
    arch.as_str().parse().map_err(|_| CompileError::Arch(arch))
}

/// The highest number in any rule, for each architecture that the filter lists. Above it, runc
/// answers ENOSYS if the default denies (`libcontainer/seccomp/patchbpf`). Empty if there is no
/// stub.
///
/// # Errors
/// An architecture is not known to libseccomp.
pub fn enosys_limits(filter: &Filter) -> Result<BTreeMap<Arch, i32>, CompileError> {
    let mut limits = BTreeMap::new();
    if filter.default_action.is_permissive_default() {
        return Ok(limits);
    }
    for arch in &filter.architectures {
        let token = token(*arch)?;
        let highest = filter
            .names()
            .filter_map(|name| ScmpSyscall::from_name_by_arch(name, token).ok())
            .map(i32::from)
            .max();
        limits.insert(arch.concrete(), highest.unwrap_or(0).max(0));
    }
    Ok(limits)
}

/// Finds names that the linked libseccomp does not know for any architecture.
pub fn unknown_to_runtime(filter: &Filter) -> Unknown {
    unknown(filter, is_known_to_runtime)
}

/// The names of [`unknown_to_runtime`] in rules that are stricter than the default: without these
/// the container would be less protected.
pub fn unprotected_by_runtime(filter: &Filter) -> Vec<String> {
    unprotected(filter, is_known_to_runtime)
}

fn is_known_to_runtime(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;

    fn filter(default: Action, name: &str, action: Action) -> Filter {
        let rule = Rule {
            names: vec![name.into()],
            action,
            errno_ret: None,
            args: vec![],
        };
        Filter {
            syscalls: vec![rule],
            ..Filter::new(default)
        }
    }

    #[test]
    fn a_name_that_the_library_lacks_is_found() {
        let found = unknown_to_runtime(&filter(Action::Allow, "not_a_call", Action::Errno));
        assert_eq!(found.stricter, ["not_a_call"]);
        let found = unknown_to_runtime(&filter(Action::Allow, "mkdir", Action::Errno));
        assert_eq!(found, Unknown::default());
    }

    #[test]
    fn rules_with_which_the_library_comes_to_no_end_are_an_error_that_names_the_call() {
        let at = |index, op, value| ArgCondition {
            index,
            value,
            value_two: 0,
            op,
        };
        let (a, b, c) = (
            at(0, Operator::Lt, 9),
            at(2, Operator::Ge, 3),
            at(1, Operator::Eq, 1),
        );
        let rule = |errno, args: &[ArgCondition]| Rule {
            names: vec!["mkdir".into()],
            action: Action::Errno,
            errno_ret: Some(errno),
            args: args.to_vec(),
        };
        let endless = Filter {
            syscalls: vec![rule(61, &[a, b, c]), rule(61, &[a, b])],
            ..Filter::new(Action::Errno)
        };
        match compile(&endless) {
            Err(CompileError::Endless { names, .. }) => assert_eq!(names, "mkdir"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_program_is_made_in_the_order_of_the_architectures() {
        let of = |architectures: &[Arch]| Filter {
            architectures: architectures.to_vec(),
            ..filter(Action::Allow, "mkdir", Action::Errno)
        };
        let (a, b) = (Arch::Aarch64, Arch::Arm);
        let program = |architectures: &[Arch]| compile(&of(architectures)).unwrap();
        assert_ne!(program(&[a, b]), program(&[b, a]));
        assert_eq!(program(&[a, b, a]), program(&[a, b]));
    }

    #[test]
    fn the_stub_counts_redundant_names_and_needs_a_listed_architecture() {
        let mut a = filter(Action::Errno, "mkdir", Action::Allow);
        assert!(enosys_limits(&a).unwrap().is_empty());
        a.architectures = vec![Arch::X86_64];
        assert_eq!(enosys_limits(&a).unwrap()[&Arch::X86_64], 83);
        a.syscalls
            .extend(filter(Action::Errno, "openat2", Action::Errno).syscalls);
        assert_eq!(enosys_limits(&a).unwrap()[&Arch::X86_64], 437);
        a.default_action = Action::Allow;
        assert!(enosys_limits(&a).unwrap().is_empty());
    }
}
