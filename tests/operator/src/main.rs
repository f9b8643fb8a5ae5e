//! Tests of the operator on a real API server, one case or all: see CONTRIBUTING.md.

mod admission;
mod api_server;
mod cases;
mod crowd;
mod http;
mod mount;
mod objects;
mod process;
mod stage;
mod wait;

use libtest_mimic::{Arguments, Trial};
use stage::{Case, On};
use std::process::ExitCode;

/// The environment variable with the seed for random choices.
const SEED: &str = "PORTCULLIS_TEST_SEED";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let seed = match std::env::var(SEED).map(|seed| seed.parse()) {
        Ok(Ok(seed)) => seed,
        Ok(Err(_)) => {
            eprintln!("{SEED} is not a number");
            return ExitCode::from(2);
        }
        Err(_) => fastrand::u64(..),
    };
    let missing = api_server::missing();
    if let Some(missing) = &missing {
        eprintln!("SKIPPED every case: {missing}");
    } else if !arguments.list {
        eprintln!("{SEED}={seed}");
    }
    let trials = cases::all()
        .into_iter()
        .map(|(name, case, on): (String, Case, On)| {
            let title = name.clone();
            Trial::test(title, move || Ok(stage::run(&name, case, on, seed)?))
                .with_ignored_flag(missing.is_some())
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    api_server::stop_all();
    conclusion.exit_code()
}
