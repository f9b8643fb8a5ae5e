//! `portcullis`: works with seccomp profiles on a desk or in a pipeline, without a cluster and
//! without a container.

mod commands;
mod input;
mod output;
mod remote;

use clap::Parser;
use commands::{Arguments, Ending};
use portcullis_profile::program::compile::in_child;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(answered) = in_child() {
        return answered.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match commands::run(&Arguments::parse()) {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::from(2)
        }
    }
}
