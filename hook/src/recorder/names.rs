//! Translates between names and numbers of system calls: which calls the BPF program watches, and
//! which ones it observed.

use super::{
    active::Active,
    layout::{Observed, Watch, Window},
};
use portcullis_profile::{
    Arch,
    compose::base,
    filter::syscalls::{self, name},
    settings::Argument,
};
use std::collections::{BTreeMap, BTreeSet};

/// The architecture of 32-bit calls here.
pub const COMPAT: Arch = if cfg!(target_arch = "aarch64") {
    Arch::Arm
} else {
    Arch::X86
};

/// What the kernel has a program call by itself, so that no program uses it and a recording sees it
/// by luck only: a wait with a timeout that is interrupted by `SIGSTOP`, a debugger or the freezer
/// of cgroups, and for which no handler runs, ends with `ERESTART_RESTARTBLOCK`
/// (`kernel/time/hrtimer.c` and `posix-cpu-timers.c` for `nanosleep`, `kernel/futex/waitwake.c`,
/// `fs/select.c` for `poll`). The way back to the program then sets this call's number
/// (`arch/x86/kernel/signal.c`, `arch/arm64/kernel/signal.c`), and the call goes on with the time
/// that is left (`kernel/signal.c`). The filter sees it as any other; denied, the wait fails.
const BY_THE_KERNEL: &str = "restart_syscall";

/// The observed calls by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The sorted names.
    pub names: BTreeSet<&'static str>,
    /// The calls among them that had only few values of an argument: which argument, and the
    /// values.
    pub values: BTreeMap<&'static str, (u8, BTreeSet<u64>)>,
    /// Whether 32-bit calls were among them.
    pub compat: bool,
    /// Numbers that are in no table.
    pub unnamed: Vec<u32>,
}

/// Translates the observations to names. The call that the kernel makes by itself is always added;
/// so are, if they could not be observed, the runtime's own calls, and under a runtime written in
/// Go, those that Go's scheduler may make.
pub fn names(active: &Active, observed: &Observed) -> Names {
    let mut all = Names {
        compat: !observed.compat.is_empty(),
        ..Names::default()
    };
    let native = observed.native.iter().map(|number| (*number, Arch::HOST));
    let compat = observed.compat.iter().map(|number| (*number, COMPAT));
    for (number, arch) in native.chain(compat) {
        match name(number, arch) {
            Some(name) => {
                all.names.insert(name);
            }
            None => all.unnamed.push(number),
        }
    }
    all.names.insert(BY_THE_KERNEL);
    if active.go_runtime {
        all.names.extend(base::GO_NAMES);
    }
    if needs_base(active, observed) {
        all.names.extend(base::NAMES);
    } else if !all.compat {
        // A condition would also apply to 32-bit calls, whose arguments are not recorded.
        all.values = values(active, observed, &all.names);
        // It has no arguments; the registers hold those of the call that was interrupted.
        all.values.remove(BY_THE_KERNEL);
        if active.go_runtime {
            // With any arguments.
            all.values.retain(|name, _| !base::GO_NAMES.contains(name));
        }
    }
    all
}

/// The values of watched arguments in observed calls, if there were not too many.
fn values(
    active: &Active,
    observed: &Observed,
    names: &BTreeSet<&'static str>,
) -> BTreeMap<&'static str, (u8, BTreeSet<u64>)> {
    let watched = active.arguments.iter().zip(&observed.watches);
    watched
        .filter(|(_, values)| !values.overflowed && !values.values.is_empty())
        .filter_map(|(argument, values)| {
            let name = names.get(argument.call.as_str())?;
            Some((*name, (argument.index, values.values.clone())))
        })
        .collect()
}

/// The arguments whose values the BPF program keeps. A call that this architecture lacks keeps its
/// place with a number that no call has.
pub fn watches(arguments: &[Argument]) -> Vec<Watch> {
    arguments
        .iter()
        .map(|argument| Watch {
            call: syscalls::number(&argument.call, Arch::HOST).unwrap_or(u32::MAX),
            argument: argument.index,
        })
        .collect()
}

/// Whether the runtime's own calls could not be observed, or not told from the container's.
pub fn needs_base(active: &Active, observed: &Observed) -> bool {
    active.loaded_before || observed.window == Window::OpenedByExec
}

/// The native numbers of the calls that create processes.
pub fn process_calls() -> Vec<u32> {
    ["clone", "clone3", "fork", "vfork"]
        .iter()
        .filter_map(|name| syscalls::number(name, Arch::HOST))
        .collect()
}

/// A recording in which `socket` and `read` were observed, `socket` with some values.
#[cfg(test)]
pub(super) fn example(values: BTreeSet<u64>, overflowed: bool) -> (Active, Observed) {
    use super::layout::Values;
    let number = |name| syscalls::number(name, Arch::HOST).unwrap();
    let observed = Observed {
        window: Window::OpenedByFilter,
        forks: 0,
        unknown_abi: None,
        native: BTreeSet::from([number("socket"), number("read")]),
        compat: BTreeSet::new(),
        before: BTreeSet::from([number("mkdirat")]),
        watches: vec![Values { values, overflowed }],
    };
    (super::active::example(), observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_in_go_gets_what_its_scheduler_may_call() {
        let (mut active, observed) = example(BTreeSet::new(), false);
        assert!(!names(&active, &observed).names.contains("rt_sigreturn"));
        active.go_runtime = true;
        let all = names(&active, &observed).names;
        assert!(base::GO_NAMES.iter().all(|name| all.contains(name)));
        assert_eq!(all.len(), base::GO_NAMES.len() + 2);
    }

    #[test]
    fn what_came_before_the_window_is_not_named_and_a_window_without_a_filter_gets_the_base() {
        let (active, mut observed) = example(BTreeSet::new(), false);
        let seen = names(&active, &observed).names;
        assert_eq!(seen, BTreeSet::from(["read", BY_THE_KERNEL, "socket"]));
        observed.window = Window::OpenedByExec;
        let all = names(&active, &observed).names;
        assert!(base::NAMES.iter().all(|name| all.contains(name)));
        assert!(!all.contains("mkdirat") || base::NAMES.contains(&"mkdirat"));
    }

    #[test]
    fn what_the_kernel_calls_by_itself_is_there_unseen_and_with_any_arguments() {
        let (mut active, mut observed) = example(BTreeSet::from([1]), false);
        let number = syscalls::number(BY_THE_KERNEL, Arch::HOST).unwrap();
        assert!(!observed.native.contains(&number));
        assert!(names(&active, &observed).names.contains(BY_THE_KERNEL));
        observed.native.insert(number);
        active.arguments[0].call = BY_THE_KERNEL.to_owned();
        let seen = names(&active, &observed);
        assert!(seen.names.contains(BY_THE_KERNEL));
        assert!(!seen.values.contains_key(BY_THE_KERNEL));
    }

    #[test]
    fn a_number_without_a_name_is_kept_as_a_number() {
        let (active, mut observed) = example(BTreeSet::new(), false);
        observed.native.insert(511);
        assert_eq!(names(&active, &observed).unnamed, [511]);
    }

    #[test]
    fn processes_are_made_by_known_calls() {
        assert!(process_calls().len() >= 2);
    }
}
