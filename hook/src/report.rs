//! Reports decisions: one line to stderr and to the system log, and a [`Decision`] to the gate's
//! socket if somebody listens.
//!
//! crun discards a hook's stderr, so the system log (`/dev/log`, which journald serves too) is
//! where refusals can be read. Failing to report never fails a container.

use crate::{clock, exit::Code, program};
use portcullis_profile::{
    gate::{
        Evaluation,
        decision::{Decision, Outcome},
    },
    settings::{LogLevel, Settings},
    stamp,
};
use std::{fmt::Display, io::Write, os::unix::net::UnixDatagram, path::Path, process};

/// The socket of the system log.
const SYSLOG: &str = "/dev/log";
/// The facility authpriv (10) of RFC 3164, times eight.
const FACILITY: u8 = 80;

/// Reports an evaluation: a line to the log and stderr, and a record to the gate's socket.
pub fn evaluation(verb: &str, id: Option<&str>, evaluation: &Evaluation, settings: &Settings) {
    let outcome = evaluation.outcome();
    let level = evaluation.level();
    let word = match outcome {
        Outcome::Warned => "warning",
        other => other.as_str(),
    };
    say(
        settings.log_level,
        level,
        &format!("{word}: {}", evaluation.line()),
    );
    if let Some(id) = id {
        // Without a stamp, `check` misses this decision; that must not affect the container.
        let folder = Path::new(stamp::FOLDER);
        let _ = stamp::leave(folder, evaluation.engine, id, verb, outcome.as_str());
    }
    if outcome != Outcome::Accepted || level <= settings.log_level {
        let decision = Decision::of(evaluation, verb, id, clock::now());
        send(&settings.gate_socket, &decision);
    }
}

/// Logs a line: to the system log if the settings want that level, and to stderr from warnings on.
pub fn say(wanted: LogLevel, level: LogLevel, text: &str) {
    let line = format!("portcullis: {}", text.replace(char::is_control, " "));
    if level <= wanted {
        syslog(level, &line);
    }
    if level <= LogLevel::Warn {
        stderr(&line);
    }
}

/// Reports a failure before any evaluation: one line to stderr and the log.
pub fn failure(code: Code, message: &str) -> Code {
    let line = format!(
        "portcullis: refused: {}",
        message.replace(char::is_control, " ")
    );
    syslog(LogLevel::Error, &line);
    stderr(&line);
    code
}

/// The same of an error, to map it to its code.
pub fn failing<E: Display>(code: Code) -> impl FnOnce(E) -> Code {
    move |error| failure(code, &error.to_string())
}

fn stderr(line: &str) {
    // There may be no reader; that must not affect the container.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn syslog(level: LogLevel, line: &str) {
    let severity = match level {
        LogLevel::Error => 3,
        LogLevel::Warn => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    };
    let text = line.strip_prefix("portcullis: ").unwrap_or(line);
    let packet = format!(
        "<{}>{}[{}]: {text}",
        FACILITY + severity,
        program::name(),
        process::id()
    );
    datagram(Path::new(SYSLOG), packet.as_bytes());
}

fn send(socket: &Path, decision: &Decision) {
    if let Ok(text) = serde_json::to_vec(decision) {
        datagram(socket, &text);
    }
}

/// Sends without waiting. If the socket is missing or full, the datagram is lost.
fn datagram(socket: &Path, bytes: &[u8]) {
    if let Ok(from) = UnixDatagram::unbound()
        && from.set_nonblocking(true).is_ok()
    {
        let _ = from.send_to(bytes, socket);
    }
}
