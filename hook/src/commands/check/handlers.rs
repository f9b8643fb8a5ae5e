//! CRI-O's runtime handlers: which of them set a selected filter because they lead to
//! `portcullis-runtime`, and whether they work.

use super::{Level, Report, crio::Crio, node::Node};
use crate::wrapper::runtime::FOLDERS;
use portcullis_profile::settings::{Settings, crio::Handler};
use std::path::{Path, PathBuf};

/// The wrapper's file name.
const WRAPPER: &str = "portcullis-runtime";

/// Where the wrapper and its links are installed.
const HOME: &str = "/usr/libexec/portcullis";

/// The prefix of the wrapper's links.
const LINK: &str = "portcullis-";

/// Checks every handler, and returns those that set filters.
pub(super) fn look<'a>(
    node: &Node,
    crio: &'a Crio,
    settings: &Settings,
    report: &mut Report,
) -> Vec<&'a str> {
    let mut wrapped = Vec::new();
    for name in crio.config.runtimes.keys() {
        let Some(handler) = crio.config.handler(name) else {
            continue;
        };
        if !handler.is_oci() {
            report.warning(
                format!("handler {name}"),
                format!(
                    "runtime_type = {:?}: whether its runtime runs the hook was not looked at",
                    handler.kind
                ),
                "keep pods that select a profile away from it, or try one",
            );
            continue;
        }
        if one(node, crio, name, &handler, settings, report) {
            wrapped.push(name.as_str());
        }
    }
    let default = crio.config.default_runtime.as_str();
    if wrapped.is_empty() {
        report.problem(
            "CRI-O's handlers",
            "none leads to portcullis-runtime; no selected profile is set, and containers that select one are refused",
            "install crio.d/crio.conf.d/20-portcullis-runtime.conf and restart CRI-O",
        );
    } else if !wrapped.contains(&default) {
        report.warning(
            "CRI-O's handlers",
            format!("default_runtime = {default:?} does not lead to portcullis-runtime: pods that select a profile need a RuntimeClass with one of {}, else they are refused", wrapped.join(", ")),
            "",
        );
    }
    wrapped
}

/// Whether a handler leads to the wrapper, and works.
fn one(
    node: &Node,
    crio: &Crio,
    name: &str,
    handler: &Handler,
    settings: &Settings,
    report: &mut Report,
) -> bool {
    let subject = format!("handler {name}");
    let wanted = crio.config.name_in_path(name);
    let found = handler.path.clone().or_else(|| node.program(wanted));
    let Some(path) = found else {
        let text = format!("{wanted} is not in PATH; CRI-O ignores the handler");
        ignored(
            name.starts_with(LINK),
            subject,
            text,
            "set its runtime_path",
            report,
        );
        return false;
    };
    let ours = name.starts_with(LINK) || is_link(&path);
    if let Some(wrong) = node.not_executable(&path) {
        let text = format!(
            "runtime_path {}: {wrong}; CRI-O ignores the handler",
            path.display()
        );
        let remedy = format!(
            "{}, or take the handler out; then systemctl restart crio",
            make_link(name, &path)
        );
        ignored(ours, subject, text, &remedy, report);
        return false;
    }
    if !leads_to_wrapper(node, &path) {
        if ours {
            report.problem(
                subject,
                format!(
                    "{} is not a link to {WRAPPER}; nothing sets a selected filter",
                    path.display()
                ),
                make_link(name, &path),
            );
        }
        return false;
    }
    let before = report.findings.len();
    wrapped(node, &path, handler, &subject, report);
    if let Some(wrong) = monitor(node, crio, handler) {
        report.problem(
            subject.clone(),
            wrong,
            "set monitor_path: CRI-O does not start without it",
        );
    }
    let real = match real_runtime(node, &path, settings) {
        Ok(real) => real,
        Err(wrong) => {
            report.problem(
                subject,
                wrong,
                "name it under [runtimes] in hook.toml, or take the handler out",
            );
            return false;
        }
    };
    if report.findings.len() == before {
        let text = format!(
            "{} sets selected filters, then runs {}",
            path.display(),
            real.display()
        );
        report.ok(subject, text);
    }
    let added = &report.findings[before..];
    added.iter().all(|finding| finding.level != Level::Problem)
}

/// A handler that CRI-O ignores is a problem only if it is one of ours.
fn ignored(ours: bool, subject: String, text: String, remedy: &str, report: &mut Report) {
    if ours {
        report.problem(subject, text, remedy);
    } else {
        report.warning(subject, text, "");
    }
}

/// Checks the wrapper behind a handler, and what bypasses it.
fn wrapped(node: &Node, path: &Path, handler: &Handler, subject: &str, report: &mut Report) {
    if let Some(wrong) = node.changeable(path) {
        report.problem(
            subject,
            format!("{}: {wrong}", path.display()),
            format!("chown root {0}; chmod go-w {0}", path.display()),
        );
    }
    for (platform, other) in &handler.platform_paths {
        if leads_to_wrapper(node, other) {
            continue;
        }
        let text = format!(
            "platform_runtime_paths takes {platform} past the wrapper to {}",
            other.display()
        );
        let remedy = "let it lead to portcullis-runtime too";
        if *platform == this_platform() {
            report.problem(subject, text, remedy);
        } else {
            report.warning(subject, text, remedy);
        }
    }
}

fn leads_to_wrapper(node: &Node, path: &Path) -> bool {
    let end = node.resolve(path).ok();
    end.is_some_and(|end| end.file_name().is_some_and(|name| name == WRAPPER))
}

/// How to lead a handler to the wrapper. A path that is not named like one of our links may be a real
/// runtime, which a link must not replace.
fn make_link(name: &str, path: &Path) -> String {
    if is_link(path) {
        format!("ln -sf {WRAPPER} {}", path.display())
    } else {
        format!("set its runtime_path to {HOME}/{name}")
    }
}

fn is_link(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(LINK)
}

/// Go's name of the platform that this program was built for.
fn this_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    format!("linux/{arch}")
}

/// Why the handler has no monitor; `None` if it has one.
fn monitor(node: &Node, crio: &Crio, handler: &Handler) -> Option<String> {
    match crio.config.conmon.as_ref().or(handler.monitor.as_ref()) {
        Some(path) => node
            .not_executable(path)
            .map(|wrong| format!("monitor_path {}: {wrong}", path.display())),
        None => node
            .program("conmon")
            .is_none()
            .then(|| "has no monitor_path, and conmon is not in PATH".to_owned()),
    }
}

/// The runtime that the wrapper executes when it is called under this path.
fn real_runtime(node: &Node, link: &Path, settings: &Settings) -> Result<PathBuf, String> {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let named = settings
        .runtimes
        .get(name.as_ref())
        .or_else(|| settings.runtimes.get("default"));
    if let Some(path) = named {
        return match node.not_executable(path) {
            None => Ok(path.clone()),
            Some(wrong) => Err(format!("its runtime {}: {wrong}", path.display())),
        };
    }
    let own = name.strip_prefix(LINK).unwrap_or(&name);
    FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(own))
        .find(|path| node.not_executable(path).is_none())
        .ok_or_else(|| format!("its runtime {own} is in none of {}", FOLDERS.join(", ")))
}
