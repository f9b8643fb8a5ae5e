//! From what was seen to a profile and its metadata.

use super::{
    RecordError,
    active::Active,
    layout::{Opened, Seen, Watch},
    request::Place,
};
use crate::clock::{now, stamp};
use portcullis_profile::{
    Action, Arch, ArgCondition, Filter, Operator, Rule,
    compose::base,
    compose::combine::{AlgebraError, union},
    compose::stack::stack,
    filter::syscalls::{self, name},
    parse_filter,
    settings::Argument,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// The architecture of 32-bit calls here.
const COMPAT: Arch = if cfg!(target_arch = "aarch64") {
    Arch::Arm
} else {
    Arch::X86
};

/// The names of what was seen.
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

/// Names what was seen; a recording that could not see what the runtime itself calls in its
/// window gets those calls, and where that is written in Go what its scheduler may call.
pub fn names(active: &Active, seen: &Seen) -> Names {
    let mut all = Names {
        compat: !seen.compat.is_empty(),
        ..Names::default()
    };
    let native = seen.native.iter().map(|number| (*number, Arch::HOST));
    let compat = seen.compat.iter().map(|number| (*number, COMPAT));
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
    if needs_base(active, seen) {
        all.names.extend(base::NAMES);
    } else if !all.compat {
        // A condition counts for 32-bit calls too, whose arguments are not looked at.
        all.values = values(active, seen, &all.names);
        if active.go_runtime {
            // With whichever arguments.
            all.values.retain(|name, _| !base::GO_NAMES.contains(name));
        }
    }
    all
}

/// The values of the watched arguments of calls that were seen, where the bound held.
fn values(
    active: &Active,
    seen: &Seen,
    names: &BTreeSet<&'static str>,
) -> BTreeMap<&'static str, (u8, BTreeSet<u64>)> {
    let watched = active.arguments.iter().zip(&seen.watches);
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

fn needs_base(active: &Active, seen: &Seen) -> bool {
    active.loaded_before || seen.opened == Opened::ByExec
}

/// The profile: the names are allowed, on top of the base whose denials stay denials.
///
/// # Errors
/// The base is not a filter any more.
pub fn profile(active: &Active, names: &Names, default: Action) -> Result<Filter, RecordError> {
    let mut architectures = vec![Arch::HOST];
    if names.compat {
        architectures.push(COMPAT);
    }
    let own = Filter {
        architectures,
        syscalls: rules(names),
        ..Filter::new(default)
    };
    match &active.base {
        None => Ok(own),
        Some(base) => {
            let base = parse_filter(base.as_bytes()).map_err(|source| RecordError::Document {
                path: active.output().path(),
                source,
            })?;
            Ok(extended(&base, &own))
        }
    }
}

/// One rule for the calls that are simply allowed, then one for each value of the others.
fn rules(names: &Names) -> Vec<Rule> {
    let plain = names.names.iter().copied();
    let plain = plain
        .filter(|name| !names.values.contains_key(name))
        .collect();
    let mut rules = vec![allowing::<&str>(&plain)];
    for (name, (index, values)) in &names.values {
        rules.extend(values.iter().map(|value| Rule {
            args: vec![ArgCondition {
                index: *index,
                value: *value,
                value_two: 0,
                op: Operator::Eq,
            }],
            ..allowing(&BTreeSet::from([name]))
        }));
    }
    rules
}

/// What is allowed by a profile or was recorded: both have to have the same default action.
///
/// # Errors
/// The headers differ, or a call's rules can't be joined.
pub fn merged(there: &Filter, recorded: &Filter) -> Result<Filter, AlgebraError> {
    let (mut there, mut recorded) = (there.clone(), recorded.clone());
    for arch in &recorded.architectures {
        if !there.architectures.contains(arch) {
            there.architectures.push(*arch);
        }
    }
    recorded.architectures.clone_from(&there.architectures);
    Ok(gathered(union(&there, &recorded)?))
}

/// A profile with what was recorded added to it; its own rules win.
pub fn extended(base: &Filter, recorded: &Filter) -> Filter {
    let mut filter = stack(base, &[recorded]);
    for arch in &recorded.architectures {
        if !filter.architectures.is_empty() && !filter.architectures.contains(arch) {
            filter.architectures.push(*arch);
        }
    }
    gathered(filter)
}

/// One sorted rule for all names that are simply allowed, so that a second recording adds none.
fn gathered(mut filter: Filter) -> Filter {
    let allowed: BTreeSet<String> = filter
        .syscalls
        .iter()
        .filter(|rule| is_plain_allow(rule))
        .flat_map(|rule| rule.names.iter().cloned())
        .collect();
    filter.syscalls.retain(|rule| !is_plain_allow(rule));
    filter.syscalls.push(allowing(&allowed));
    filter
}

fn is_plain_allow(rule: &Rule) -> bool {
    rule.action == Action::Allow && rule.args.is_empty()
}

fn allowing<S: AsRef<str>>(names: &BTreeSet<S>) -> Rule {
    Rule {
        names: names.iter().map(|name| name.as_ref().to_owned()).collect(),
        action: Action::Allow,
        errno_ret: None,
        args: Vec::new(),
    }
}

/// A profile as text: one member a line, so that two can be compared. The path is for the error.
///
/// # Errors
/// It can't be written as JSON.
pub fn text(filter: &Filter, path: &Path) -> Result<String, RecordError> {
    serde_json::to_string_pretty(filter)
        .map(|text| text + "\n")
        .map_err(|error| RecordError::Broken {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

/// What is known of a recording, beside its profile.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    version: u32,
    profile: PathBuf,
    container_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    engine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version: Option<String>,
    kernel: String,
    started: String,
    ended: String,
    /// Why it ended: [`End::as_str`].
    end: &'static str,
    /// What opened the window: "filter", "execve" or "nothing".
    window: &'static str,
    /// Whether the calls of the runtime itself were added, since they could not be seen.
    runtime_base_added: bool,
    /// Whether the calls of Go's scheduler were added.
    go_scheduler_added: bool,
    filter_while_recording: String,
    /// Calls that made, or tried to make, a process, and the first one.
    processes: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    numbers_without_a_name: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign_call: Option<u32>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its container was stopped and the runtime said so.
    Stopped,
    /// Its container is gone and nobody said so.
    Vanished,
    /// It ran for as long as hook.toml lets it.
    MaxSeconds,
    /// The node was restarted, which loses what the kernel held.
    Rebooted,
}

impl End {
    /// In the metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            End::Stopped => "stopped",
            End::Vanished => "vanished",
            End::MaxSeconds => "max_seconds",
            End::Rebooted => "rebooted",
        }
    }
}

/// The metadata of a recording that has ended.
pub fn metadata(active: &Active, seen: Option<&Seen>, unnamed: &[u32], end: End) -> Metadata {
    let identity = active.identity.clone();
    Metadata {
        version: 1,
        profile: active.output().path(),
        container_id: active.id.clone(),
        namespace: identity.namespace,
        pod: identity.pod,
        container: identity.container,
        image: active.image.clone(),
        engine: active.engine.to_string(),
        runtime: active.runtime.clone(),
        runtime_version: active.runtime.as_ref().and_then(version),
        kernel: kernel(),
        started: stamp(active.started),
        ended: stamp(now()),
        end: end.as_str(),
        window: match seen.map_or(Opened::Not, |seen| seen.opened) {
            Opened::Not => "nothing",
            Opened::ByFilter => "filter",
            Opened::ByExec => "execve",
        },
        runtime_base_added: seen.is_some_and(|seen| needs_base(active, seen)),
        go_scheduler_added: active.go_runtime,
        filter_while_recording: match &active.filter {
            None => "none".to_owned(),
            Some(action) if active.denials_logged => format!(
                "one with the default action {action}, whose denials were logged and so seen"
            ),
            Some(action) => {
                format!("one with the default action {action}; what it denied was not seen")
            }
        },
        processes: seen.map_or(0, |seen| seen.forks + 1),
        numbers_without_a_name: unnamed.to_vec(),
        foreign_call: seen.and_then(|seen| seen.strange),
    }
}

/// Where the metadata of a profile goes.
pub fn metadata_place(profile: &Place) -> Place {
    Place {
        folder: profile.folder.clone(),
        file: profile.file.with_extension("metadata.json"),
    }
}

/// The first line of what a runtime says of its version.
fn version(runtime: &PathBuf) -> Option<String> {
    let output = Command::new(runtime).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next()?.chars().take(100).collect())
}

fn kernel() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// The native numbers of the calls that make processes.
pub fn process_calls() -> Vec<u32> {
    ["clone", "clone3", "fork", "vfork"]
        .iter()
        .filter_map(|name| syscalls::number(name, Arch::HOST))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::layout::Values;

    #[test]
    fn what_a_base_denies_stays_denied_and_a_second_recording_adds_nothing() {
        let base = Filter {
            syscalls: vec![
                Rule {
                    names: vec!["mkdir".into()],
                    action: Action::Errno,
                    errno_ret: Some(61),
                    args: Vec::new(),
                },
                allowing(&BTreeSet::from(["read"])),
            ],
            ..Filter::new(Action::Errno)
        };
        let recorded = Filter {
            architectures: vec![Arch::HOST],
            syscalls: vec![allowing(&BTreeSet::from(["mkdir", "read", "write"]))],
            ..Filter::new(Action::Errno)
        };
        let once = extended(&base, &recorded);
        assert_eq!(once.syscalls.len(), 2);
        assert_eq!(once.syscalls[0].errno_ret, Some(61));
        assert_eq!(once.syscalls[1].names, ["read", "write"]);
        assert_eq!(extended(&once, &recorded), once);
    }

    #[test]
    fn a_call_with_few_values_is_allowed_with_these_alone_and_merging_adds_more() {
        let recorded = |values: &[u64]| {
            let names = Names {
                names: BTreeSet::from(["read", "socket"]),
                values: BTreeMap::from([("socket", (0, values.iter().copied().collect()))]),
                ..Names::default()
            };
            Filter {
                architectures: vec![Arch::HOST],
                syscalls: rules(&names),
                ..Filter::new(Action::Errno)
            }
        };
        let first = recorded(&[1]);
        assert_eq!(first.syscalls[0].names, ["read"]);
        assert_eq!(first.syscalls[1].args[0].value, 1);
        let both = merged(&first, &recorded(&[2])).unwrap();
        let expected = recorded(&[1, 2]);
        assert!(
            portcullis_profile::equal(&both, &expected).unwrap(),
            "{both:?}"
        );
        assert_eq!(merged(&both, &first).unwrap(), both);
        assert!(merged(&Filter::new(Action::Allow), &first).is_err());
    }

    /// A recording in which `socket` and `read` were seen, `socket` with some values.
    fn seen(values: BTreeSet<u64>, overflowed: bool) -> (Active, Seen) {
        let active = Active {
            id: "x".into(),
            slot: 0,
            cgroup: 1,
            cgroup_folder: "/c".into(),
            boot: "b".into(),
            engine: portcullis_profile::Engine::Podman,
            identity: portcullis_profile::select::identity::Identity::default(),
            image: None,
            runtime: None,
            go_runtime: false,
            filter: Some("SCMP_ACT_ALLOW".into()),
            denials_logged: false,
            loaded_before: false,
            started: 0,
            folder: "/f".into(),
            file: "p.json".into(),
            arguments: vec!["socket:0".parse().unwrap()],
            base: None,
        };
        let number = |name| syscalls::number(name, Arch::HOST).unwrap();
        let seen = Seen {
            opened: Opened::ByFilter,
            forks: 0,
            strange: None,
            native: BTreeSet::from([number("socket"), number("read")]),
            compat: BTreeSet::new(),
            before: BTreeSet::from([number("mkdirat")]),
            watches: vec![Values { values, overflowed }],
        };
        (active, seen)
    }

    #[test]
    fn values_are_written_only_where_the_bound_held_and_no_32_bit_call_was_made() {
        let rules = |active: &Active, seen: &Seen| {
            profile(active, &names(active, seen), Action::Errno)
                .unwrap()
                .syscalls
        };
        let (active, held) = seen(BTreeSet::from([1, 2]), false);
        let written = rules(&active, &held);
        assert_eq!(written[0].names, ["read"]);
        assert_eq!(written.len(), 3);
        let (active, overflowed) = seen((0..16).collect(), true);
        assert_eq!(rules(&active, &overflowed)[0].names, ["read", "socket"]);
        let (active, mut compat) = seen(BTreeSet::from([1]), false);
        compat.compat = BTreeSet::from([syscalls::number("getpgid", COMPAT).unwrap()]);
        assert_eq!(
            rules(&active, &compat)[0].names,
            ["getpgid", "read", "socket"]
        );
        assert_eq!(
            profile(&active, &names(&active, &compat), Action::Errno)
                .unwrap()
                .architectures,
            [Arch::HOST, COMPAT]
        );
    }

    #[test]
    fn a_runtime_in_go_gets_what_its_scheduler_may_call() {
        let (mut active, seen) = seen(BTreeSet::new(), false);
        assert!(!names(&active, &seen).names.contains("rt_sigreturn"));
        active.go_runtime = true;
        let all = names(&active, &seen).names;
        assert!(base::GO_NAMES.iter().all(|name| all.contains(name)));
        assert_eq!(all.len(), base::GO_NAMES.len() + 1);
    }

    #[test]
    fn metadata_says_whether_denials_were_seen() {
        let (mut active, seen) = seen(BTreeSet::new(), false);
        let said = |active: &Active| {
            serde_json::to_value(metadata(active, Some(&seen), &[], End::Stopped)).unwrap()
                ["filterWhileRecording"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert!(said(&active).ends_with("what it denied was not seen"));
        active.denials_logged = true;
        assert!(said(&active).ends_with("whose denials were logged and so seen"));
        active.filter = None;
        assert_eq!(said(&active), "none");
    }

    #[test]
    fn processes_are_made_by_known_calls() {
        assert!(process_calls().len() >= 2);
    }
}
