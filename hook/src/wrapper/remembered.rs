//! Remembers which runtime created a container, so that later commands for it go to the same one
//! even if hook.toml changes meanwhile.
//!
//! Each container has a file in a folder that only root can access, named by the hash of root and
//! ID as given on the command line. The node agent runs as root and has the parent folder mounted,
//! so a runtime named in a file is executed only if it is in a place that the agent can't write to.

use crate::oci::command_line::{CommandLine, Runtime};
use portcullis_profile::{
    filter::digest::hex,
    private_folder::{Others, PrivateFolder, make_one},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The folder of these files. Like containers, they don't survive a reboot.
pub const FOLDER: &str = "/run/portcullis/runtimes";

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024;
/// How many arguments of a command line may be the container's ID.
const MAX_WORDS: usize = 16;
/// After this many new files, those of containers that are gone are removed.
const SWEEP: usize = 64;
/// A younger file may belong to a container that is just being created.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// Folders that the agent or anybody can write to, or that do not belong to the host.
const UNTRUSTED: [&str; 7] = [
    "/dev",
    "/proc",
    "/run",
    "/tmp",
    "/var/lib/kubelet",
    "/var/lib/portcullis",
    "/var/tmp",
];

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    runtime: PathBuf,
    /// The folder of the container's state, if known. It disappears with the container.
    state: Option<PathBuf>,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.state.as_ref().is_some_and(|state| !state.exists())
    }
}

/// A container that the wrapper created and that still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The runtime that created it.
    pub runtime: PathBuf,
    /// The folder of its state, if known.
    pub state: Option<PathBuf>,
}

/// The open folder.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    folder: PrivateFolder,
    is_trusted: fn(&Path) -> bool,
}

impl Remembered {
    /// Opens the folder, creating it if it is missing.
    ///
    /// # Errors
    /// It can't be created, or others can write to it.
    pub fn open(path: &Path) -> io::Result<Remembered> {
        if let Some(parent) = path.parent() {
            make_one(parent, 0o755)?;
            open(parent)?;
        }
        make_one(path, 0o700)?;
        Ok(Remembered {
            path: path.to_owned(),
            folder: open(path)?,
            is_trusted,
        })
    }

    /// The runtime that created the container of a command line. The first argument that is the ID
    /// of a remembered container counts.
    pub fn find(&self, root: Option<&Path>, words: &[String]) -> Option<PathBuf> {
        words
            .iter()
            .filter(|word| !word.starts_with('-'))
            .take(MAX_WORDS)
            .find_map(|id| self.read(&name(root, id)))
            .filter(|entry| !entry.is_over())
            .map(|entry| entry.runtime)
    }

    /// Remembers the runtime of a container that is about to be created. If the container already
    /// exists, its file is kept: the runtime will refuse to create it again.
    ///
    /// # Errors
    /// It can't be written.
    pub fn remember(&self, line: &CommandLine, id: &str, runtime: &Path) -> io::Result<()> {
        if !(self.is_trusted)(runtime) {
            return Ok(());
        }
        let name = name(line.root.as_deref(), id);
        let is_there = |entry: &Entry| entry.state.is_some() && !entry.is_over();
        if self.read(&name).as_ref().is_some_and(is_there) {
            return Ok(());
        }
        let root = line.root(
            Runtime::named(runtime),
            nix::unistd::geteuid().as_raw(),
            || std::env::var_os("XDG_RUNTIME_DIR"),
        );
        // runsc and others have names of their own for the state.
        let is_known = Runtime::named(runtime) != Runtime::Other;
        let entry = Entry {
            runtime: runtime.to_owned(),
            state: root.filter(|_| is_known).map(|root| root.join(id)),
        };
        self.folder.replace(&name, &serde_json::to_vec(&entry)?)?;
        self.sweep()
    }

    /// The containers that still exist, ordered by runtime and state. One whose state folder is not
    /// known counts as existing.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn existing(&self) -> io::Result<Vec<Existing>> {
        let mut existing = Vec::new();
        for file in fs::read_dir(&self.path)? {
            let name = file?.file_name();
            let entry = name.to_str().and_then(|name| self.read(name));
            if let Some(Entry { runtime, state }) = entry.filter(|entry| !entry.is_over()) {
                existing.push(Existing { runtime, state });
            }
        }
        existing.sort_by(|a, b| (&a.runtime, &a.state).cmp(&(&b.runtime, &b.state)));
        Ok(existing)
    }

    fn read(&self, name: &str) -> Option<Entry> {
        let text = self.folder.read(name, MAX_BYTES).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        (self.is_trusted)(&entry.runtime).then_some(entry)
    }

    /// Occasionally removes the files of containers that are gone.
    fn sweep(&self) -> io::Result<()> {
        let files: Vec<_> = fs::read_dir(&self.path)?.filter_map(Result::ok).collect();
        if !files.len().is_multiple_of(SWEEP) {
            return Ok(());
        }
        for file in files {
            let age = file
                .metadata()
                .and_then(|data| data.modified())
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            let name = file.file_name();
            let is_old = age.is_some_and(|age| age > YOUNG);
            let is_over = name
                .to_str()
                .and_then(|name| self.read(name))
                .is_none_or(|entry| entry.is_over());
            if is_old && is_over {
                self.folder.remove(&name);
            }
        }
        Ok(())
    }
}

/// The file of a container. Lengths keep root and ID apart.
fn name(root: Option<&Path>, id: &str) -> String {
    let root = root.map_or(&[][..], |root| root.as_os_str().as_bytes());
    let mut hash = Sha256::new();
    hash.update(root.len().to_le_bytes());
    hash.update(root);
    hash.update(id.as_bytes());
    hex(&hash.finalize())
}

fn open(path: &Path) -> io::Result<PrivateFolder> {
    PrivateFolder::open(path, Others::MayRead)
}

/// Whether only root, but not the agent, can write the file or replace it.
fn is_trusted(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else {
        return false;
    };
    !UNTRUSTED.iter().any(|folder| real.starts_with(folder))
        && real.ancestors().all(|part| {
            fs::metadata(part).is_ok_and(|data| data.uid() == 0 && data.mode() & 0o022 == 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::{ffi::OsString, fs::File, os::unix::fs::symlink};

    struct Case {
        folder: tempfile::TempDir,
        remembered: Remembered,
    }

    impl Case {
        fn new() -> Case {
            let folder = tempfile::tempdir().unwrap();
            let mut remembered = Remembered::open(&folder.path().join("run/runtimes")).unwrap();
            remembered.is_trusted = |_| true;
            Case { folder, remembered }
        }

        fn line(&self) -> CommandLine {
            let root = self.folder.path().join("root").into_os_string();
            let words = ["--root".into(), root, "create".into(), OsString::from("ID")];
            CommandLine::read(Runtime::Crun, &words).unwrap()
        }

        fn remember(&self, runtime: &str) {
            let line = self.line();
            self.remembered
                .remember(&line, "ID", Path::new(runtime))
                .unwrap();
        }

        fn make_state(&self) {
            fs::create_dir_all(self.folder.path().join("root/ID")).unwrap();
        }

        fn finds(&self, words: &[&str]) -> Option<PathBuf> {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            self.remembered.find(self.line().root.as_deref(), &words)
        }

        fn file(&self) -> PathBuf {
            let name = name(self.line().root.as_deref(), "ID");
            self.folder.path().join("run/runtimes").join(name)
        }
    }

    #[test]
    fn the_runtime_that_made_a_container_is_found_until_the_container_is_gone() {
        let case = Case::new();
        assert_eq!(case.finds(&["ID"]), None);
        case.make_state();
        case.remember("/usr/bin/crun");
        let crun = Some(PathBuf::from("/usr/bin/crun"));
        assert_eq!(case.finds(&["ID"]), crun);
        assert_eq!(case.finds(&["--force", "ID", "KILL"]), crun);
        assert_eq!(case.finds(&["OTHER"]), None);
        assert_eq!(case.finds(&["--id=ID"]), None);
        assert_eq!(case.remembered.find(None, &["ID".to_owned()]), None);
        fs::remove_dir(case.folder.path().join("root/ID")).unwrap();
        assert_eq!(case.finds(&["ID"]), None);
    }

    #[test]
    fn containers_are_listed_while_they_exist() {
        let case = Case::new();
        case.remember("/usr/bin/crun");
        assert_eq!(case.remembered.existing().unwrap(), []);
        case.make_state();
        let state = case.folder.path().join("root/ID");
        let expected = Existing {
            runtime: "/usr/bin/crun".into(),
            state: Some(state.clone()),
        };
        assert_eq!(case.remembered.existing().unwrap(), [expected]);
        fs::remove_dir(state).unwrap();
        assert_eq!(case.remembered.existing().unwrap(), []);
    }

    #[test]
    fn a_container_that_is_there_keeps_its_runtime() {
        let case = Case::new();
        case.remember("/usr/bin/runc");
        case.remember("/usr/bin/crun");
        case.make_state();
        case.remember("/usr/bin/runc");
        assert_eq!(case.finds(&["ID"]), Some("/usr/bin/crun".into()));
    }

    #[test]
    fn only_what_root_wrote_itself_is_believed() {
        let case = Case::new();
        case.make_state();
        case.remember("/usr/bin/crun");
        let good = fs::read(case.file()).unwrap();
        let restore = || {
            let _ = fs::remove_file(case.file());
            fs::write(case.file(), &good).unwrap();
            assert!(case.finds(&["ID"]).is_some());
            fs::remove_file(case.file()).unwrap();
        };
        fs::set_permissions(
            case.file(),
            std::os::unix::fs::PermissionsExt::from_mode(0o666),
        )
        .unwrap();
        assert_eq!(case.finds(&["ID"]), None);
        restore();
        let elsewhere = case.folder.path().join("elsewhere");
        fs::write(&elsewhere, &good).unwrap();
        symlink(&elsewhere, case.file()).unwrap();
        assert_eq!(case.finds(&["ID"]), None);
        restore();
        nix::unistd::mkfifo(&case.file(), Mode::S_IRWXU).unwrap();
        assert_eq!(case.finds(&["ID"]), None);
        restore();
        fs::write(case.file(), "not JSON").unwrap();
        assert_eq!(case.finds(&["ID"]), None);
        restore();
        let folder = case.folder.path().join("open");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(Remembered::open(&folder).is_err());
        assert!(Remembered::open(&folder.join("below")).is_err());
    }

    #[test]
    fn nothing_is_executed_from_where_others_write() {
        let program = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_trusted(program.path()));
        assert!(!is_trusted(Path::new("/run/portcullis/runtimes/x")));
        assert!(!is_trusted(Path::new("/nonexistent/crun")));
        assert!(is_trusted(Path::new("/bin/sh")));
    }

    #[test]
    fn what_is_left_of_old_containers_is_swept() {
        let case = Case::new();
        let folder = case.folder.path().join("run/runtimes");
        let old = SystemTime::now() - YOUNG * 2;
        for number in 0..SWEEP - 1 {
            let file = File::create(folder.join(number.to_string())).unwrap();
            if number > 0 {
                file.set_modified(old).unwrap();
            }
        }
        case.remember("/usr/bin/crun");
        // The young file and the one just written.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        case.make_state();
        assert!(case.finds(&["ID"]).is_some());
    }
}
