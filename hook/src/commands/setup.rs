//! `portcullis-hook setup`: puts the gate into an engine's configuration.

pub(crate) mod crio;

use crate::exit::Code;
use std::path::Path;

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    #[allow(clippy::doc_markdown)] // printed by --help
    /// Write CRI-O's drop-in: our hook folder, and a handler portcullis-NAME beside each crun and
    /// runc handler.
    ///
    /// The binaries, their links and the hook files have to be installed first. The drop-in,
    /// 99-portcullis.conf, copies what it adds to: after changing hooks_dir, a handler or the
    /// default_runtime elsewhere, run this again. CRI-O reads it when it starts.
    Crio(crio::Arguments),
}

/// Runs it.
pub(crate) fn run(settings: &Path, arguments: &Arguments) -> Result<(), Code> {
    match &arguments.what {
        What::Crio(own) => crio::run(settings, own),
    }
}
