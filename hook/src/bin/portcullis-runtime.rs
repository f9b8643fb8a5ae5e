//! `portcullis-runtime`: the OCI runtime wrapper.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_hook::wrapper::run(std::env::args_os().collect())
}
