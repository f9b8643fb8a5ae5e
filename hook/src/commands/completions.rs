//! `portcullis-hook completions`: prints a shell completion script.

use clap::CommandFactory;
use clap_complete::Shell;
use std::io;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell to print it for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments) {
    let mut command = super::Arguments::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "portcullis-hook",
        &mut io::stdout(),
    );
}
