//! The few system calls of the recorder that libbpf-rs has no safe form of.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Waits until every CPU has left the program, if it was in it.
pub(super) fn wait_for_all_cpus() {
    // SAFETY: membarrier takes no pointers. A kernel without it answers ENOSYS; what is missed then
    // is a call at the very moment at which a limit ended its recording.
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::syscall(
            nix::libc::SYS_membarrier,
            nix::libc::MEMBARRIER_CMD_GLOBAL,
            0,
            0,
        );
    }
}

/// Attaches a `tp_btf` program, which knows its tracepoint itself. libbpf attaches only programs
/// of an object that it loaded, not pinned ones.
pub(super) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as `program` lives; no name is given.
    #[allow(unsafe_code)]
    let link =
        unsafe { libbpf_sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: a descriptor that was just opened and that nobody else has.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

pub(super) fn pin(link: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the descriptor is open and the path ends with a NUL.
    #[allow(unsafe_code)]
    let result = unsafe { libbpf_sys::bpf_obj_pin(link.as_raw_fd(), path.as_ptr()) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(())
}
