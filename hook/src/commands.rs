//! The command line of `portcullis-hook`; each verb is a file of its own.

pub mod check;
pub mod collect;
pub mod completions;
pub mod explain;
pub mod inject;
pub mod record;
pub mod recordings;
pub mod verify;

use crate::exit;
use clap::{Parser, Subcommand, ValueEnum};
use portcullis_profile::{Engine, settings};
use std::{path::PathBuf, process::ExitCode};

/// The gate at a container's start: no container starts under a filter other than its own.
#[derive(Debug, Parser)]
#[command(name = "portcullis-hook", version, about, after_help = exit::help())]
pub struct Arguments {
    /// hook.toml; a file that is not there gives the defaults.
    #[arg(
        long,
        visible_alias = "config",
        global = true,
        value_name = "FILE",
        default_value = settings::DEFAULT_PATH
    )]
    pub settings: PathBuf,
    /// Whose annotations are believed; overrides hook.toml.
    #[arg(long, global = true, value_enum)]
    pub engine: Option<EngineName>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// An engine as the command line writes it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineName {
    /// CRI-O
    #[value(name = "cri-o")]
    CriO,
    /// containerd
    Containerd,
    /// Podman
    Podman,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Engine {
        match name {
            EngineName::CriO => Engine::CriO,
            EngineName::Containerd => Engine::Containerd,
            EngineName::Podman => Engine::Podman,
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// OCI hook (prestart, createRuntime): refuse a container without its selected filter.
    ///
    /// Reads the OCI state on standard input and config.json in the state's bundle.
    Verify,
    /// Podman's precreate hook: config.json on stdin, with the selected filter on stdout.
    Inject,
    /// OCI hook (createRuntime): record a container that asks for it.
    Record,
    /// OCI hook (poststop): end a recording and write its profile.
    Collect(collect::Arguments),
    /// What is being recorded, and the profile it would give now.
    Recordings(recordings::Arguments),
    /// Say what would be decided for a bundle and why, without refusing.
    Explain(explain::Arguments),
    /// Check that the gate is really there: the engine's configuration, hooks, handlers, folders,
    /// and what was seen of it.
    Check(check::Arguments),
    /// Print shell completions.
    Completions(completions::Arguments),
}

/// Runs a verb.
pub fn run(arguments: &Arguments) -> ExitCode {
    let engine = arguments.engine.map(Engine::from);
    match &arguments.verb {
        Verb::Verify => verify::run(&arguments.settings, engine),
        Verb::Inject => inject::run(&arguments.settings, engine),
        Verb::Record => record::run(&arguments.settings, engine),
        Verb::Collect(own) => collect::run(&arguments.settings, own),
        Verb::Recordings(own) => recordings::run(&arguments.settings, own),
        Verb::Explain(own) => explain::run(&arguments.settings, engine, own),
        Verb::Check(own) => check::run(&arguments.settings, engine, own),
        Verb::Completions(own) => completions::run(own),
    }
}
