//! How a program of this crate starts: from the C runtime's `main`, without the standard library's.
//!
//! A hook starts once for each container. The standard library's start reads `/proc/self/maps` and
//! sets up a second stack to say which thread ran out of its own, which takes about a tenth of
//! `verify`'s time; without it, such a thread still dies by SIGSEGV, and the container is refused. The
//! other two things that it does are done here.

use nix::{
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigHandler, Signal, signal},
        stat::Mode,
    },
};
use portcullis_profile::{gate::Code, program::compile::in_child};
use std::{io, mem::forget, os::fd::AsFd, process};

/// Runs a program and exits with its code, or compiles a filter where this process was started to do
/// so for another one. To be called by `main`, and first.
#[allow(clippy::exit)] // flushes standard output, which returning from C's main would not
pub fn program(run: impl FnOnce() -> Result<(), Code>) -> ! {
    if open_standard_streams().is_err() {
        // There may be no standard error to say it on.
        process::abort();
    }
    ignore_broken_pipes();
    let code = match in_child() {
        Some(answered) => i32::from(answered.is_err()),
        None => run().map_or_else(|code| code.number().into(), |()| 0),
    };
    process::exit(code)
}

/// Opens `/dev/null` as each of the descriptors 0 to 2 that is closed: otherwise the next file that is
/// opened would be standard output, and messages would be written into it.
fn open_standard_streams() -> nix::Result<()> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let mut streams = [input.as_fd(), output.as_fd(), error.as_fd()]
        .map(|stream| PollFd::new(stream, PollFlags::empty()));
    poll(&mut streams, PollTimeout::ZERO)?;
    for stream in streams {
        if stream
            .revents()
            .is_none_or(|is| is.contains(PollFlags::POLLNVAL))
        {
            // This is the lowest one that is free, and stays open.
            forget(open("/dev/null", OFlag::O_RDWR, Mode::empty())?);
        }
    }
    Ok(())
}

/// Makes writing to a pipe that nobody reads an error instead of this process's end.
#[allow(unsafe_code)]
fn ignore_broken_pipes() {
    // SAFETY: this installs no handler, and so no code that a signal could interrupt other code with.
    // It only fails for numbers that are not signals.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}
