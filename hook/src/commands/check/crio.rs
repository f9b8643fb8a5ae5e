//! CRI-O's effective configuration, from the running CRI-O, or else from `crio config`, or else
//! from its files; and whether these agree.

use super::Report;
use crate::node::{
    Node,
    crio::{OPTIONS, Places, by_command, is_given, printed},
};
use portcullis_profile::settings::crio::{CrioConfig, Handler};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

/// The precision of a process's start time.
const SLACK: Duration = Duration::from_secs(2);

/// What is known about CRI-O.
pub(super) struct Crio {
    /// Its configuration.
    pub(super) config: CrioConfig,
    /// When its process started, if it runs.
    pub(super) started: Option<SystemTime>,
    /// What it will work by after its next start, where that may differ.
    pub(super) next: Option<CrioConfig>,
}

impl Crio {
    /// Reports what of the gate ends with this CRI-O, because its files no longer name it: the
    /// folder of the hook that verifies, and handlers that set filters.
    pub(super) fn lasts(&self, verify: Option<&Path>, handlers: &[&str], report: &mut Report) {
        let Some(next) = &self.next else { return };
        let folder = verify.and_then(Path::parent);
        if let Some(folder) =
            folder.filter(|folder| !next.hooks_dir.iter().any(|has| has == folder))
        {
            report.problem(
                "the running CRI-O",
                format!(
                    "its files no longer name the hook folder {}: after its next start, containers \
                     start unverified",
                    folder.display()
                ),
                "portcullis-hook setup crio; if it is meant to go, systemctl restart crio",
            );
        }
        for name in handlers {
            if !next.runtimes.contains_key(*name) {
                report.problem(
                    format!("handler {name}"),
                    "CRI-O's files no longer have it: after its next start, CRI-O can neither \
                     start, stop nor remove containers under it",
                    "portcullis-hook setup crio; if it is meant to go, systemctl restart crio",
                );
            }
        }
    }
}

/// Determines CRI-O's configuration; `None` if that is not possible.
pub(super) fn look(node: &Node, folder: Option<&Path>, report: &mut Report) -> Option<Crio> {
    let process = node.process("crio");
    let arguments = process
        .as_ref()
        .map_or(&[][..], |process| &process.arguments);
    let places = Places::of(arguments, folder);
    let on_disk = places.read(node);
    let started = process.as_ref().map(|process| process.started);
    let installed = node.program("crio");
    if installed.is_some() && !node.executes() {
        report.warning(
            "CRI-O's configuration",
            "crio, which has defaults of its own, is not executed below --root",
            "what follows is of its files; if you trust that root, add --execute",
        );
    }
    let program = installed.filter(|_| node.executes());
    let status = program
        .as_ref()
        .filter(|_| process.is_some())
        .map(|program| {
            let output = node.output(program, &["status", "config"])?;
            printed(CrioConfig::default(), "crio status config", &output)
        });
    match (status, on_disk) {
        (_, Err(error)) => {
            report.problem(
                "CRI-O's configuration",
                error.to_string(),
                "fix it: CRI-O does not start with it",
            );
            None
        }
        (Some(Ok(running)), Ok(on_disk)) => {
            report.ok("CRI-O's configuration", "the running CRI-O was asked");
            compare(&running, &on_disk, report);
            let is_whole = !OPTIONS.iter().any(|option| is_given(arguments, option));
            Some(Crio {
                config: running,
                started,
                next: is_whole.then_some(on_disk),
            })
        }
        (status, Ok(on_disk)) => {
            if let Some(Err(error)) = status {
                report.warning(
                    "CRI-O's configuration",
                    format!("the running CRI-O can't be asked (crio status config: {error})"),
                    "what follows is of its files",
                );
            }
            if program.is_none() && process.is_some() && node.executes() {
                report.warning(
                    "CRI-O's configuration",
                    "the running CRI-O can't be asked: there is no crio in the folders of programs",
                    "what follows is of its files",
                );
            }
            unasked(node, &places, started, arguments, report);
            let config = match program {
                Some(program) => match by_command(
                    node,
                    &program,
                    &node.at(&places.config),
                    &node.at(&places.folder),
                    &on_disk,
                ) {
                    Ok(config) => config,
                    Err(error) => {
                        report.problem(
                            "CRI-O's configuration",
                            error,
                            "fix it: CRI-O does not start with it",
                        );
                        return None;
                    }
                },
                None => on_disk,
            };
            Some(Crio {
                config,
                started,
                next: None,
            })
        }
    }
}

/// Reports what may differ in a CRI-O that can't be asked.
fn unasked(
    node: &Node,
    places: &Places,
    started: Option<SystemTime>,
    arguments: &[String],
    report: &mut Report,
) {
    let Some(started) = started else {
        report.warning("CRI-O", "does not run", "");
        return;
    };
    for option in OPTIONS {
        if is_given(arguments, option) {
            report.warning(
                "CRI-O's command line",
                format!("{option} goes before what is in its files"),
                format!("take {option} out of it"),
            );
        }
    }
    for file in places.files(node).unwrap_or_default() {
        let changed = Node::changed_on_host(&file);
        if changed.is_some_and(|changed| changed > started + SLACK) {
            report.problem(
                "CRI-O's configuration",
                format!("{} is newer than the running CRI-O", file.display()),
                "systemctl restart crio",
            );
        }
    }
}

/// Reports where a running CRI-O differs from its files.
fn compare(running: &CrioConfig, on_disk: &CrioConfig, report: &mut Report) {
    let restart =
        "systemctl restart crio; look at its log and command line if that changes nothing";
    for folder in &on_disk.hooks_dir {
        if !running.hooks_dir.contains(folder) {
            let text = format!(
                "its files name the hook folder {}, and it does not use it",
                folder.display()
            );
            report.problem("the running CRI-O", text, restart);
        }
    }
    for name in on_disk.runtimes.keys() {
        let (Some(wanted), Some(own)) = (on_disk.handler(name), running.handler(name)) else {
            report.problem(
                format!("handler {name}"),
                "CRI-O's files have it, and the running CRI-O ignores it",
                "see that its runtime_path exists, then systemctl restart crio",
            );
            continue;
        };
        let keys = differing(&wanted, &own);
        if !keys.is_empty() {
            report.problem(
                format!("handler {name}"),
                format!(
                    "the running CRI-O has another {} than its files",
                    keys.join(" and ")
                ),
                "systemctl restart crio; if that changes nothing, this version does not know the key",
            );
        }
    }
    let same = [
        (
            "default_runtime",
            running.default_runtime == on_disk.default_runtime,
        ),
        (
            "seccomp_profile",
            running.seccomp_profile == on_disk.seccomp_profile,
        ),
    ];
    for (key, _) in same.iter().filter(|(_, same)| !same) {
        report.problem(
            "the running CRI-O",
            format!("has another {key} than its files"),
            restart,
        );
    }
}

/// The keys that differ between a handler in the files and in the running CRI-O, which has filled
/// in defaults.
fn differing(wanted: &Handler, running: &Handler) -> Vec<&'static str> {
    let same = [
        (
            "runtime_path",
            wanted.path.is_none() || wanted.path == running.path,
        ),
        (
            "platform_runtime_paths",
            wanted.platform_paths == running.platform_paths,
        ),
        (
            "seccomp_profile",
            wanted.seccomp_profile == running.seccomp_profile,
        ),
        ("runtime_type", wanted.is_oci() == running.is_oci()),
    ];
    let differ = same.into_iter().filter(|(_, same)| !same);
    differ.map(|(key, _)| key).collect()
}
