//! Between the numbers of system calls and their names: what the program is told to watch, and
//! the names of what it observed.

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

/// The names of what was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By their sorted names.
    pub names: BTreeSet<&'static str>,
    /// Of those, the calls that came with few values of one argument: which one, and the values.
    pub values: BTreeMap<&'static str, (u8, BTreeSet<u64>)>,
    /// Whether 32-bit calls were among them.
    pub compat: bool,
    /// Numbers that no table has.
    pub unnamed: Vec<u32>,
}

/// Names what was observed. A recording that could not see what the runtime itself calls in its
/// window gets those calls, and under a runtime in Go it gets what Go's scheduler may call.
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
    if active.go_runtime {
        all.names.extend(base::GO_NAMES);
    }
    if needs_base(active, observed) {
        all.names.extend(base::NAMES);
    } else if !all.compat {
        // A condition counts for 32-bit calls too, whose arguments are not looked at.
        all.values = values(active, observed, &all.names);
        if active.go_runtime {
            // With whichever arguments.
            all.values.retain(|name, _| !base::GO_NAMES.contains(name));
        }
    }
    all
}

/// The values of the watched arguments of calls that were observed, where the bound held.
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

/// What the BPF program is told to keep the values of; a call that this architecture lacks keeps
/// its place with a number that no call has.
pub fn watches(arguments: &[Argument]) -> Vec<Watch> {
    arguments
        .iter()
        .map(|argument| Watch {
            call: syscalls::number(&argument.call, Arch::HOST).unwrap_or(u32::MAX),
            argument: argument.index,
        })
        .collect()
}

/// Whether the runtime's own calls could not be told from the container's, or not be observed.
pub fn needs_base(active: &Active, observed: &Observed) -> bool {
    active.loaded_before || observed.window == Window::OpenedByExec
}

/// The native numbers of the calls that make processes.
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
        assert_eq!(all.len(), base::GO_NAMES.len() + 1);
    }

    #[test]
    fn what_came_before_the_window_is_not_named_and_a_window_without_a_filter_gets_the_base() {
        let (active, mut observed) = example(BTreeSet::new(), false);
        let seen = names(&active, &observed).names;
        assert_eq!(seen, BTreeSet::from(["read", "socket"]));
        observed.window = Window::OpenedByExec;
        let all = names(&active, &observed).names;
        assert!(base::NAMES.iter().all(|name| all.contains(name)));
        assert!(!all.contains("mkdirat") || base::NAMES.contains(&"mkdirat"));
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
