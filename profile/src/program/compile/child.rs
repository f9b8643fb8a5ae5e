//! Compiles in another process of the same program, which can be killed: libseccomp never finishes
//! with some conditional rules for one call.
//!
//! The program executes itself again under another name; nothing is forked off a process that may
//! have threads. A request goes in on standard input: which programs, and the filter. An answer comes
//! out on standard output: its kind, its length, its bytes; of programs each behind its own length.

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
    process::{self, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The program name that makes a process compile.
const NAME: &str = "portcullis-compile";

/// How long libseccomp may take for one filter.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// How many bytes of memory it may use in addition to what the program itself uses.
pub(super) const ROOM: u64 = 64 * 1024 * 1024;

/// The longest answer, in bytes: two programs, each eight times as large as the kernel takes, so that
/// one that is too large is told so.
const MAX_ANSWER: usize = 512 * 1024;

/// Kinds of requests: one program, or that one and a binary tree.
const LINEAR: u8 = b'L';
const WITH_TREE: u8 = b'T';

/// Kinds of answers.
const PROGRAMS: u8 = b'P';
const REFUSED: u8 = b'R';

/// Whether this program's `main` supports compiling.
static IS_ABLE: AtomicBool = AtomicBool::new(false);

/// The result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The program, and the binary tree where it was asked for and libseccomp can make one.
    Programs(Vec<Vec<u8>>),
    /// libseccomp said no.
    Refused(String),
    /// It took too long and was killed. Contains how much processor time it had.
    Late { used: Duration },
    /// It exited without an answer.
    None,
}

/// Must come first in the `main` of every program that compiles filters. If this process was
/// started to compile a filter for another one, this does so and returns whether it could answer,
/// which the exit code should tell. It then lives no longer than the other process, and has limited
/// memory and time.
pub fn in_child() -> Option<io::Result<()>> {
    let mut arguments = env::args_os();
    if arguments.next().as_deref() != Some(OsStr::new(NAME)) {
        IS_ABLE.store(true, Ordering::Relaxed);
        return None;
    }
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    Some(parent.map_or_else(|| Err(io::ErrorKind::InvalidInput.into()), answer))
}

fn answer(parent: i32) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have exited before this took effect.
    if getppid().as_raw() != parent {
        return Err(io::ErrorKind::NotFound.into());
    }
    limit()?;
    let mut request = Vec::new();
    io::stdin().lock().read_to_end(&mut request)?;
    let (wanted, encoded) = request.split_first().ok_or(io::ErrorKind::InvalidData)?;
    let (kind, bytes) = match export(encoded, *wanted == WITH_TREE) {
        Ok(programs) => (PROGRAMS, joined(&programs)?),
        Err(error) => (REFUSED, error.to_string().into_bytes()),
    };
    let mut out = io::stdout().lock();
    out.write_all(&[kind])?;
    out.write_all(&joined(&[bytes])?)?;
    out.flush()
}

/// Each text behind its length.
fn joined(texts: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for text in texts {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        all.extend(length.to_le_bytes());
        all.extend(text);
    }
    Ok(all)
}

/// The texts that are behind their lengths; `None` where one is cut.
fn split(mut all: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = all.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, rest) = rest.split_at_checked(length)?;
        texts.push(text.to_vec());
        all = rest;
    }
    all.is_empty().then_some(texts)
}

/// Memory beyond what is there already: a large program may have much of it. Time as well, should
/// nobody end this process, and no file with its memory.
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

/// Has an encoded filter compiled, on demand as a binary tree too.
///
/// # Errors
/// There can be no such process.
pub(super) fn ask(encoded: &[u8], with_tree: bool) -> io::Result<Answer> {
    if !IS_ABLE.load(Ordering::Relaxed) {
        return Err(io::Error::other(
            "this program's main does not let it compile",
        ));
    }
    let mut input = File::from(memfd_create("filter", MFdFlags::MFD_CLOEXEC)?);
    input.write_all(&[if with_tree { WITH_TREE } else { LINEAR }])?;
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
    let Some((kind, rest)) = bytes.split_first() else {
        return Answer::None;
    };
    let (kind, body) = match (kind, split(rest).as_deref()) {
        (kind, Some([body])) => (*kind, body.clone()),
        _ => return Answer::None,
    };
    match (kind, split(&body)) {
        (PROGRAMS, Some(programs)) if !programs.is_empty() => Answer::Programs(programs),
        (REFUSED, _) => Answer::Refused(String::from_utf8_lossy(&body).into_owned()),
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
        for (with_tree, count) in [(false, 1), (true, 2)] {
            let Answer::Programs(programs) = ask(&filter, with_tree).unwrap() else {
                panic!("no program");
            };
            assert_eq!(programs, export(&filter, with_tree).unwrap());
            assert_eq!(programs.len(), count);
        }
        assert!(matches!(ask(b"x", false).unwrap(), Answer::Refused(_)));
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        let programs = |all: &[&[u8]]| {
            let all: Vec<Vec<u8>> = all.iter().map(|one| one.to_vec()).collect();
            let body = joined(&all).unwrap();
            (
                Answer::Programs(all),
                [&b"P"[..], &joined(&[body]).unwrap()].concat(),
            )
        };
        for all in [&[&b"x"[..]][..], &[b"x", b"yz"]] {
            let (answer, bytes) = programs(all);
            assert_eq!(parse(&bytes), answer);
            for length in 0..bytes.len() {
                assert_eq!(parse(&bytes[..length]), Answer::None);
            }
            assert_eq!(parse(&[&bytes[..], b"x"].concat()), Answer::None);
        }
        assert_eq!(parse(b"R\x01\0\0\0x"), Answer::Refused("x".to_owned()));
        for broken in [&b""[..], b"P", b"P\0\0\0\0", b"P\x01\0\0\0x", b"X\0\0\0\0"] {
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
