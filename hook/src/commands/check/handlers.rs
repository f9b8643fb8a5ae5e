//! CRI-O's runtime handlers: which of them set a selected filter because they lead to
//! `portcullis-runtime`, and whether they work.

use super::{Level, Report, crio::Crio};
use crate::node::{
    Node,
    crio::monitor,
    wrapper::{LINK, WRAPPER, leads_to_wrapper, real_runtime},
};
use portcullis_profile::settings::{Settings, crio::Handler};
use std::path::Path;

/// Where the wrapper and its links are installed.
const HOME: &str = "/usr/libexec/portcullis";

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
            "portcullis-hook setup crio, then restart CRI-O",
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
    if let Some(wrong) = monitor(node, &crio.config, handler).err() {
        report.problem(
            subject.clone(),
            wrong,
            "set monitor_path: CRI-O does not start without it",
        );
    }
    let real = match real_runtime(node, &path, &settings.runtimes) {
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
