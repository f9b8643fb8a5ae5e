//! The few system calls of the recorder for which libbpf-rs has no safe function.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Waits until every CPU that was running the program has left it.
pub(super) fn wait_for_all_cpus() {
    // SAFETY: membarrier takes no pointers. A kernel without it answers ENOSYS; then a call at the
    // very moment at which a limit ends the recording may be missed.
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

/// Attaches a pinned `tp_btf` program, which knows its own tracepoint. libbpf only attaches
/// programs of objects that it loaded itself.
pub(super) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as `program` lives; no name is given.
    #[allow(unsafe_code)]
    let link =
        unsafe { libbpf_sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: the descriptor was just opened and nothing else owns it.
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
