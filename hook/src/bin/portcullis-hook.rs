//! `portcullis-hook`: the OCI hook and its helpers for people.

use clap::Parser;
use portcullis_hook::commands::{Arguments, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(&Arguments::parse())
}
