//! What is known of a recording while it runs: one file each, and the lock under which recordings
//! begin and end.
//!
//! They lie in a hidden folder of the first folder of hook.toml, on disk: what a restart of the
//! node cut off is found and said, not forgotten.

use super::{RecordError, output, request::Place};
use nix::fcntl::{Flock, FlockArg, OFlag};
use portcullis_profile::{
    Engine,
    select::identity::Identity,
    settings::{Argument, Record},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The hidden folder.
const FOLDER: &str = ".active";
/// The longest file that is read, in bytes; a base profile is part of it.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A running recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The container's ID.
    pub id: String,
    /// Its slot in the kernel.
    pub slot: u32,
    /// The kernel's number of its cgroup.
    pub cgroup: u64,
    /// That cgroup's folder.
    pub cgroup_folder: PathBuf,
    /// The boot in which it runs.
    pub boot: String,
    /// Whose keys name it.
    pub engine: Engine,
    /// Which container.
    pub identity: Identity,
    /// The image, where the engine says it.
    pub image: Option<String>,
    /// The runtime that started it.
    pub runtime: Option<PathBuf>,
    /// Whether that runtime is written in Go.
    #[serde(default)]
    pub go_runtime: bool,
    /// The default action of the filter that `config.json` gives it; `None`: no filter.
    pub filter: Option<String>,
    /// Whether what that filter denies is logged and executed.
    #[serde(default)]
    pub denials_logged: bool,
    /// Whether its processes had the filters of their window before the recording began.
    pub loaded_before: bool,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// The folder of its profile.
    pub folder: PathBuf,
    /// Its profile, relative to the folder.
    pub file: PathBuf,
    /// Arguments whose values are recorded, in the order of their watches.
    pub arguments: Vec<Argument>,
    /// The profile whose denials stay denials, as it was when the recording began.
    pub base: Option<String>,
}

impl Active {
    /// Where its profile goes.
    pub fn output(&self) -> Place {
        Place {
            folder: self.folder.clone(),
            file: self.file.clone(),
        }
    }
}

/// The recordings of this node, locked: nobody else begins or ends one.
#[derive(Debug)]
pub struct Recordings {
    root: PathBuf,
    _lock: Flock<File>,
}

impl Recordings {
    /// Whether anything was ever recorded here: else a container that ends is no matter of ours.
    pub fn exist(record: &Record) -> bool {
        let first = record.folders.first();
        first.is_some_and(|folder| folder.join(FOLDER).exists())
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// The folder is not there or can't be written.
    pub fn lock(record: &Record) -> Result<Recordings, RecordError> {
        let root = record.folders.first().ok_or(RecordError::NoFolder)?.clone();
        let folder = root.join(FOLDER);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(RecordError::io(&root, error));
            }
            _ => {}
        }
        let real =
            fs::symlink_metadata(&folder).map_err(|error| RecordError::io(&folder, error))?;
        if !real.is_dir() {
            return Err(RecordError::Broken {
                path: folder,
                reason: "is not a folder; remove it".to_owned(),
            });
        }
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // Neither a link nor something that waits for a reader.
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&path)
            .map_err(|error| RecordError::io(&path, error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| RecordError::io(&path, error))?;
        Ok(Recordings { root, _lock: lock })
    }

    /// Every running recording, and what is wrong with files that can't be read.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn all(&self) -> Result<(Vec<Active>, Vec<RecordError>), RecordError> {
        let folder = self.root.join(FOLDER);
        let failed = |error| RecordError::io(&folder, error);
        let (mut good, mut broken) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                match self.read(&path) {
                    Ok(active) => good.push(active),
                    Err(error) => broken.push(error),
                }
            }
        }
        good.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        Ok((good, broken))
    }

    /// The recording of a container, by its ID.
    ///
    /// # Errors
    /// Its file can't be read.
    pub fn get(&self, id: &str) -> Result<Option<Active>, RecordError> {
        let path = self.place(id).path();
        if path.exists() {
            self.read(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    fn read(&self, path: &Path) -> Result<Active, RecordError> {
        let broken = |reason: String| RecordError::Broken {
            path: path.to_owned(),
            reason,
        };
        let place = Place {
            folder: self.root.clone(),
            file: Path::new(FOLDER).join(path.file_name().unwrap_or_default()),
        };
        let text = output::read(&place, MAX_BYTES)?
            .ok_or_else(|| broken("it has just vanished".to_owned()))?;
        serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
    }

    /// Remembers a recording.
    ///
    /// # Errors
    /// Its file can't be written.
    pub fn put(&self, active: &Active) -> Result<(), RecordError> {
        let place = self.place(&active.id);
        let text = serde_json::to_string(active).map_err(|error| RecordError::Broken {
            path: place.path(),
            reason: error.to_string(),
        })?;
        // What the kernel records is lost with the node too, so the disk is not waited for.
        output::write_fleeting(&place, &text)
    }

    /// Forgets a recording.
    ///
    /// # Errors
    /// Its file can't be removed.
    pub fn forget(&self, id: &str) -> Result<(), RecordError> {
        let path = self.place(id).path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::io(path, error))
            }
            _ => Ok(()),
        }
    }

    /// The first folder.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// How much the first folder holds, in bytes, without what lies in folders below it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes(&self) -> Result<u64, RecordError> {
        let failed = |error| RecordError::io(&self.root, error);
        let mut sum = 0;
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            sum += entry
                .and_then(|entry| entry.metadata())
                .map_or(0, |data| data.len());
        }
        Ok(sum)
    }

    /// The file of a container's recording; an ID is a name of letters, digits, `-`, `_` and `.`
    /// in every runtime, and anything else is written so that it is one too.
    fn place(&self, id: &str) -> Place {
        let mut name = String::new();
        for byte in id.bytes().take(100) {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
                other => {
                    let _ = write!(name, "%{other:02x}");
                }
            }
        }
        Place {
            folder: self.root.clone(),
            file: Path::new(FOLDER).join(name + ".json"),
        }
    }
}

/// This boot's name.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
