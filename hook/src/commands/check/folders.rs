//! The parts of a node that do not depend on an engine: settings, seccomp root, default profile,
//! recordings.

use super::Report;
use crate::node::Node;
use portcullis_profile::{
    Document,
    settings::{Settings, crio::CrioConfig},
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where BPF objects are pinned.
const BPF: &str = "/sys/fs/bpf";

/// Reads hook.toml; returns the defaults if it can't be used.
pub(super) fn settings(node: &Node, path: &Path, report: &mut Report) -> Settings {
    let subject = format!("settings {}", path.display());
    match Settings::load(&node.at(path)) {
        Ok(settings) => {
            if let Some(wrong) = node.changeable(path) {
                report.problem(
                    subject,
                    wrong,
                    format!("chown root {0}; chmod go-w {0}", path.display()),
                );
            } else if node.exists(path) {
                report.ok(subject, "");
            } else {
                report.ok(subject, "is not there: the defaults hold");
            }
            settings
        }
        Err(error) => {
            report.problem(
                subject,
                error.to_string(),
                "fix it: containers that select a profile are refused until then",
            );
            Settings::default()
        }
    }
}

/// Checks the folder of profiles, and the operator's folder in it.
pub(super) fn seccomp_root(node: &Node, settings: &Settings, report: &mut Report) {
    let root = &settings.seccomp_root;
    folder(
        node,
        &format!("seccomp root {}", root.display()),
        root,
        report,
    );
    // The Security Profiles Operator leaves a link there, which would not be followed.
    let own = root.join("operator");
    let subject = format!("folder {}", own.display());
    match fs::symlink_metadata(node.at(&own)) {
        Ok(data) if data.is_symlink() => report.problem(
            subject,
            "is a link, and below the seccomp root none is followed",
            format!("rm {}", own.display()),
        ),
        Ok(data) if !data.is_dir() => {
            report.problem(subject, "is not a folder", format!("rm {}", own.display()));
        }
        _ => {}
    }
}

/// Checks a folder that only root may change.
fn folder(node: &Node, subject: &str, path: &Path, report: &mut Report) {
    let make = format!("mkdir -p {}", path.display());
    match fs::symlink_metadata(node.at(path)) {
        Err(error) => report.problem(subject, error.to_string(), make),
        Ok(data) if data.is_symlink() => match node.metadata(path) {
            Ok(data) if data.is_dir() => {
                report.warning(
                    subject,
                    "is a link",
                    "make it a folder, so that nothing else decides where it is",
                );
            }
            _ => report.problem(subject, "is a link to no folder", make),
        },
        Ok(data) if !data.is_dir() => report.problem(subject, "is not a folder", make),
        Ok(data) if data.uid() != node.owner() || data.permissions().mode() & 0o022 != 0 => report
            .problem(
                subject,
                "others than root may write there",
                format!("chown root {0}; chmod go-w {0}", path.display()),
            ),
        Ok(_) => report.ok(subject, ""),
    }
}

/// Checks what recordings need.
pub(super) fn recording(node: &Node, settings: &Settings, report: &mut Report) {
    for path in &settings.record.folders {
        folder(
            node,
            &format!("recordings {}", path.display()),
            path,
            report,
        );
    }
    match node.mounted(Path::new(BPF)).as_deref() {
        Some("bpf") => report.ok(BPF, ""),
        Some(other) => report.problem(
            BPF,
            format!("is {other}, not bpf; nothing can be recorded"),
            format!("mount -t bpf bpf {BPF}"),
        ),
        None => report.problem(
            BPF,
            "is not mounted; nothing can be recorded",
            format!("mount -t bpf bpf {BPF}"),
        ),
    }
}

/// Checks `runtime_default`, if it is set.
pub(super) fn runtime_default(node: &Node, settings: &Settings, report: &mut Report) {
    if let Some(path) = &settings.runtime_default {
        profile(node, "runtime_default", path, settings, report);
    }
}

/// Checks what `runtime/default` means under CRI-O: `runtime_default`, or else each handler's
/// profile.
pub(super) fn crio_default(
    node: &Node,
    crio: &CrioConfig,
    settings: &Settings,
    report: &mut Report,
) {
    runtime_default(node, settings, report);
    if settings.runtime_default.is_some() {
        return;
    }
    let names = crio.runtimes.keys();
    let files: BTreeSet<Option<PathBuf>> =
        names.map(|name| crio.default_profile(Some(name))).collect();
    let ambiguous: BTreeSet<String> = crio
        .runtimes
        .keys()
        .filter_map(|name| {
            let in_path = || Path::new("/").join(crio.name_in_path(name));
            let executed = crio.handler(name)?.path.unwrap_or_else(in_path);
            let ambiguous = crio.default_profile_under(Some(&executed)).err()?;
            Some(ambiguous.handlers.join(", "))
        })
        .collect();
    for handlers in ambiguous {
        report.warning(
            "CRI-O's default profile",
            format!("the handlers {handlers} have one runtime_path and different profiles: their containers without a filter whose annotation says runtime/default are refused"),
            "set runtime_default in hook.toml, or give each of them a runtime_path of its own (a link to the same file will do)",
        );
    }
    for file in &files {
        match file {
            Some(path) => profile(node, "CRI-O's seccomp_profile", path, settings, report),
            None => report.warning(
                "CRI-O's default profile",
                "is compiled in and not available as a file: under CRI-O, a container without a filter whose annotation says runtime/default is refused",
                "set runtime_default in hook.toml, or seccomp_profile in CRI-O's configuration",
            ),
        }
    }
}

fn profile(node: &Node, what: &str, path: &Path, settings: &Settings, report: &mut Report) {
    let subject = format!("{what} {}", path.display());
    let remedy = "containers whose annotation says runtime/default are refused until it is fixed";
    match node.read(path) {
        Err(error) => report.problem(subject, error.to_string(), remedy),
        Ok(text) if text.len() as u64 > settings.max_profile_bytes => {
            report.problem(subject, "is larger than max_profile_bytes", remedy);
        }
        Ok(text) => match Document::parse(&text) {
            Ok(_) => report.ok(subject, ""),
            Err(error) => report.problem(subject, error.to_string(), remedy),
        },
    }
}
