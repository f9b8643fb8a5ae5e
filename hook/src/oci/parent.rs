//! The runtime that called the hook, identified by its command line.
//!
//! crun and runc execute copies of themselves in memory, so `/proc/PID/exe` does not identify them.
//! A command line counts only if it belongs to an ancestor of the same user and creates exactly the
//! container that the hook was called for. Authors of pods have no process among these.

use super::command_line::{Command, CommandLine, Runtime};
use portcullis_profile::gather::crun::CrunContainer;
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

/// How many ancestors to look at: a hook may be called through a script or two.
const GENERATIONS: usize = 4;
/// The longest command line or environment that is read, in bytes; longer ones are cut.
const MAX_BYTES: u64 = 256 * 1024;

/// The runtime that is creating a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRuntime {
    /// Its process.
    pub process: u32,
    /// Which runtime it is, judging by the name that it was called under.
    pub kind: Runtime,
    /// Where it keeps its containers' state; `None` if that can't be determined.
    pub root: Option<PathBuf>,
    /// The container's bundle, if the command line has an absolute path. A relative one can't be
    /// resolved, because the runtime changes its working directory.
    pub bundle: Option<PathBuf>,
    /// The path that the engine executed, as conmon was told; it may be the wrapper's.
    pub executed: Option<PathBuf>,
}

impl ParentRuntime {
    /// The nearest ancestor that is creating this container.
    pub fn of(id: &str) -> Option<ParentRuntime> {
        let parent = u32::try_from(nix::unistd::getppid().as_raw()).ok()?;
        find(
            Path::new("/proc"),
            parent,
            nix::unistd::geteuid().as_raw(),
            id,
        )
    }
}

/// The container as crun makes it, or as a runtime does that may be crun: one of another name (`runc`
/// may be a link to crun), or one whose command line says nothing.
pub fn as_crun_makes_it(parent: Option<&ParentRuntime>, id: &str) -> Option<CrunContainer> {
    let (root, process) = if let Some(parent) = parent {
        (parent.root.clone(), parent.process)
    } else {
        let caller = nix::unistd::getppid().as_raw();
        (None, u32::try_from(caller).ok()?)
    };
    Some(CrunContainer {
        root,
        id: id.to_owned(),
        process,
        is_certain: parent.is_some_and(|parent| parent.kind == Runtime::Crun),
    })
}

/// The path by which the engine had this process executed, where it is one that makes a container.
pub fn executed_by_monitor() -> Option<PathBuf> {
    let parent = u32::try_from(nix::unistd::getppid().as_raw()).ok()?;
    let user = nix::unistd::geteuid().as_raw();
    told(&Path::new("/proc").join(parent.to_string()), user)
}

/// The runtime that a process was told to execute (`conmon(8)`), where it is conmon.
fn told(folder: &Path, user: u32) -> Option<PathBuf> {
    belongs(folder, user)?;
    let mut words = strings(&folder.join("cmdline")).into_iter();
    if Path::new(&words.next()?).file_name()? != "conmon" {
        return None;
    }
    while let Some(word) = words.next() {
        if word == "-r" || word == "--runtime" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.as_bytes().strip_prefix(b"--runtime=") {
            return Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        // Podman's own --runtime is among these.
        if word == "--exit-command-arg" || word == "--runtime-arg" {
            words.next();
        }
    }
    None
}

/// Whether a process is the user's or root's, as it is where it can't be dumped.
fn belongs(folder: &Path, user: u32) -> Option<()> {
    let owner = fs::metadata(folder).ok()?.uid();
    (owner == user || owner == 0).then_some(())
}

fn find(proc: &Path, first: u32, user: u32, id: &str) -> Option<ParentRuntime> {
    let mut process = first;
    for _ in 0..GENERATIONS {
        let folder = proc.join(process.to_string());
        belongs(&folder, user)?;
        if let Some(mut runtime) = making(&folder, process, user, id) {
            let monitor = parent(&folder).map(|parent| proc.join(parent.to_string()));
            runtime.executed = monitor.and_then(|monitor| told(&monitor, user));
            return Some(runtime);
        }
        process = parent(&folder).filter(|parent| *parent > 1)?;
    }
    None
}

/// The runtime, if the process is creating this container.
fn making(folder: &Path, process: u32, user: u32, id: &str) -> Option<ParentRuntime> {
    let mut words = strings(&folder.join("cmdline")).into_iter();
    let program = PathBuf::from(words.next()?);
    let kind = Runtime::named(&program);
    let line = CommandLine::read(kind, &words.collect::<Vec<_>>()).ok()?;
    let root = line.root(kind, user, || variable(folder, "XDG_RUNTIME_DIR"));
    match line.command {
        Command::Makes(container) if container.id == id => Some(ParentRuntime {
            process,
            kind,
            root,
            bundle: container.bundle.filter(|bundle| bundle.is_absolute()),
            executed: None,
        }),
        _ => None,
    }
}

/// The parent of a process: the second field after its name in `stat` (proc(5)).
fn parent(folder: &Path) -> Option<u32> {
    let text = String::from_utf8_lossy(&bytes(&folder.join("stat"))).into_owned();
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn variable(folder: &Path, name: &str) -> Option<OsString> {
    strings(&folder.join("environ"))
        .into_iter()
        .find_map(|entry| {
            let value = entry.as_bytes().strip_prefix(name.as_bytes())?;
            Some(OsStr::from_bytes(value.strip_prefix(b"=")?).to_owned())
        })
}

/// The NUL-separated strings of a file.
fn strings(path: &Path) -> Vec<OsString> {
    let bytes = bytes(path);
    let whole = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    if whole.is_empty() {
        return Vec::new();
    }
    whole
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// A file of `/proc`; empty where it can't be read.
fn bytes(path: &Path) -> Vec<u8> {
    // The kernel gives no size, and small steps take many reads.
    let mut bytes = Vec::with_capacity(4096);
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    read.map_or_else(|_| Vec::new(), |_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Proc(tempfile::TempDir);

    impl Proc {
        /// Processes with their parents, command lines and environments.
        fn new(processes: &[(u32, u32, &str, &str)]) -> Proc {
            let folder = tempfile::tempdir().unwrap();
            for (process, parent, line, environment) in processes {
                let at = folder.path().join(process.to_string());
                fs::create_dir(&at).unwrap();
                let nul = |text: &str| text.replace(' ', "\0") + "\0";
                fs::write(at.join("cmdline"), nul(line)).unwrap();
                fs::write(at.join("environ"), nul(environment)).unwrap();
                let stat = format!("{process} (a) b (c) S {parent} 1 1");
                fs::write(at.join("stat"), stat).unwrap();
            }
            Proc(folder)
        }

        fn finds(&self, first: u32, id: &str) -> Option<ParentRuntime> {
            let user = nix::unistd::geteuid().as_raw();
            find(self.0.path(), first, user, id)
        }
    }

    const CONMON: &str = "/usr/bin/conmon -c ID -u ID -b /other -r /usr/bin/crun";

    #[test]
    fn the_runtime_is_found_above_scripts() {
        let proc = Proc::new(&[
            (9, 8, "/bin/sh /hook", "A=b"),
            (8, 7, "/usr/bin/crun --root /r create --bundle /b ID", "A=b"),
            (7, 1, CONMON, ""),
        ]);
        for first in [8, 9] {
            let found = proc.finds(first, "ID").unwrap();
            assert_eq!((found.process, found.kind), (8, Runtime::Crun));
            assert_eq!(found.root.as_deref(), Some(Path::new("/r")));
            assert_eq!(found.bundle.as_deref(), Some(Path::new("/b")));
            assert_eq!(found.executed.as_deref(), Some(Path::new("/usr/bin/crun")));
        }
    }

    #[test]
    fn a_runtime_of_any_name_may_be_crun() {
        let crun = |line: &str| {
            let proc = Proc::new(&[(8, 1, line, "")]);
            as_crun_makes_it(proc.finds(8, "ID").as_ref(), "ID")
        };
        let certain = crun("/usr/bin/crun --root /r create --bundle /b ID").unwrap();
        assert_eq!((certain.process, certain.is_certain), (8, true));
        assert_eq!(certain.root.as_deref(), Some(Path::new("/r")));
        let other = crun("/usr/bin/krun create --bundle /b ID").unwrap();
        assert_eq!((other.process, other.is_certain), (8, false));
        // An option that is not known: the command line says nothing.
        let unknown = crun("/usr/bin/crun --new-option create --bundle /b ID").unwrap();
        assert!(!unknown.is_certain && unknown.root.is_none());
        let link = crun("/usr/bin/runc --root /r create --bundle /b ID").unwrap();
        assert_eq!((link.process, link.is_certain), (8, false));
        assert_eq!(link.root.as_deref(), Some(Path::new("/r")));
    }

    #[test]
    fn no_process_that_makes_another_container_or_none_counts() {
        for line in [
            CONMON,
            "crun create --bundle /b OTHER",
            "crun delete ID",
            "crun --root /r create --unknown /b ID",
            "crun create --help ID",
            "sleep 1",
            "",
        ] {
            let proc = Proc::new(&[(8, 7, line, ""), (7, 1, CONMON, "")]);
            assert_eq!(proc.finds(8, "ID"), None, "{line}");
        }
        let far = Proc::new(&[
            (9, 8, "sh", ""),
            (8, 7, "sh", ""),
            (7, 6, "sh", ""),
            (6, 5, "sh", ""),
            (5, 1, "crun run -b /b ID", ""),
        ]);
        assert_eq!(far.finds(9, "ID"), None);
        assert!(far.finds(8, "ID").is_some());
    }

    #[test]
    fn what_the_engine_executed_is_what_conmon_was_told() {
        let told = |monitor: &str| {
            let proc = Proc::new(&[(8, 7, "crun create -b /b ID", ""), (7, 1, monitor, "")]);
            proc.finds(8, "ID").unwrap().executed
        };
        for options in [
            "-c ID -r /w/portcullis-crun --runtime-arg --root=/r",
            "--runtime /w/portcullis-crun",
            "--runtime=/w/portcullis-crun -l /log",
            "-r /w/portcullis-crun --exit-command-arg --runtime --exit-command-arg /w/crun",
            "--runtime-arg --runtime --runtime-arg /w/crun -r /w/portcullis-crun",
        ] {
            let found = told(&format!("/usr/libexec/crio/conmon {options}"));
            assert_eq!(found.as_deref(), Some(Path::new("/w/portcullis-crun")));
        }
        for monitor in ["conmon -c ID", "conmon -r", "sh -r /w/x", ""] {
            assert_eq!(told(monitor), None, "{monitor}");
        }
    }

    #[test]
    fn a_relative_bundle_is_none_and_the_root_is_the_runtimes_default() {
        let found = |line: &str, environment: &str| {
            let proc = Proc::new(&[(8, 1, line, environment)]);
            let found = proc.finds(8, "ID").unwrap();
            (
                found.bundle,
                found.root.map(|root| root.display().to_string()),
            )
        };
        let default = Some("/run/crun".to_owned());
        assert_eq!(
            found("crun create -b b ID", "X=/x"),
            (None, default.clone())
        );
        assert_eq!(found("crun run ID", "XDG_RUNTIME_DIR="), (None, default));
        let users = Some("/run/user/3/crun".to_owned());
        assert_eq!(
            found("crun run ID", "A=b XDG_RUNTIME_DIR=/run/user/3").1,
            users
        );
        // crun before 1.21 uses the value of --rootless as its root.
        assert_eq!(found("crun --rootless true run ID", "").1, None);
        assert_eq!(found("youki run ID", "").1, None);
        assert_eq!(found("crun --root r run ID", "").1, None);
    }

    #[test]
    fn a_process_of_somebody_else_does_not_count() {
        let proc = Proc::new(&[(8, 1, "crun run -b /b ID", "")]);
        let own = fs::metadata(proc.0.path()).unwrap().uid();
        let stranger = own + 1;
        // Root's processes count for every user, others only for their own.
        let found = |user| find(proc.0.path(), 8, user, "ID").is_some();
        assert!(found(own));
        assert_eq!(found(stranger), own == 0);
        if own == 0 {
            std::os::unix::fs::chown(proc.0.path().join("8"), Some(1234), None).unwrap();
            assert!(!found(own));
            assert!(found(1234));
        }
    }
}
