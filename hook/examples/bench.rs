//! Times whole processes against `/bin/true` in the same run: `bench STDIN COMMAND…` prints both
//! medians in microseconds, their ratio and the children's peak memory in KiB.

use nix::sys::resource::{UsageWho, getrusage};
use std::{
    env,
    error::Error,
    fs::File,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 1000;

fn once(command: &[String], stdin: &str) -> Result<Duration, Box<dyn Error>> {
    let stdin = File::open(stdin)?;
    let start = Instant::now();
    let status = Command::new(&command[0])
        .args(&command[1..])
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let took = start.elapsed();
    if status.success() {
        Ok(took)
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [stdin, command @ ..] = &arguments[..] else {
        return Err("usage: bench STDIN COMMAND…".into());
    };
    let nothing = ["/bin/true".to_owned()];
    let (mut base, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        base.push(once(&nothing, stdin)?);
        ours.push(once(command, stdin)?);
    }
    let (base, ours) = (median(&mut base), median(&mut ours));
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!(
        "| {base:.0} µs | {ours:.0} µs | {:.2}× | {memory} KiB |",
        ours / base
    );
    Ok(())
}
