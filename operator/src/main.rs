//! The program: reads its arguments and runs one of the parts.

use clap::{CommandFactory, Parser, Subcommand};
use std::{io, process::ExitCode};

/// Keeps `SeccompProfile` resources as files on the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the custom resource definitions
    Crds,
    /// Prints a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Crds => print!("{}", portcullis_operator::crd::yaml()?),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                shell,
                &mut command,
                "portcullis-operator",
                &mut io::stdout(),
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
