//! The command line of `portcullis`. Each verb has a file of its own.

mod combine;
mod completions;
mod convert;
mod diff;
mod lint;
mod man;
mod pull;
mod push;
mod verify;

use crate::{input::InputError, output::OutputError, remote::RemoteError};
use clap::{Parser, Subcommand};
use portcullis_profile::compose::combine::AlgebraError;

/// The exit codes, as `--help` and the manual page list them. Those of `diff` are the ones of diff(1).
const EXIT_CODES: &str = "\
Exit codes:
  0  done; lint found no error, diff no difference
  1  lint found an error, diff a difference, verify no signature by the key
  2  the command line, a file or the profiles in it can't be used, or an artifact can't be transferred";

/// Checks, compares, combines and converts seccomp profiles, and keeps them in registries.
///
/// A profile is a JSON document, either as `linux.seccomp` of the OCI runtime specification or as
/// Docker, Podman and CRI-O write their defaults. `-` stands for standard input.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Check profiles: the documents, and what their compiled filters really do.
    Lint(lint::Arguments),
    /// Show which calls two profiles treat differently.
    Diff(diff::Arguments),
    /// Print the profile that allows what any of the given ones does.
    Merge(combine::Arguments),
    /// Print the profile that allows only what all of the given ones do.
    Intersect(combine::Arguments),
    /// Print a profile in another form: the OCI document that an engine makes of it, or a
    /// SeccompProfile.
    Convert(convert::Arguments),
    /// Push a profile to a registry, as an OCI artifact, and print the artifact with its digest.
    Push(push::Arguments),
    /// Pull a profile from a registry and print it.
    Pull(pull::Arguments),
    /// Check that an artifact is signed with a key, and print it with its digest.
    Verify(verify::Arguments),
    /// Print a shell completion script.
    Completions(completions::Arguments),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(man::Arguments),
}

/// How a verb that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It found nothing to complain about.
    Good,
    /// It found what it was asked to look for: an error, a difference.
    Found,
}

/// Why a verb could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The profiles can't be combined.
    #[error("{left} and {right}: {error}")]
    Algebra {
        left: String,
        right: String,
        error: AlgebraError,
    },
    /// The profiles can't be compared, or the result can't be relied on.
    #[error("{0}")]
    Unusable(String),
}

/// Runs a verb.
///
/// # Errors
/// Why it can't do its work.
pub(crate) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    match &arguments.verb {
        Verb::Lint(own) => lint::run(own),
        Verb::Diff(own) => diff::run(own),
        Verb::Merge(own) => combine::run(own, combine::Kind::Union),
        Verb::Intersect(own) => combine::run(own, combine::Kind::Intersection),
        Verb::Convert(own) => convert::run(own),
        Verb::Push(own) => push::run(own),
        Verb::Pull(own) => pull::run(own),
        Verb::Verify(own) => verify::run(own),
        Verb::Completions(own) => completions::run(own),
        Verb::Man(own) => man::run(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_verb_and_option_has_a_text() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
                let text = argument.get_help().unwrap_or_default().to_string();
                assert!(!text.is_empty(), "{} {argument}", verb.get_name());
            }
        }
    }
}
