//! The command line of `portcullis-hook`. Each verb has a file of its own.

pub mod check;
pub mod collect;
pub mod completions;
pub mod containers;
pub mod explain;
pub mod inject;
pub mod man;
mod plugin;
pub mod record;
pub mod recordings;
pub mod setup;
pub mod verify;

use crate::{
    exit::{self, Code},
    oci::config::OciError,
    report,
};
use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use portcullis_profile::{Engine, settings};
use std::path::PathBuf;

/// Checks and sets the seccomp filters that containers select, and records profiles.
#[derive(Debug, Parser)]
#[command(name = "portcullis-hook", version, about, after_help = exit::help())]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The part of the command line that an engine uses. A hook starts once for each container, and
/// building the other verbs with their help takes longer than parsing.
#[derive(Debug, Parser)]
#[command(name = "portcullis-hook")]
struct HookArguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: HookVerb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The settings file; if it does not exist, the defaults apply.
    #[arg(
        long,
        visible_alias = "config",
        global = true,
        value_name = "FILE",
        default_value = settings::DEFAULT_PATH
    )]
    pub(crate) settings: PathBuf,
    /// The engine whose annotations are trusted; overrides hook.toml.
    #[arg(long, global = true, value_parser = engine_parser())]
    pub(crate) engine: Option<Engine>,
}

/// Parses the name of an engine, and lists them in `--help`.
fn engine_parser() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::ALL.map(Engine::as_str))
        .try_map(|name| Engine::by_name(&name).ok_or("unknown engine"))
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Hook(HookVerb),
    #[command(flatten)]
    Tool(ToolVerb),
}

/// What engines call.
#[derive(Debug, Subcommand)]
pub(crate) enum HookVerb {
    /// OCI hook (prestart, createRuntime): refuse a container that lacks its selected filter.
    ///
    /// Reads the container's OCI state from standard input, and config.json from its bundle.
    Verify(verify::Arguments),
    /// Podman's precreate hook: read config.json on stdin, print it with the selected filter on
    /// stdout.
    Inject,
    /// OCI hook (createRuntime): start recording a container that asks for it.
    Record(record::Arguments),
    /// OCI hook (poststop): end a recording and write its profile.
    Collect(collect::Arguments),
}

/// What people call.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// List running recordings, or show the profile that one would produce now.
    Recordings(recordings::Arguments),
    /// Show what the gate would decide for a bundle, and why.
    Explain(explain::Arguments),
    /// Check that the gate is really in place: the engine's configuration, hooks, handlers and
    /// folders, and when it last ran.
    Check(check::Arguments),
    /// Put the gate into an engine's configuration, or take it away.
    Setup(setup::Arguments),
    /// List the containers that portcullis-runtime created and that still exist: for each its
    /// runtime, a tab, and the folder of its state.
    Containers,
    /// Print a shell completion script.
    Completions(completions::Arguments),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(man::Arguments),
}

impl Arguments {
    /// This process's command line; help and errors end the process.
    pub fn of_process() -> Arguments {
        let verb = std::env::args_os().nth(1).unwrap_or_default();
        if verb.to_str().is_some_and(HookVerb::has_subcommand) {
            let HookArguments { common, verb } = HookArguments::parse();
            let verb = Verb::Hook(verb);
            return Arguments { common, verb };
        }
        Arguments::parse()
    }
}

/// What a verb of the gate ends with: nothing, the code of a refusal that has been reported, or an
/// input that can't be used, which is reported here.
fn ended(outcome: Result<Option<Code>, OciError>) -> Result<(), Code> {
    outcome
        .map_err(|error| report::failure(error.code(), &error.to_string()))?
        .map_or(Ok(()), Err)
}

/// Runs a verb.
///
/// # Errors
///
/// The code to exit with; its reason has been reported.
pub fn run(arguments: &Arguments) -> Result<(), Code> {
    let Common { settings, engine } = &arguments.common;
    match &arguments.verb {
        Verb::Hook(HookVerb::Verify(own)) => verify::run(settings, *engine, own),
        Verb::Hook(HookVerb::Inject) => inject::run(settings, *engine),
        Verb::Hook(HookVerb::Record(own)) => record::run(settings, *engine, own),
        Verb::Hook(HookVerb::Collect(own)) => collect::run(settings, own),
        Verb::Tool(ToolVerb::Recordings(own)) => recordings::run(settings, own),
        Verb::Tool(ToolVerb::Explain(own)) => explain::run(settings, *engine, own),
        Verb::Tool(ToolVerb::Check(own)) => check::run(settings, *engine, own),
        Verb::Tool(ToolVerb::Setup(own)) => setup::run(settings, own),
        Verb::Tool(ToolVerb::Containers) => containers::run(),
        Verb::Tool(ToolVerb::Completions(own)) => {
            completions::run(own);
            Ok(())
        }
        Verb::Tool(ToolVerb::Man(own)) => man::run(own),
    }
}
