//! `portcullis man`: writes the manual pages, for packages.

use super::{CommandError, Ending};
use crate::output::OutputError;
use clap::CommandFactory;
use std::path::PathBuf;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to write them to.
    folder: PathBuf,
}

/// Writes them.
pub(crate) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let folder = &arguments.folder;
    clap_mangen::generate_to(super::Arguments::command(), folder).map_err(|error| {
        OutputError::File {
            path: folder.display().to_string(),
            error,
        }
    })?;
    Ok(Ending::Good)
}
