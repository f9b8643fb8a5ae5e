//! Times whole processes against `/bin/true` in the same run: `bench STDIN COMMAND…` prints both
//! medians in microseconds, their ratio and the children's peak memory in KiB.
//!
//! `bench --against PATH STDIN COMMAND…` also times another build of the same program, PATH with
//! the same arguments, and adds its median and the ratio between the two: the median of the pairs
//! and the 95 % interval of that median. The order of the commands rotates from round to round.
//!
//! `bench --runtime LINE …` does so under the command line LINE, as a hook's caller: the runtime
//! that is creating the container.

use nix::sys::resource::{UsageWho, getrusage};
use std::{
    env,
    error::Error,
    fs::File,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 1000;

/// Half the width of a median's 95 % interval, in places of the sorted values (its distribution is
/// binomial).
const HALF_WIDTH: usize = 31;

fn once(command: &[String], stdin: &str) -> Result<Duration, Box<dyn Error>> {
    let stdin = File::open(stdin)?;
    let start = Instant::now();
    let status = Command::new(&command[0])
        .args(&command[1..])
        .env_remove(ARGUMENTS)
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

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn median_us(times: &[Duration]) -> f64 {
    sorted(times.iter().map(Duration::as_secs_f64))[ROUNDS / 2] * 1e6
}

/// The cells on a command and another build of it, run in turn.
fn compared(ours: &[Duration], other: &[Duration]) -> String {
    let ratios = sorted(
        ours.iter()
            .zip(other)
            .map(|(ours, other)| ours.as_secs_f64() / other.as_secs_f64()),
    );
    let at = |place: usize| ratios[place];
    format!(
        " {:.0} µs | {:.2}× ({:.2} … {:.2}) |",
        median_us(other),
        at(ROUNDS / 2),
        at(ROUNDS / 2 - HALF_WIDTH),
        at(ROUNDS / 2 + HALF_WIDTH)
    )
}

/// Where the arguments are once the command line is a runtime's.
const ARGUMENTS: &str = "BENCH_ARGUMENTS";

/// Starts this program again under a runtime's command line; returns only if that fails.
fn become_runtime(line: &str, arguments: &[String]) -> Box<dyn Error> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, rest @ ..] = &words[..] else {
        return "--runtime needs a command line".into();
    };
    let again = || -> Result<std::io::Error, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg0(name).args(rest);
        command.env(ARGUMENTS, serde_json::to_string(arguments)?);
        Ok(command.exec())
    };
    again().map_or_else(|error| error, Into::into)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = match env::var(ARGUMENTS) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => env::args().skip(1).collect(),
    };
    if let [option, line, rest @ ..] = &arguments[..]
        && option == "--runtime"
    {
        return Err(become_runtime(line, rest));
    }
    let (against, rest) = match &arguments[..] {
        [option, path, rest @ ..] if option == "--against" => (Some(path), rest),
        rest => (None, rest),
    };
    let [stdin, command @ ..] = rest else {
        return Err("usage: bench [--runtime LINE] [--against PATH] STDIN COMMAND…".into());
    };
    let mut commands = vec![vec!["/bin/true".to_owned()], command.to_vec()];
    if let Some(path) = against {
        commands.push([std::slice::from_ref(path), &command[1..]].concat());
    }
    // Before any other build has run, since the kernel tells the largest of all children.
    once(command, stdin)?;
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let mut times = vec![Vec::new(); commands.len()];
    for round in 0..ROUNDS {
        for turn in 0..commands.len() {
            let which = (round + turn) % commands.len();
            times[which].push(once(&commands[which], stdin)?);
        }
    }
    let (base, ours) = (median_us(&times[0]), median_us(&times[1]));
    let more = times.get(2).map(|other| compared(&times[1], other));
    println!(
        "| {base:.0} µs | {ours:.0} µs | {:.2}× | {memory} KiB |{}",
        ours / base,
        more.unwrap_or_default()
    );
    Ok(())
}
