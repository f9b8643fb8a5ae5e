//! Work in a process of its own, which can be ended: libseccomp does not come to an end with some
//! conditional rules of one call.
#![allow(unsafe_code)] // fork

use nix::{
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork, pipe2},
};
use std::{io, os::fd::AsFd};

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is done.
    Well,
    /// It failed.
    Badly,
    /// It was ended.
    Late,
}

/// Does work in a child of this process, for so many milliseconds at the most. What it changes in
/// memory is lost; what it writes to open files is not.
///
/// # Errors
/// The system has no room for a process, or something else ended it.
pub(super) fn in_child(limit_ms: u16, work: impl FnOnce() -> bool) -> io::Result<Ended> {
    let (ended, held) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the child only allocates, computes and writes to files before it ends, by `_exit`;
    // the C library keeps its allocator usable in a child also where other threads ran.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = i32::from(!work());
            // SAFETY: ends the process at once; nothing of the parent's is run.
            unsafe { libc::_exit(code) }
        }
    };
    // The child's end closes with the child, which is what is waited for.
    drop(held);
    let mut events = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    let seen = loop {
        match poll(&mut events, PollTimeout::from(limit_ms)) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other,
        }
    };
    let late = !seen.is_ok_and(|ready| ready > 0);
    if late {
        let _ = kill(child, Signal::SIGKILL);
    }
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(Ended::Well),
        WaitStatus::Exited(..) => Ok(Ended::Badly),
        _ if late => Ok(Ended::Late),
        other => Err(io::Error::other(format!("its process ended by {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_well_badly_or_late() {
        let ends = |work: fn() -> bool| in_child(500, work).unwrap();
        assert_eq!(ends(|| true), Ended::Well);
        assert_eq!(ends(|| false), Ended::Badly);
        let endless = || {
            loop {
                std::thread::park();
            }
        };
        assert_eq!(ends(endless), Ended::Late);
        let killed = in_child(5_000, || {
            kill(nix::unistd::getpid(), Signal::SIGKILL).is_err()
        });
        assert!(killed.unwrap_err().to_string().contains("SIGKILL"));
    }
}
