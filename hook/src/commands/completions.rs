//! `portcullis-hook completions`: prints a shell completion script.

use crate::wrapper;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::io;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell to print it for.
    #[arg(value_enum)]
    shell: Shell,
    /// The program to print it for.
    #[arg(long, value_enum, default_value = "portcullis-hook")]
    program: Program,
}

/// The programs of a node.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    #[value(name = "portcullis-hook")]
    Hook,
    #[value(name = "portcullis-runtime")]
    Runtime,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments) {
    let mut command = match arguments.program {
        Program::Hook => super::Arguments::command(),
        Program::Runtime => wrapper::arguments::command(),
    };
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut io::stdout());
}
