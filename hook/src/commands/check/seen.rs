//! Traces of the gate: when the hook last decided on a container, and which running containers were
//! started without it.
//!
//! The runtimes keep a folder for each container (`runtime_root`), and its `config.json` says which
//! hooks it was started with. A container that was created after the engine last read the hook
//! files, and whose configuration does not have the hook, has bypassed the gate.

use super::{Report, hook_files::HookFile};
use crate::{
    clock,
    node::{
        Node,
        containers::{self, Known},
    },
    oci::config::is_our_hook,
};
use portcullis_profile::{Engine, select::annotations::MANAGER, stamp};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How many containers are named in one line.
const NAMED: usize = 3;

/// A container that a runtime knows.
#[derive(Debug)]
struct Container {
    id: String,
    created: SystemTime,
    verified: bool,
}

/// When an engine that watches its hook folders last read them, at least: any event there makes it
/// read everything again.
pub(super) fn last_read(
    node: &Node,
    started: Option<SystemTime>,
    folders: &[PathBuf],
    files: &[HookFile],
) -> Option<SystemTime> {
    let paths = files.iter().map(|file| &file.path).chain(folders);
    let started = started?;
    paths
        .filter_map(|path| node.changed(path))
        .chain([started])
        .max()
}

/// What verifies, as the files say.
pub(super) struct Gate<'a> {
    /// Whose containers.
    pub(super) engine: Engine,
    /// Where the runtimes keep theirs.
    pub(super) roots: BTreeSet<PathBuf>,
    /// When the engine last read its hook files.
    pub(super) since: Option<SystemTime>,
    /// Where the engine watches its hook files: how.
    pub(super) watch: Option<Watch<'a>>,
    /// The hook's file.
    pub(super) file: &'a Path,
}

/// How long an engine may take from its start to the folders of hook files, which it makes where
/// they are not there.
const START: Duration = Duration::from_secs(30);

/// An engine reads its hook files at its start and whenever something changes in their folders; it
/// looks for a hook's binary only then.
pub(super) struct Watch<'a> {
    /// When its process started.
    pub(super) started: Option<SystemTime>,
    /// The folders.
    pub(super) folders: &'a [PathBuf],
    /// The hook's binary.
    pub(super) binary: &'a Path,
}

/// Says what was seen.
pub(super) fn look(node: &Node, gate: &Gate<'_>, report: &mut Report) {
    let Gate {
        engine,
        since,
        file,
        ..
    } = *gate;
    let stamps = match stamp::read(&node.at(Path::new(stamp::FOLDER))) {
        Ok(stamps) => stamps,
        Err(error) => {
            report.warning(
                "when the hook last ran",
                format!("{}: {error}", stamp::FOLDER),
                "run check as root",
            );
            return;
        }
    };
    let booted = node.booted().unwrap_or(UNIX_EPOCH);
    let last = stamps
        .iter()
        .filter(|stamp| stamp.engine == engine && stamp.verb == "verify" && stamp.time >= booted)
        .max_by_key(|stamp| stamp.time);
    let text = match last {
        Some(stamp) => format!(
            "for container {} at {} ({})",
            short(&stamp.id),
            rfc3339(stamp.time),
            stamp.outcome
        ),
        None => "for no container since the node booted".to_owned(),
    };
    let (mut all, unreadable) = containers(node, engine, &gate.roots);
    all.sort_by_key(|container| container.created);
    let newest_verified = all.iter().rev().find(|container| container.verified);
    let ran_after = |time: SystemTime| {
        last.is_some_and(|stamp| stamp.time > time)
            || newest_verified.is_some_and(|container| container.created > time)
    };
    report.ok("when the hook last ran", text);
    if let Some(watch) = &gate.watch {
        look_at_watch(node, gate, watch, ran_after, report);
    }
    let began = since.or(last.map(|stamp| stamp.time));
    let without: Vec<&Container> = all
        .iter()
        .filter(|container| {
            !container.verified && began.is_some_and(|time| container.created > time)
        })
        .collect();
    if let Some(first) = unreadable.first() {
        report.warning(
            "containers",
            format!(
                "{} can't be looked at, so whether the hook ran for them is not known ({first})",
                unreadable.len()
            ),
            "",
        );
    }
    let older = all.iter().filter(|container| !container.verified).count() - without.len();
    if !without.is_empty() {
        let names: Vec<String> = without.iter().take(NAMED).map(|c| short(&c.id)).collect();
        let more = if without.len() > NAMED { ", …" } else { "" };
        report.problem(
            "containers since",
            format!(
                "{} started without the hook ({}{more})",
                without.len(),
                names.join(", ")
            ),
            match engine {
                Engine::Podman => {
                    "name the hooks' folder as hooks_dir in containers.conf, then start these again"
                        .to_owned()
                }
                Engine::CriO | Engine::Containerd => format!(
                    "touch {}, or systemctl restart crio; then start these again",
                    file.display()
                ),
            },
        );
    } else if older > 0 {
        report.warning(
            "containers before",
            format!(
                "{older} that run were started without the hook, before {engine} read its file"
            ),
            "start them again",
        );
    } else {
        report.ok(
            "containers that run",
            format!("{} were started with the hook", all.len()),
        );
    }
}

/// Whether the engine knows of the files and the binary as they are now, as far as times tell; a
/// hook that ran since settles it.
fn look_at_watch(
    node: &Node,
    gate: &Gate<'_>,
    watch: &Watch<'_>,
    ran_after: impl Fn(SystemTime) -> bool,
    report: &mut Report,
) {
    let (engine, binary) = (gate.engine, watch.binary);
    if let Some(since) = gate.since {
        let folder = binary.parent().unwrap_or(Path::new("/"));
        let came = node.changed(binary).max(node.moved(folder));
        if came.is_some_and(|came| came > since && !ran_after(came)) {
            report.problem(
                "the hook's binary",
                format!("{} is newer than what {engine} last read of its hook files: if it was away then, the hook is off", binary.display()),
                format!("touch {}", gate.file.display()),
            );
        }
    }
    for folder in watch.folders {
        let made = node.metadata(folder).and_then(|data| data.created());
        let (Some(started), Ok(made)) = (watch.started, made) else {
            continue;
        };
        if made > started + START && !ran_after(made) {
            report.problem(
                format!("hook folder {}", folder.display()),
                format!(
                    "was made after {engine} started, which watches another that was there before"
                ),
                "systemctl restart crio",
            );
        }
    }
}

/// The containers of an engine that the runtimes know, without the pods' sandboxes, and what can't be
/// looked at.
fn containers(
    node: &Node,
    engine: Engine,
    roots: &BTreeSet<PathBuf>,
) -> (Vec<Container>, Vec<String>) {
    let (known, mut unreadable) = containers::known(node, roots);
    let mut all = Vec::new();
    for one in known {
        match container(engine, &one) {
            Ok(found) => all.extend(found),
            Err(wrong) => unreadable.push(wrong),
        }
    }
    (all, unreadable)
}

/// A container, if it is this engine's and no sandbox.
///
/// # Errors
/// When it was created is not known.
fn container(engine: Engine, known: &Known) -> Result<Option<Container>, String> {
    let kind = engine.identity_keys().kind;
    let is_sandbox = kind.and_then(|key| known.annotation(key)) == Some("sandbox");
    let manager = known.annotation(MANAGER);
    if manager.is_none() || manager != engine.manager() || is_sandbox {
        return Ok(None);
    }
    let created = known.state["created"].as_str();
    let created = created.and_then(|text| humantime::parse_rfc3339_weak(text).ok());
    let created = created.ok_or_else(|| {
        format!(
            "{}: its state does not say when it was created",
            known.folder.display()
        )
    })?;
    Ok(Some(Container {
        id: known.id(),
        created,
        verified: ["createRuntime", "prestart"].iter().any(|stage| {
            let hooks = known.config["hooks"][stage].as_array();
            hooks.is_some_and(|hooks| hooks.iter().any(verifies))
        }),
    }))
}

fn verifies(hook: &Value) -> bool {
    let ours = hook["path"]
        .as_str()
        .is_some_and(|path| is_our_hook(Path::new(path)));
    let verb = hook["args"]
        .as_array()
        .is_some_and(|args| args.iter().any(|word| word == "verify"));
    ours && verb
}

/// An ID as engines print it.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    clock::stamp(since.as_secs())
}
