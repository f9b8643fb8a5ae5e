//! A node, seen from outside: its files below a root, its processes and its programs.

pub(crate) mod containers;
pub(crate) mod crio;
#[cfg(test)]
pub(crate) mod stand;
pub(crate) mod wrapper;

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{SysconfVar, sysconf},
};
use portcullis_profile::root::{ReadError, read_named};
use std::{
    fs,
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The maximum size of a file and of a program's output, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How long a program may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How many links may lead to a file.
const MAX_LINKS: usize = 16;

/// Where to look for programs that are named without a folder, as in the shipped units.
const PROGRAM_FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A node, seen from outside: every path is relative to its root.
#[derive(Debug)]
pub(crate) struct Node {
    root: PathBuf,
    executes: bool,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    /// When it started.
    pub(crate) started: SystemTime,
    /// Its command line.
    pub(crate) arguments: Vec<String>,
}

impl Node {
    /// The node with this root. Programs below another root than `/` may be anybody's, and are
    /// executed only if `trusted`.
    pub(crate) fn at_root(root: PathBuf, trusted: bool) -> Node {
        let executes = trusted || root == Path::new("/");
        Node { root, executes }
    }

    /// Whether its programs are executed.
    pub(crate) fn executes(&self) -> bool {
        self.executes
    }

    /// Where a path of the node is found.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        let own = path.components().filter(|c| *c != Component::RootDir);
        self.root.join(own.collect::<PathBuf>())
    }

    /// Reads a regular file of at most 1 MiB; links are followed.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.read_at_most(path, MAX_BYTES)
    }

    /// The same of a file that may be larger.
    pub(crate) fn read_at_most(&self, path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
        read_named(&self.at(path), limit)
    }

    /// The metadata of a path's target; links are followed.
    pub(crate) fn metadata(&self, path: &Path) -> io::Result<fs::Metadata> {
        fs::metadata(self.at(&self.resolve(path)?))
    }

    /// The target of a path if that is a link; links to folders on the path are kept.
    pub(crate) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            if !fs::symlink_metadata(self.at(&path))?.is_symlink() {
                return Ok(path);
            }
            let target = fs::read_link(self.at(&path))?;
            path = path.parent().unwrap_or(Path::new("/")).join(target);
        }
        Err(io::Error::other("too many links"))
    }

    /// Whether a path exists.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }

    /// The entries of a folder, by name; none if it can't be read.
    pub(crate) fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = fs::read_dir(self.at(folder))
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|entry| folder.join(entry.file_name()))
            .collect();
        all.sort();
        all
    }

    /// A program by its name, in the usual folders.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        PROGRAM_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| self.not_executable(path).is_none())
    }

    /// Why a file can't be executed; `None` if it can.
    pub(crate) fn not_executable(&self, path: &Path) -> Option<String> {
        match self.metadata(path) {
            Err(error) => Some(error.to_string()),
            Ok(data) if !data.is_file() => Some("is not a file".to_owned()),
            Ok(data) if data.permissions().mode() & 0o111 == 0 => {
                Some("is not executable".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// The owner of the node: root, unless its root belongs to someone else.
    pub(crate) fn owner(&self) -> u32 {
        fs::metadata(&self.root).map_or(0, |data| data.uid())
    }

    /// Why others than root may change something; `None` if they may not.
    pub(crate) fn changeable(&self, path: &Path) -> Option<String> {
        let data = self.metadata(path).ok()?;
        let open = data.uid() != self.owner() || data.permissions().mode() & 0o022 != 0;
        open.then(|| "others than root may change it".to_owned())
    }

    /// When a file, its name or its permissions last changed. So a file that was put back counts as
    /// new.
    pub(crate) fn changed(&self, path: &Path) -> Option<SystemTime> {
        since_epoch(&self.metadata(path).ok()?)
    }

    /// When a file on the host last changed, including its name and mode: packages preserve the
    /// modification times of their files, which may be older than the process that has yet to read them.
    pub(crate) fn changed_on_host(path: &Path) -> Option<SystemTime> {
        since_epoch(&fs::metadata(path).ok()?)
    }

    /// When a folder got its name, unless its entries changed later.
    pub(crate) fn moved(&self, folder: &Path) -> Option<SystemTime> {
        let data = self.metadata(folder).ok()?;
        let entries = (data.mtime(), data.mtime_nsec());
        if entries == (data.ctime(), data.ctime_nsec()) {
            return None;
        }
        since_epoch(&data)
    }

    /// The standard output of a program.
    ///
    /// # Errors
    /// It can't or may not be executed, fails, takes too long or prints too much. The message has
    /// the last line of its standard error.
    pub(crate) fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        if !self.executes {
            return Err("programs below --root are not executed".to_owned());
        }
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let mut child = loop {
            let spawned = Command::new(self.at(program))
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            match spawned {
                // Something has it open for writing.
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                other => break other.map_err(|error| error.to_string())?,
            }
        };
        let read = collect(&mut child, deadline);
        if read.is_err() {
            // It may have exited by itself; either way, wait for it below.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        let (output, errors) = read?;
        if !status.success() {
            let said = errors.lines().next_back().unwrap_or_default().to_owned();
            return Err(format!("{status}: {said}"));
        }
        Ok(output)
    }

    /// When the node booted: to a hundredth of a second from its uptime, or else to a second.
    pub(crate) fn booted(&self) -> Option<SystemTime> {
        let text = |path: &str| {
            let bytes = self.read(Path::new(path)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        if let Some(uptime) = text("/proc/uptime") {
            let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
            let since = Duration::try_from_secs_f64(seconds).ok()?;
            return SystemTime::now().checked_sub(since);
        }
        let seconds = text("/proc/stat")?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The oldest process with this name in the node's own PID namespace.
    pub(crate) fn process(&self, name: &str) -> Option<Process> {
        self.list(Path::new("/proc"))
            .into_iter()
            .filter(|folder| {
                let number = folder.file_name().unwrap_or_default().to_string_lossy();
                number.bytes().all(|byte| byte.is_ascii_digit())
            })
            .filter_map(|folder| self.process_in(&folder, name))
            .min_by_key(|process| process.started)
    }

    fn process_in(&self, folder: &Path, name: &str) -> Option<Process> {
        let text = |file: &str| {
            let bytes = self.read(&folder.join(file)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        if text("comm")?.trim_end() != name {
            return None;
        }
        // A process in a container also has an ID in its own namespace.
        let nested = text("status").is_some_and(|status| {
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
        });
        if nested {
            return None;
        }
        // proc(5): the 22nd field, counted from the name in brackets, which is the second.
        let stat = text("stat")?;
        let ticks: u64 = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(19)?
            .parse()
            .ok()?;
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
        let millis = ticks.saturating_mul(1000) / u64::try_from(per_second).ok()?.max(1);
        Some(Process {
            started: self.booted()? + Duration::from_millis(millis),
            arguments: text("cmdline")?
                .split_terminator('\0')
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The type of the file system that is mounted at exactly this path.
    pub(crate) fn mounted(&self, path: &Path) -> Option<String> {
        let text = self.read(Path::new("/proc/self/mounts")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // Of several mounts, the last one is visible.
        text.lines().rev().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            (Path::new(words.next()?) == path).then(|| words.next().unwrap_or_default().to_owned())
        })
    }
}

/// The time of the last change of an inode.
fn since_epoch(data: &fs::Metadata) -> Option<SystemTime> {
    let seconds = u64::try_from(data.ctime()).ok()?;
    let nanos = u64::try_from(data.ctime_nsec()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// Everything that a child prints until it closes both pipes.
fn collect(child: &mut std::process::Child, deadline: Instant) -> Result<(String, String), String> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its output can't be read".to_owned());
    };
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!(
                "did not finish within {} s",
                COMMAND_TIMEOUT.as_secs()
            ));
        }
        let watched = |open: bool| {
            if open {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            }
        };
        let mut pipes = [
            PollFd::new(out.as_fd(), watched(out_open)),
            PollFd::new(err.as_fd(), watched(err_open)),
        ];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        poll(&mut pipes, timeout).map_err(|error| error.to_string())?;
        let ready = |pipe: &PollFd<'_>| pipe.revents().is_some_and(|events| !events.is_empty());
        let (out_ready, err_ready) = (ready(&pipes[0]), ready(&pipes[1]));
        if out_open && out_ready {
            out_open = take(&mut out, &mut output)?;
        }
        if err_open && err_ready {
            err_open = take(&mut err, &mut errors)?;
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(output), text(errors)))
}

/// Reads what is available. Returns whether there may be more.
fn take(pipe: &mut impl Read, into: &mut Vec<u8>) -> Result<bool, String> {
    let mut buffer = [0; 8192];
    let count = pipe.read(&mut buffer).map_err(|error| error.to_string())?;
    into.extend_from_slice(&buffer[..count]);
    if into.len() as u64 > MAX_BYTES {
        return Err(format!("writes more than {MAX_BYTES} bytes"));
    }
    Ok(count > 0)
}
