//! Compiles in another process of the same program, which can be killed: libseccomp never finishes
//! with some conditional rules for one call.
//!
//! The program executes itself under another name instead of forking, because it may have threads.
//! The child reads a filter from standard input and writes an answer to standard output: its kind,
//! its length, and its bytes.

use super::export;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::{SysconfVar, getppid, sysconf},
};
use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{self, Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The program name that makes a process compile.
const NAME: &str = "portcullis-compile";

/// How long libseccomp may take for one filter.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// How many bytes of memory it may use in addition to what the program itself uses.
pub(super) const ROOM: u64 = 64 * 1024 * 1024;

/// The longest answer, in bytes: eight times the largest program that the kernel accepts, so that a
/// program that is too large is reported as such.
const MAX_ANSWER: usize = 256 * 1024;

/// Kinds of answers, and the header before their bytes.
const PROGRAM: u8 = b'P';
const REFUSED: u8 = b'R';
const HEAD: usize = 5;

/// Whether this program's `main` supports compiling.
static IS_ABLE: AtomicBool = AtomicBool::new(false);

/// The result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The program.
    Program(Vec<u8>),
    /// libseccomp refused the filter.
    Refused(String),
    /// It took too long and was killed. Contains how much processor time it had.
    Late { used: Duration },
    /// It exited without an answer.
    None,
}

/// Must come first in the `main` of every program that compiles filters. If this process was
/// started to compile a filter for another one, this does so and returns the exit code. It then
/// lives no longer than the other process, and has limited memory and time.
pub fn in_child() -> Option<ExitCode> {
    let mut arguments = env::args_os();
    if arguments.next().as_deref() != Some(OsStr::new(NAME)) {
        IS_ABLE.store(true, Ordering::Relaxed);
        return None;
    }
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    Some(match parent.map(answer) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn answer(parent: i32) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have exited before this took effect.
    if getppid().as_raw() != parent {
        return Err(io::ErrorKind::NotFound.into());
    }
    limit()?;
    let mut encoded = Vec::new();
    io::stdin().lock().read_to_end(&mut encoded)?;
    let (kind, bytes) = match export(&encoded) {
        Ok(program) => (PROGRAM, program),
        Err(error) => (REFUSED, error.to_string().into_bytes()),
    };
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    out.write_all(&[kind])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&bytes)?;
    out.flush()
}

/// Limits memory in addition to what is already used, which may be much in a large program. Also
/// limits time, in case nobody kills this process, and prevents core dumps.
fn limit() -> io::Result<()> {
    let pages: u64 = fs::read_to_string("/proc/self/statm")?
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|page| u64::try_from(page).ok());
    let there = pages.saturating_mul(page.unwrap_or(4096));
    for (resource, most) in [
        (Resource::RLIMIT_AS, there.saturating_add(ROOM)),
        (Resource::RLIMIT_CPU, LIMIT.as_secs() + 1),
        (Resource::RLIMIT_CORE, 0),
    ] {
        let (_, hard) = getrlimit(resource)?;
        let most = most.min(hard);
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

/// Compiles an encoded filter in a child.
///
/// # Errors
/// The child can't be started.
pub(super) fn ask(encoded: &[u8]) -> io::Result<Answer> {
    if !IS_ABLE.load(Ordering::Relaxed) {
        return Err(io::Error::other(
            "this program's main does not let it compile",
        ));
    }
    let mut input = File::from(memfd_create("filter", MFdFlags::MFD_CLOEXEC)?);
    input.write_all(encoded)?;
    input.rewind()?;
    let mut child = Command::new("/proc/self/exe")
        .arg0(NAME)
        .arg(process::id().to_string())
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut bytes = Vec::new();
    let read = read_until(Instant::now() + LIMIT, out, &mut bytes);
    let answer = match read {
        Ok(true) => parse(&bytes),
        Ok(false) => Answer::Late {
            used: time_used(child.id()).unwrap_or(LIMIT),
        },
        Err(_) => Answer::None,
    };
    if !matches!(read, Ok(true)) {
        let _ = child.kill();
    }
    // Its answer counts, not its exit status: the caller of this program may have set things up so
    // that nobody is told that.
    let _ = child.wait();
    read.map(|_| answer)
}

/// Reads everything until the deadline, but not more than an answer. Returns whether the end was
/// reached.
fn read_until(end: Instant, mut out: impl Read + AsFd, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    while bytes.len() <= MAX_ANSWER {
        let left = end.saturating_duration_since(Instant::now());
        let mut events = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
        // Rounded up, to avoid spinning in the last millisecond.
        let left = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut events, PollTimeout::from(left.saturating_add(1))) {
            Ok(0) if Instant::now() >= end => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match out.read(&mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn parse(bytes: &[u8]) -> Answer {
    let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Answer::None;
    };
    if usize::try_from(u32::from_le_bytes([a, b, c, d])) != Ok(rest.len()) {
        return Answer::None;
    }
    match kind {
        PROGRAM => Answer::Program(rest.to_vec()),
        REFUSED => Answer::Refused(String::from_utf8_lossy(rest).into_owned()),
        _ => Answer::None,
    }
}

/// The processor time of a process (`stat`, proc(5)); `None` if that can't be determined.
fn time_used(process: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    let second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_millis(
        ticks * 1000 / u64::try_from(second).ok()?.max(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Filter, filter::digest::encode};

    #[test]
    fn a_filter_comes_back_as_a_program_and_other_bytes_are_refused() {
        let filter = encode(&Filter::new(Action::Allow));
        let Answer::Program(program) = ask(&filter).unwrap() else {
            panic!("no program");
        };
        assert_eq!(program, export(&filter).unwrap());
        assert!(matches!(ask(b"x").unwrap(), Answer::Refused(_)));
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        assert_eq!(parse(b"P\x01\0\0\0x"), Answer::Program(b"x".to_vec()));
        assert_eq!(parse(b"R\x01\0\0\0x"), Answer::Refused("x".to_owned()));
        for broken in [&b""[..], b"P", b"P\x02\0\0\0x", b"P\0\0\0\0x", b"X\0\0\0\0"] {
            assert_eq!(parse(broken), Answer::None, "{broken:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_late_and_what_ends_is_not() {
        let (silent, _held) = io::pipe().unwrap();
        let soon = || Instant::now() + Duration::from_millis(20);
        assert!(!read_until(soon(), silent, &mut Vec::new()).unwrap());
        let (ended, held) = io::pipe().unwrap();
        drop(held);
        assert!(read_until(soon(), ended, &mut Vec::new()).unwrap());
        let mut bytes = Vec::new();
        assert!(read_until(soon(), File::open("/dev/zero").unwrap(), &mut bytes).unwrap());
        assert!(bytes.len() > MAX_ANSWER && parse(&bytes) == Answer::None);
    }
}
