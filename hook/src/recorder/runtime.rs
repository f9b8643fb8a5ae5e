//! The OCI runtime that started a recorded container: its path, language and version; and the
//! number of filters that processes have.

use super::RecordError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a runtime may take to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of its output is read, in bytes.
const VERSION_BYTES: usize = 4096;

/// The runtime that started this hook, by the path under which the engine called it. (It runs from
/// a copy of that file, because runtimes guard against being overwritten by containers.) Only a
/// file that belongs to root is accepted, because it is later executed to get its version. `None`
/// if it is not known; then only the metadata lack it.
pub fn parent_runtime() -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{}/cmdline", nix::unistd::getppid())).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let path = PathBuf::from(OsStr::from_bytes(first));
    let data = fs::metadata(&path).ok()?;
    let roots = data.is_file() && data.uid() == 0 && data.mode() & 0o022 == 0;
    (path.is_absolute() && roots).then_some(path)
}

/// The inode of the kernel's first PID namespace (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The process ID that the kernel itself uses for a process. It is not known inside another PID
/// namespace than the first, for example on a node that is itself a container.
pub fn pid_in_kernel(process: u32) -> Option<u32> {
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
    (namespace.ino() == FIRST_PID_NAMESPACE).then_some(process)
}

/// Whether a container's init is still that of runc, which is written in Go: it has runc's name
/// until it executes the entry point. If the kernel can't tell, the profile has a few more calls
/// than necessary.
pub fn is_go_runtime(init: u32) -> bool {
    fs::read(format!("/proc/{init}/comm")).map_or(true, |name| name.starts_with(b"runc:"))
}

/// How many filters a process has (`Seccomp_filters`, proc(5)). Kernels before 5.9 only say whether
/// there is one.
///
/// # Errors
/// The kernel does not say.
pub fn filter_count(process: &str) -> Result<u32, RecordError> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|error| RecordError::io(&path, error))?;
    count_in(&status).ok_or_else(|| RecordError::NoFilterCount(process.to_owned()))
}

fn count_in(status: &str) -> Option<u32> {
    let value = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|value| value.trim().parse::<u32>().ok())
    };
    value("Seccomp_filters:").or_else(|| value("Seccomp:").map(|mode| u32::from(mode == 2)))
}

/// The first line of a runtime's version output; `None` if it prints nothing in time.
pub fn version(runtime: &Path) -> Option<String> {
    version_within(runtime, VERSION_TIMEOUT)
}

fn version_within(runtime: &Path, timeout: Duration) -> Option<String> {
    let mut child = Command::new(runtime)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + timeout;
    let mut text = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        while text.len() < VERSION_BYTES && !text.contains(&b'\n') {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut ready, left), Ok(1)) {
                break;
            }
            let mut part = [0; 512];
            match output.read(&mut part) {
                Ok(read) if read > 0 => text.extend_from_slice(&part[..read]),
                _ => break,
            }
        }
    }
    // It has printed enough or has had its time. An error means that it has already exited.
    let _ = child.kill();
    let _ = child.wait();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next()?;
    Some(line.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_counted_or_at_least_said_to_be_there() {
        assert_eq!(count_in("Seccomp:\t2\nSeccomp_filters:\t3\n"), Some(3));
        assert_eq!(count_in("Seccomp:\t2\n"), Some(1));
        assert_eq!(count_in("Seccomp:\t0\n"), Some(0));
        assert_eq!(count_in("Name:\tx\n"), None);
        assert!(filter_count("self").is_ok());
        assert!(filter_count("0").is_err());
    }

    /// A program, written by another process: if this process had it open for writing, it could not
    /// be executed while another test's child still has it open.
    fn runtime(script: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime");
        let written = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod 755 "$2""#,
                "sh",
            ])
            .arg(script)
            .arg(&path)
            .status()
            .unwrap();
        assert!(written.success());
        (folder, path)
    }

    #[test]
    fn a_version_is_one_line_and_never_waited_for_without_end() {
        let (_folder, path) = runtime("echo crun version 1; echo more");
        let minute = Duration::from_secs(60);
        assert_eq!(version_within(&path, minute).unwrap(), "crun version 1");
        let (_folder, path) = runtime("yes | tr -d '\\n'");
        assert_eq!(version_within(&path, minute).unwrap().len(), 100);
        let (_folder, path) = runtime("exec sleep 600");
        assert_eq!(version_within(&path, Duration::from_millis(50)), None);
        assert_eq!(version(Path::new("/nonexistent/runtime")), None);
    }
}
