//! `portcullis-runtime`: the OCI runtime wrapper.

use portcullis_profile::program::compile::in_child;
use std::process::ExitCode;

fn main() -> ExitCode {
    match in_child() {
        Some(done) => done,
        None => portcullis_hook::wrapper::run(std::env::args_os().collect()),
    }
}
