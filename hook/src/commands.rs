//! The command line of `portcullis-hook`. Each verb has a file of its own.

pub mod check;
pub mod collect;
pub mod completions;
pub mod explain;
pub mod inject;
pub mod record;
pub mod recordings;
pub mod verify;

use crate::exit;
use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use portcullis_profile::{Engine, settings};
use std::{path::PathBuf, process::ExitCode};

/// Checks and sets the seccomp filters that containers select, and records profiles.
#[derive(Debug, Parser)]
#[command(name = "portcullis-hook", version, about, after_help = exit::help())]
pub struct Arguments {
    /// The settings file; if it does not exist, the defaults apply.
    #[arg(
        long,
        visible_alias = "config",
        global = true,
        value_name = "FILE",
        default_value = settings::DEFAULT_PATH
    )]
    pub settings: PathBuf,
    /// The engine whose annotations are trusted; overrides hook.toml.
    #[arg(long, global = true, value_parser = engine_parser())]
    pub engine: Option<Engine>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Parses the name of an engine, and lists them in `--help`.
fn engine_parser() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::ALL.map(Engine::as_str))
        .try_map(|name| Engine::by_name(&name).ok_or("unknown engine"))
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// OCI hook (prestart, createRuntime): refuse a container that lacks its selected filter.
    ///
    /// Reads the container's OCI state from standard input, and config.json from its bundle.
    Verify,
    /// Podman's precreate hook: read config.json on stdin, print it with the selected filter on
    /// stdout.
    Inject,
    /// OCI hook (createRuntime): start recording a container that asks for it.
    Record,
    /// OCI hook (poststop): end a recording and write its profile.
    Collect(collect::Arguments),
    /// List running recordings, or show the profile that one would produce now.
    Recordings(recordings::Arguments),
    /// Show what the gate would decide for a bundle, and why.
    Explain(explain::Arguments),
    /// Check that the gate is really in place: the engine's configuration, hooks, handlers and
    /// folders, and when it last ran.
    Check(check::Arguments),
    /// Print a shell completion script.
    Completions(completions::Arguments),
}

/// Runs a verb.
pub fn run(arguments: &Arguments) -> ExitCode {
    let engine = arguments.engine;
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
