//! Our hooks among an engine's hook files: whether one verifies every container, whether recording
//! comes first, and whether the binary behind them is what it should be.

use super::{
    Report,
    hook_files::{Hook, HookFile, Reading},
};
use crate::{
    commands::{Arguments, HookVerb, Verb},
    node::Node,
    oci::config::is_our_hook,
};
use clap::Parser;
use portcullis_profile::{Engine, settings::Settings};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The shipped file for record. Those for collect and for Podman have the same condition.
const SHIPPED: &str = include_str!("../../../../crio.d/hooks.d/portcullis-record.json");

/// One of our hooks, in the order in which they run.
pub(super) struct OurHook<'a> {
    /// Its file.
    pub(super) file: &'a Path,
    /// What the file says.
    pub(super) hook: &'a Hook,
    /// What it does.
    arguments: Arguments,
}

impl OurHook<'_> {
    fn is(&self, verb: &str) -> bool {
        verb_of(&self.arguments) == verb
    }

    /// How often it runs before a container starts: `prestart` and `createRuntime` are one stage.
    fn before_start(&self) -> usize {
        let stages = self.hook.stages.iter();
        stages
            .filter(|stage| matches!(stage.as_str(), "createRuntime" | "prestart"))
            .count()
    }
}

const fn verb_of(arguments: &Arguments) -> &'static str {
    match &arguments.verb {
        Verb::Hook(HookVerb::Verify(_)) => "verify",
        Verb::Hook(HookVerb::Inject) => "inject",
        Verb::Hook(HookVerb::Record(_)) => "record",
        Verb::Hook(HookVerb::Collect(_)) => "collect",
        Verb::Tool(_) => "no hook's verb",
    }
}

/// What the hooks are compared with.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The engine that reads the files.
    pub(super) engine: Engine,
    /// The settings that were checked.
    pub(super) settings: &'a Settings,
    /// Their path.
    pub(super) path: &'a Path,
}

/// Checks the files and returns the hook that verifies every container.
pub(super) fn look<'a>(
    node: &Node,
    wanted: Wanted<'_>,
    files: &'a [HookFile],
    folders: &[PathBuf],
    report: &mut Report,
) -> Option<OurHook<'a>> {
    let Wanted {
        engine, settings, ..
    } = wanted;
    let mut ours = Vec::new();
    for file in files {
        ours.extend(one_file(wanted, file, report));
    }
    for binary in ours
        .iter()
        .map(|own| own.hook.path.as_path())
        .collect::<BTreeSet<_>>()
    {
        look_at_binary(node, binary, report);
    }
    look_at_recording(&ours, settings, report);
    if engine.has_precreate_stage() {
        let injects = |own: &OurHook<'_>| {
            own.is("inject") && own.hook.always && own.hook.stages == ["precreate"]
        };
        if !ours.iter().any(injects) {
            report.warning(
                "a hook that injects",
                "none for every container in stage precreate; selected profiles are set only where portcullis-runtime is the runtime",
                "copy crio.d/podman-hooks.d/portcullis-inject.json there",
            );
        }
    }
    let searched: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    let verifies =
        |own: &OurHook<'_>| own.is("verify") && own.hook.always && own.before_start() > 0;
    let position = ours.iter().position(verifies);
    match position {
        Some(_) => report.ok("a hook that verifies", format!("for every container of {engine}")),
        None => report.problem(
            "a hook that verifies",
            format!("none for every container in {}; {engine} starts containers unverified", searched.join(", ")),
            match engine {
                Engine::Podman => "name the folder of portcullis-verify.json as hooks_dir in containers.conf",
                Engine::CriO | Engine::Containerd => "install crio.d/hooks.d as /etc/crio/hooks.d, then portcullis-hook setup crio, and restart CRI-O",
            },
        ),
    }
    position.map(|index| ours.swap_remove(index))
}

/// Reports what is wrong with a file, and returns its hook if it is one of ours and would run.
fn one_file<'a>(
    wanted: Wanted<'_>,
    file: &'a HookFile,
    report: &mut Report,
) -> Option<OurHook<'a>> {
    let engine = wanted.engine;
    let subject = format!("hook file {}", file.path.display());
    let hook = match &file.reading {
        Reading::Hook(hook) if is_our_hook(&hook.path) => hook,
        _ => {
            not_ours(engine, file, &subject, report);
            return None;
        }
    };
    let arguments = match Arguments::try_parse_from(&hook.arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            report.problem(
                subject,
                format!("hook.args: {line}; no container starts"),
                "take the shipped file",
            );
            return None;
        }
    };
    let own = OurHook {
        file: &file.path,
        hook,
        arguments,
    };
    if own.is("verify") && own.arguments.common.settings != wanted.path {
        report.warning(
            subject.clone(),
            format!(
                "uses the settings of {}",
                own.arguments.common.settings.display()
            ),
            "look at these too: check --settings",
        );
    }
    if !hook.unknown.is_empty() {
        let text = format!("{engine} ignores {}", hook.unknown.join(", "));
        report.warning(subject.clone(), text, "is it misspelt?");
    }
    for hidden in &file.hides {
        let text = format!("takes the place of {}", hidden.display());
        report.warning(subject.clone(), text, "remove the one that is not meant");
    }
    let wrong = mistakes(wanted, &own);
    if wrong.is_empty() {
        report.ok(subject.clone(), verb_of(&own.arguments));
    }
    for (text, remedy) in wrong {
        report.problem(subject.clone(), text, remedy);
    }
    Some(own)
}

/// Reports what is wrong with a file that has no hook of ours.
fn not_ours(engine: Engine, file: &HookFile, subject: &str, report: &mut Report) {
    match &file.reading {
        Reading::Hook(hook) => {
            for hidden in &file.hides {
                let name = hidden.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("portcullis-") {
                    let text = format!(
                        "hides {} and runs {}",
                        hidden.display(),
                        hook.path.display()
                    );
                    report.problem(subject, text, "remove it");
                }
            }
        }
        Reading::Absent(hook) if is_our_hook(&hook.path) => report.problem(
            subject,
            format!(
                "{} does not exist: {engine} skips the hook without a word",
                hook.path.display()
            ),
            "install the binary, then touch the file",
        ),
        Reading::Absent(_) => {}
        Reading::Broken(wrong) => {
            let (effect, remedy) = match engine {
                Engine::Podman => ("Podman starts no container", "fix it or remove it"),
                _ if wrong.contains("\"precreate\"") => (
                    "precreate is Podman's own: CRI-O does not start over it",
                    "move the file to a folder that Podman alone reads",
                ),
                _ => ("CRI-O does not start over it", "fix it or remove it"),
            };
            report.problem(subject, format!("{wrong}; {effect}"), remedy);
        }
    }
}

/// What is wrong with a hook of ours, and what to do.
fn mistakes(wanted: Wanted<'_>, own: &OurHook<'_>) -> Vec<(String, &'static str)> {
    let Wanted {
        engine, settings, ..
    } = wanted;
    let mut wrong = Vec::new();
    let hook = own.hook;
    let verb = verb_of(&own.arguments);
    let stages = hook.stages.join(", ");
    let (stage, runs) = match verb {
        "inject" => (
            "precreate",
            hook.stages.iter().any(|own| own == "precreate"),
        ),
        "collect" => ("poststop", hook.stages.iter().any(|own| own == "poststop")),
        _ => ("createRuntime", own.before_start() > 0),
    };
    if !runs {
        wrong.push((
            format!("{verb} belongs into stage {stage}, not {stages}"),
            "take the shipped file",
        ));
    } else if hook.stages.len() > 1 {
        wrong.push((
            format!("runs more than once: its stages are {stages}"),
            "name one stage",
        ));
    }
    if verb == "verify" && !hook.always {
        wrong.push((
            "does not run for every container".to_owned(),
            "\"when\": {\"always\": true}, and nothing else",
        ));
    }
    let believed = own.arguments.common.engine.unwrap_or(settings.engine);
    if believed != engine {
        wrong.push((
            format!("believes {believed}'s annotations and is read by {engine}"),
            "take the shipped file of that engine",
        ));
    }
    match hook.timeout {
        Some(seconds) if seconds <= 0 => {
            wrong.push((format!("its timeout is {seconds}"), "\"timeout\": 5"));
        }
        Some(seconds) if seconds.unsigned_abs().saturating_mul(1000) <= 2 * settings.wait_ms => {
            wrong.push((
                format!(
                    "its timeout of {seconds} s is not more than twice wait_ms = {}",
                    settings.wait_ms
                ),
                "\"timeout\": 5",
            ));
        }
        _ => {}
    }
    wrong
}

/// Checks that the binary that a hook executes is safe and really ours.
fn look_at_binary(node: &Node, binary: &Path, report: &mut Report) {
    let subject = format!("binary {}", binary.display());
    if let Some(wrong) = node.not_executable(binary) {
        report.problem(
            subject,
            format!("{wrong}; no container starts"),
            format!("chmod 0755 {}", binary.display()),
        );
        return;
    }
    let folder = binary.parent().unwrap_or(Path::new("/"));
    for path in [binary, folder] {
        if let Some(wrong) = node.changeable(path) {
            report.problem(
                subject,
                format!("{}: {wrong}", path.display()),
                format!("chown root {0}; chmod go-w {0}", path.display()),
            );
            return; // and is not executed here
        }
    }
    let own = format!("portcullis-hook {}", env!("CARGO_PKG_VERSION"));
    if !node.executes() {
        report.ok(subject, "is there; not executed below --root");
        return;
    }
    match node.output(binary, &["--version"]) {
        Err(wrong) => report.problem(
            subject,
            format!("can't be executed ({wrong}); no container starts"),
            "install it again",
        ),
        Ok(version) if version.trim() == own => report.ok(subject, own),
        Ok(version) => report.warning(
            subject,
            format!("is {:?}, and this is {own}", version.trim()),
            "run its own check",
        ),
    }
}

/// Checks that containers are recorded before they are verified, and that recordings are written at
/// the end.
fn look_at_recording(ours: &[OurHook<'_>], settings: &Settings, report: &mut Report) {
    let first = |verb: &str| {
        ours.iter()
            .position(|own| own.is(verb) && own.before_start() > 0)
    };
    let record = first("record");
    let collect = ours.iter().any(|own| own.is("collect"));
    if let (Some(record), Some(verify)) = (record, first("verify"))
        && verify < record
    {
        report.problem(
            format!("hook file {}", ours[record].file.display()),
            format!("runs after {}", ours[verify].file.display()),
            "keep the shipped names: a container has to be recorded before it is verified",
        );
    }
    if record.is_none() && settings.record.log_denials {
        report.problem(
            "a hook that records (log_denials)",
            "there is none before verify; denials stay denials",
            "install portcullis-record.json and portcullis-collect.json",
        );
    }
    if record.is_some() != collect {
        let (is, lacks) = if collect {
            ("collect", "record")
        } else {
            ("record", "collect")
        };
        report.problem(
            format!("a hook that does {lacks}"),
            format!("there is one for {is} alone"),
            format!("install portcullis-{lacks}.json"),
        );
    }
    let shipped = serde_json::from_str::<Value>(SHIPPED).unwrap_or_default();
    for own in ours
        .iter()
        .filter(|own| own.is("record") || own.is("collect"))
    {
        let same = own
            .hook
            .annotations
            .as_ref()
            .is_some_and(|all| json!(all) == shipped["when"]["annotations"]);
        if !same && !own.hook.always {
            report.warning(
                format!("hook file {}", own.file.display()),
                "its condition is not the shipped one, and was not looked at",
                "",
            );
        }
    }
}

/// Whether one of the files records.
pub(super) fn records(files: &[HookFile]) -> bool {
    files.iter().any(|file| match &file.reading {
        Reading::Hook(hook) => {
            is_our_hook(&hook.path) && hook.arguments.iter().any(|word| word == "record")
        }
        _ => false,
    })
}
