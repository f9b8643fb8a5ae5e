//! Strangers connect to the port of the kubelet's probes, all over the loopback interface.

use super::cases;
use crate::{
    http::{TIMEOUT, free_address, get},
    objects::{allowing, held},
    stage::Stage,
    wait::until,
};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

cases![probes_are_answered_beside_three_thousand_strangers];

/// How many strangers of each kind there are.
const EACH: usize = 1000;
/// How many connections they make until the case ends: each is closed some times and comes back.
const CONNECTIONS: u64 = 15 * EACH as u64;
/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(90);
/// How often a stranger does something.
const PACE: Duration = Duration::from_millis(250);

/// What a stranger sends, again and again.
#[derive(Clone, Copy)]
enum Kind {
    /// Nothing.
    Silent,
    /// A byte of a request that never ends.
    Slow,
    /// Something else than HTTP.
    Garbage,
}

/// Keeps so many connections open. Those that the server closes are made anew.
fn bother(address: SocketAddr, kind: Kind, open: &AtomicU64, over: &AtomicBool) {
    let mut connections: Vec<Option<TcpStream>> = (0..EACH).map(|_| None).collect();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        for connection in &mut connections {
            if connection.is_none() {
                *connection = TcpStream::connect_timeout(&address, PACE)
                    .ok()
                    .filter(|made| {
                        open.fetch_add(1, Ordering::Relaxed);
                        made.set_nonblocking(true).is_ok()
                    });
                continue;
            }
            if connection
                .as_mut()
                .is_some_and(|made| is_closed(made, kind))
            {
                *connection = None;
            }
        }
        thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
}

fn is_closed(connection: &mut TcpStream, kind: Kind) -> bool {
    let sent = match kind {
        Kind::Silent => Ok(()),
        Kind::Slow => connection.write_all(b"G"),
        Kind::Garbage => connection.write_all(&[0xff; 64]),
    };
    let would_block = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    let read = connection.read(&mut [0; 512]);
    sent.is_err_and(|error| !would_block(&error)) || !read.is_err_and(|error| would_block(&error))
}

/// A probe as the kubelet sends it. Returns how long it took.
fn probe(address: SocketAddr, path: &str) -> Result<Duration> {
    let began = Instant::now();
    let answer = get(address, path)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    let took = began.elapsed();
    ensure!(took < TIMEOUT, "it took {took:?}");
    Ok(took)
}

async fn probes_are_answered_beside_three_thousand_strangers(stage: &mut Stage) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    ensure!(hard > 4 * EACH as u64, "only {hard} descriptors");
    let address = free_address()?;
    let listen = address.to_string();
    let agent = stage.agent_with(&["--listen", &listen]).await?;
    stage.create(held(allowing("a", &["mkdir"]))).await?;
    stage.file_says("a", "mkdir").await?;
    until("the agent is ready", async || probe(address, "/readyz")).await?;

    let (open, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (took, count) = thread::scope(|scope| {
        for kind in [Kind::Silent, Kind::Slow, Kind::Garbage] {
            let (open, over) = (&open, &over);
            scope.spawn(move || bother(address, kind, open, over));
        }
        let probes = || {
            let deadline = Instant::now() + DEADLINE;
            let (mut longest, mut count) = (Duration::ZERO, 0);
            let mut failed = Ok(());
            while open.load(Ordering::Relaxed) < CONNECTIONS {
                ensure!(Instant::now() < deadline, "{open:?} connections were made");
                for path in ["/healthz", "/readyz"] {
                    match probe(address, path) {
                        Ok(took) => {
                            longest = longest.max(took);
                            failed = Ok(());
                        }
                        // The kubelet restarts a container after three in a row; here two are too
                        // many.
                        Err(error) => {
                            failed.with_context(|| format!("after that, {path}: {error:#}"))?;
                            failed = Err(error.context(format!("probe {count} of {path}")));
                        }
                    }
                    count += 1;
                }
                thread::sleep(PACE / 10);
            }
            Ok((longest, count))
        };
        let result = probes();
        over.store(true, Ordering::Relaxed);
        result
    })?;
    let made = open.load(Ordering::Relaxed);
    eprintln!("{count} probes beside {made} connections: the longest took {took:?}");
    stage.create(held(allowing("b", &["mkdir"]))).await?;
    stage.file_says("b", "mkdir").await?;
    ensure!(stage.processes[agent].is_running()?, "the agent has ended");
    Ok(())
}
