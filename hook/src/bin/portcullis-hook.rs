//! `portcullis-hook`: the OCI hook and its helpers for people.

use portcullis_hook::commands::{Arguments, run};
use portcullis_profile::program::compile::in_child;
use std::process::ExitCode;

fn main() -> ExitCode {
    match in_child() {
        Some(done) => done,
        None => run(&Arguments::of_process()),
    }
}
