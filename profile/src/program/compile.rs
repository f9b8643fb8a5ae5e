//! Filters through libseccomp, as crun and runc build them: the compiled program, the limits of
//! runc's ENOSYS stub, and the names that the library does not know.
//!
//! The library is the one that this program is linked with; a distribution's crun and runc use
//! the same.

mod child;

pub use crate::filter::unknown::Unknown;
use crate::{
    Action, Arch, ArgCondition, Filter, Operator,
    compare::difference::first_names,
    compare::normal::{Treatment, has_repeated_index},
    filter::unknown::unknown,
};
use child::{Ended, in_child};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    error::SeccompError,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek},
};

/// How long libseccomp may take for one filter, in milliseconds; the largest take some ten.
const PATIENCE_MS: u16 = 2_000;

/// Why libseccomp can't build a filter.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// An architecture is not known to it.
    #[error("architecture {0} is not known to libseccomp")]
    Arch(Arch),
    /// A rule can't be added.
    #[error("rule for {name}: {source}")]
    Rule {
        /// The system call.
        name: String,
        /// What libseccomp said.
        source: SeccompError,
    },
    /// Anything else.
    #[error("{0}")]
    Library(#[from] SeccompError),
    /// The program can't be taken out of the library.
    #[error("reading the compiled program: {0}")]
    Io(#[from] std::io::Error),
    /// The library does not come to an end with these rules (2.5.4, conditional rules of one call
    /// that overlap); the runtimes would hang.
    #[error(
        "it comes to no end with the rules for {0}: simplify their conditions, or let more \
         specific ones come first"
    )]
    Endless(String),
}

/// Compiles a filter into classic BPF (`struct sock_filter`, 8 bytes each), as both runtimes do
/// before runc puts its ENOSYS stub before it.
///
/// # Errors
/// libseccomp refuses the filter, or comes to no end with it; the runtimes would too.
pub fn compile(filter: &Filter) -> Result<Vec<u8>, CompileError> {
    let memory = memfd_create("filter", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from)?;
    let mut memory = File::from(memory);
    match in_child(PATIENCE_MS, || export(filter, &memory).is_ok())? {
        Ended::Well => {}
        // A child can't say why; here it fails the same way.
        Ended::Badly => {
            memory.set_len(0)?;
            memory.rewind()?;
            export(filter, &memory)?;
        }
        Ended::Late => return Err(CompileError::Endless(conditional_names(filter))),
    }
    let mut program = Vec::new();
    memory.rewind()?;
    memory.read_to_end(&mut program)?;
    Ok(program)
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

/// Builds a filter and writes its program to a file.
fn export(filter: &Filter, memory: &File) -> Result<(), CompileError> {
    let default = Treatment::default_of(filter);
    let mut context = ScmpFilterContext::new(action(default))?;
    let architectures: BTreeSet<Arch> = filter.architectures.iter().copied().collect();
    for arch in architectures {
        context.add_arch(token(arch)?)?;
    }
    for rule in &filter.syscalls {
        let treatment = Treatment::of(rule.action, rule.errno_ret);
        if treatment == default {
            continue;
        }
        for name in &rule.names {
            if let Ok(call) = ScmpSyscall::from_name(name) {
                add(&mut context, action(treatment), call, &rule.args).map_err(|source| {
                    CompileError::Rule {
                        name: name.clone(),
                        source,
                    }
                })?;
            }
        }
    }
    context.export_bpf(memory)?;
    Ok(())
}

/// One rule, or, where an argument has two conditions, one rule for each condition.
fn add(
    context: &mut ScmpFilterContext,
    action: ScmpAction,
    call: ScmpSyscall,
    args: &[ArgCondition],
) -> Result<(), SeccompError> {
    let conditions: Vec<ScmpArgCompare> = args.iter().map(comparison).collect();
    if conditions.is_empty() {
        context.add_rule(action, call)?;
    } else if has_repeated_index(args) {
        for condition in conditions {
            context.add_rule_conditional(action, call, &[condition])?;
        }
    } else {
        context.add_rule_conditional(action, call, &conditions)?;
    }
    Ok(())
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

/// The number of a call in rules, negative where this architecture lacks it; `None` where the
/// library does not know the name.
pub(crate) fn number(name: &str) -> Option<i32> {
    ScmpSyscall::from_name(name).ok().map(i32::from)
}

/// The highest number that any rule names, for each architecture that the filter lists: above it
/// runc answers ENOSYS where the default denies (`libcontainer/seccomp/patchbpf`). Empty where
/// there is no stub.
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
    unknown(filter, |name| ScmpSyscall::from_name(name).is_ok())
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
            Err(CompileError::Endless(names)) => assert_eq!(names, "mkdir"),
            other => panic!("{other:?}"),
        }
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
