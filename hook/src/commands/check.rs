//! `portcullis-hook check`: checks whether the gate is really in place.
//!
//! Looking at files is not enough: CRI-O silently skips a hook whose binary does not exist when it
//! reads the hook's file, ignores a handler whose path does not exist, and lets a later drop-in
//! replace an earlier one. So each engine's configuration is read as the engine reads it, and
//! compared with what the hook and the runtimes left behind.

mod crio;
mod drop_in;
mod folders;
mod gate;
mod handlers;
mod hook_files;
mod podman;
mod seen;
#[cfg(test)]
mod tests;

use crate::{clock, exit::Code, node::Node};
use gate::Wanted;
use portcullis_profile::Engine;
pub use portcullis_profile::check::{Finding, Level, Report};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Arguments of `check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// A folder of hook files, to use instead of the configured ones; repeat it for several, in the
    /// engine's order.
    #[arg(long = "hooks-dir", value_name = "DIR")]
    hooks: Vec<PathBuf>,
    /// CRI-O's folder of drop-ins, to use instead of /etc/crio/crio.conf.d.
    #[arg(long, value_name = "DIR")]
    crio_config_dir: Option<PathBuf>,
    /// Check the node with this root folder, for example a mounted image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Also execute the programs below --root (crio, portcullis-hook), as this user. Use it only
    /// with a root that you trust.
    #[arg(long)]
    execute: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Store the findings as JSON in this file instead of printing them; only root can read it. A
    /// timer does so, for the operator's agent, with /run/portcullis/check.json. Exits with 0 once
    /// it is written, whatever was found.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
}

/// Checks everything, then prints everything.
#[allow(clippy::print_stdout)]
pub(crate) fn run(
    settings: &Path,
    engine: Option<Engine>,
    arguments: &Arguments,
) -> Result<(), Code> {
    let report = look(settings, engine, arguments);
    if let Some(file) = &arguments.output {
        return match report.write(file) {
            Ok(()) => Ok(()),
            Err(error) => {
                let message = format!("{}: {error}", file.display());
                Err(crate::report::failure(Code::Unexpected, &message))
            }
        };
    }
    if arguments.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                return Err(crate::report::failure(Code::Unexpected, &error.to_string()));
            }
        }
    } else {
        for line in report.lines() {
            println!("{line}");
        }
    }
    if report.good {
        Ok(())
    } else {
        Err(Code::Unexpected)
    }
}

fn look(path: &Path, engine: Option<Engine>, arguments: &Arguments) -> Report {
    let node = Node::at_root(arguments.root.clone(), arguments.execute);
    let mut report = Report::new(clock::now());
    let settings = folders::settings(&node, path, &mut report);
    folders::seccomp_root(&node, &settings, &mut report);
    let engine = engine.unwrap_or(settings.engine);
    let wanted = |engine| Wanted {
        engine,
        settings: &settings,
        path,
    };
    let recording = match engine {
        Engine::CriO => look_at_crio(&node, wanted(engine), arguments, &mut report),
        Engine::Podman => look_at_podman(&node, wanted(engine), arguments, &mut report),
        Engine::Containerd => {
            report.warning(
                "containerd",
                "its configuration is not looked at",
                "see that the runtime's BinaryName is portcullis-runtime",
            );
            false
        }
    };
    if recording || !settings.record.namespaces.is_empty() {
        folders::recording(&node, &settings, &mut report);
    }
    // A node under CRI-O may have Podman's gate beside it.
    if engine == Engine::CriO && node.exists(Path::new("/etc/portcullis/podman-hooks.d")) {
        look_at_podman(
            &node,
            wanted(Engine::Podman),
            &Arguments::default(),
            &mut report,
        );
    }
    report
}

/// Returns whether containers can be recorded there.
fn look_at_crio(
    node: &Node,
    wanted: Wanted<'_>,
    arguments: &Arguments,
    report: &mut Report,
) -> bool {
    let Some(mut crio) = crio::look(node, arguments.crio_config_dir.as_deref(), report) else {
        return false;
    };
    if !arguments.hooks.is_empty() {
        arguments.hooks.clone_into(&mut crio.config.hooks_dir);
    }
    let folders = &crio.config.hooks_dir;
    let files = hook_files::read(node, folders, &[]);
    let verify = gate::look(node, wanted, &files, folders, report);
    drop_in::look(
        node,
        wanted.path,
        arguments.crio_config_dir.as_deref(),
        report,
    );
    let wrapped = handlers::look(node, &crio, wanted.settings, report);
    // --hooks-dir asks about folders that the files need not name.
    let own = verify.as_ref().filter(|_| arguments.hooks.is_empty());
    crio.lasts(own.map(|verify| verify.file), &wrapped, report);
    folders::crio_default(node, &crio.config, wanted.settings, report);
    if let Some(verify) = &verify {
        let names = crio.config.runtimes.keys();
        let roots: BTreeSet<PathBuf> = names
            .filter_map(|name| crio.config.handler(name)?.root)
            .collect();
        seen::look(
            node,
            &seen::Gate {
                engine: Engine::CriO,
                roots,
                since: seen::last_read(node, crio.started, folders, &files),
                watch: Some(seen::Watch {
                    started: crio.started,
                    folders,
                    binary: &verify.hook.path,
                }),
                file: verify.file,
            },
            report,
        );
    }
    gate::records(&files)
}

fn look_at_podman(
    node: &Node,
    wanted: Wanted<'_>,
    arguments: &Arguments,
    report: &mut Report,
) -> bool {
    let folders = if arguments.hooks.is_empty() {
        match podman::folders(node, report) {
            Some(folders) => folders,
            None => return false,
        }
    } else {
        report.warning(
            "--hooks-dir",
            "Podman before May 2025 forgets it when a restart policy starts a container again",
            "name the folder as hooks_dir in containers.conf",
        );
        arguments.hooks.clone()
    };
    let files = hook_files::read(node, &folders, &podman::OWN_STAGES);
    let verify = gate::look(node, wanted, &files, &folders, report);
    folders::runtime_default(node, wanted.settings, report);
    if let Some(verify) = &verify {
        seen::look(
            node,
            &seen::Gate {
                engine: Engine::Podman,
                roots: BTreeSet::new(),
                // Podman reads its hook files for each container.
                since: seen::last_read(node, Some(UNIX_EPOCH), &folders, &files),
                watch: None,
                file: verify.file,
            },
            report,
        );
    }
    gate::records(&files)
}
