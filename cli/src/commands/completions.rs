//! `portcullis completions`: prints a shell completion script.

use super::{CommandError, Ending};
use crate::output::print;
use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell to print it for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "portcullis", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Ending::Good)
}
