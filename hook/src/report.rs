//! Says what was decided: one line to stderr and to the system's log, and a [`Decision`] to the
//! gate's socket when somebody listens.
//!
//! crun throws a hook's stderr away, so the log (`/dev/log`, which journald serves too) is where
//! a refusal can be read. Nothing here fails a container: what can't be said is not said.

use crate::{
    clock,
    exit::Code,
    gate::{Passed, Ruling},
    program,
};
use portcullis_profile::{
    gate::decision::{self, Decision, Outcome, plain},
    select::identity::Identity,
    settings::{LogLevel, Mode, Settings},
};
use std::{io::Write, os::unix::net::UnixDatagram, path::Path, process};

/// The system's log socket.
const SYSLOG: &str = "/dev/log";
/// Facility authpriv (10) of RFC 3164, times eight.
const FACILITY: u8 = 80;

/// How a decision ends for the container and the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The container starts.
    Starts,
    /// It does not.
    Refused(Code),
}

impl End {
    /// The code to exit with.
    pub const fn code(self) -> u8 {
        match self {
            End::Starts => 0,
            End::Refused(code) => code.number(),
        }
    }
}

/// Which container, in plain characters.
pub fn about(identity: &Identity) -> String {
    let part = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
    let pod = match &identity.namespace {
        Some(namespace) => format!("{}/{}", plain(namespace), part(&identity.pod)),
        None => part(&identity.pod),
    };
    format!("pod {pod}, container {}", part(&identity.container))
}

/// The line about a ruling, in plain characters.
pub fn line(ruling: &Ruling) -> String {
    let part = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
    format!(
        "{}, annotation {}, reference {}: {}",
        about(&ruling.identity),
        part(&ruling.annotation),
        part(&ruling.reference),
        reason(ruling),
    )
}

/// What was decided and why, in words.
fn reason(ruling: &Ruling) -> String {
    let what = match &ruling.result {
        Err(refusal) => refusal.to_string(),
        Ok(Passed::Nothing) => "nothing to do".to_owned(),
        Ok(Passed::Sandbox) => "the pod's sandbox is left alone".to_owned(),
        Ok(Passed::Exempt) => "its namespace is exempt".to_owned(),
        Ok(Passed::Selected) => "the selected filter is there".to_owned(),
        Ok(Passed::Kept) => {
            "the filter that is there is kept; an annotation never weakens it".to_owned()
        }
        Ok(Passed::Set(_)) => "the selected filter is set".to_owned(),
        Ok(Passed::Relaxed(_)) => {
            "its filter is set so that all is executed and denials are logged, since it will be recorded".to_owned()
        }
        Ok(Passed::Logged) => "the denials of its filter are logged, and it is recorded".to_owned(),
    };
    let what = match &ruling.kept {
        Some(why) if ruling.result.is_ok() => {
            format!("{what}; its denials are not only logged: {why}")
        }
        _ => what,
    };
    what.replace(char::is_control, " ")
}

/// Says a ruling everywhere and tells how it ends.
pub fn ruling(verb: &str, id: Option<&str>, ruling: &Ruling, settings: &Settings) -> End {
    let (outcome, end, level) = match &ruling.result {
        Err(refusal) if settings.mode == Mode::Warn && !refusal.is_absolute() => {
            (Outcome::Warned, End::Starts, LogLevel::Warn)
        }
        Err(refusal) => (
            Outcome::Refused,
            End::Refused(refusal.code()),
            LogLevel::Error,
        ),
        Ok(Passed::Set(_) | Passed::Relaxed(_)) => (Outcome::Applied, End::Starts, LogLevel::Info),
        Ok(Passed::Nothing | Passed::Sandbox) => (Outcome::Accepted, End::Starts, LogLevel::Debug),
        Ok(_) => (Outcome::Accepted, End::Starts, LogLevel::Info),
    };
    let word = match outcome {
        Outcome::Warned => "warning",
        other => other.as_str(),
    };
    let line = format!("portcullis: {word}: {}", line(ruling));
    if level <= settings.log_level {
        syslog(level, &line);
    }
    if level <= LogLevel::Warn {
        stderr(&line);
    }
    if outcome != Outcome::Accepted || level <= settings.log_level {
        let kind = ruling
            .result
            .as_ref()
            .err()
            .map(|refusal| refusal.code().as_str());
        send(
            &settings.gate_socket,
            &Decision {
                version: decision::VERSION,
                time: clock::now(),
                verb: verb.to_owned(),
                outcome,
                code: end.code(),
                reason: kind.unwrap_or(word).to_owned(),
                engine: ruling.engine,
                namespace: ruling.identity.namespace.clone(),
                pod: ruling.identity.pod.clone(),
                uid: ruling.identity.uid.clone(),
                container: ruling.identity.container.clone(),
                id: id.map(str::to_owned),
                annotation: ruling.annotation.clone(),
                reference: ruling.reference.clone(),
                message: reason(ruling),
            }
            .bounded(),
        );
    }
    end
}

/// Says one line as loudly as it deserves: to the log as settings have it, and from a warning on
/// to stderr.
pub fn say(wanted: LogLevel, level: LogLevel, text: &str) {
    let line = format!("portcullis: {}", text.replace(char::is_control, " "));
    if level <= wanted {
        syslog(level, &line);
    }
    if level <= LogLevel::Warn {
        stderr(&line);
    }
}

/// Says a failure that has no ruling: one line to stderr and the log.
pub fn failure(code: Code, message: &str) -> Code {
    let line = format!(
        "portcullis: refused: {}",
        message.replace(char::is_control, " ")
    );
    syslog(LogLevel::Error, &line);
    stderr(&line);
    code
}

fn stderr(line: &str) {
    // Nobody may be reading; the container's fate does not hang on it.
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

/// Sends without waiting; a socket that is not there or full loses the datagram.
fn datagram(socket: &Path, bytes: &[u8]) {
    if let Ok(from) = UnixDatagram::unbound()
        && from.set_nonblocking(true).is_ok()
    {
        let _ = from.send_to(bytes, socket);
    }
}
