//! The running recordings of this node. Each has a file in a hidden folder of the first folder in
//! hook.toml. They are on disk, so that a restart of the node loses none silently.
//!
//! [`Recordings`] reads them without a lock and without creating anything, because files are
//! replaced as a whole. Recordings start and end under the lock of [`LockedRecordings`].

use super::{RecordError, active::Active, output, place::Place};
use nix::fcntl::{Flock, FlockArg};
use portcullis_profile::settings::Record;
use std::{
    fmt::Write,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    ops::Deref,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The hidden folder.
const FOLDER: &str = ".active";
/// The maximum size of a file, in bytes; it includes the base profile.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The longest name of a recording's file, without suffixes.
const MAX_NAME: usize = 200;

/// The recordings of this node, for reading.
#[derive(Debug)]
pub struct Recordings {
    root: PathBuf,
}

/// The recordings of this node, locked so that nobody else starts or ends one.
#[derive(Debug)]
pub struct LockedRecordings {
    recordings: Recordings,
    _lock: Flock<File>,
}

impl Recordings {
    /// The recordings in the folder that the settings name.
    ///
    /// # Errors
    /// The settings name no folder.
    pub fn new(record: &Record) -> Result<Recordings, RecordError> {
        Ok(Recordings {
            root: record.folders.first().ok_or(RecordError::NoFolder)?.clone(),
        })
    }

    /// Whether anything was ever recorded here. If not, there is nothing to do when a container
    /// ends.
    ///
    /// # Errors
    /// That can't be determined.
    pub fn exist(&self) -> Result<bool, RecordError> {
        let folder = self.root.join(FOLDER);
        match fs::symlink_metadata(&folder) {
            Ok(data) if data.is_dir() => Ok(true),
            Ok(_) => Err(RecordError::Broken {
                path: folder,
                reason: "is not a folder; remove it".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(RecordError::io(folder, error)),
        }
    }

    /// Waits for the lock, creating the hidden folder if necessary.
    ///
    /// # Errors
    /// The folder does not exist or can't be written.
    pub fn lock(self) -> Result<LockedRecordings, RecordError> {
        if !self.exist()? {
            let folder = self.root.join(FOLDER);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(RecordError::io(&self.root, error));
                }
                _ => self.exist()?,
            };
        }
        let path = self.root.join(FOLDER).join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
            .open(&path)
            .map_err(|error| RecordError::io(&path, error))?;
        let data = file
            .metadata()
            .map_err(|error| RecordError::io(&path, error))?;
        if !data.is_file() {
            return Err(RecordError::Broken {
                path,
                reason: "is not a regular file; remove it".to_owned(),
            });
        }
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| RecordError::io(&path, error))?;
        Ok(LockedRecordings {
            recordings: self,
            _lock: lock,
        })
    }

    /// All running recordings, oldest first, and the errors of those that can't be read.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn all(&self) -> Result<(Vec<Active>, Vec<RecordError>), RecordError> {
        let (mut good, mut broken) = (Vec::new(), Vec::new());
        if !self.exist()? {
            return Ok((good, broken));
        }
        let folder = self.root.join(FOLDER);
        let failed = |error| RecordError::io(&folder, error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                match self.read(&path) {
                    Ok(Some(active)) => good.push(active),
                    // The recording has just ended.
                    Ok(None) => {}
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
        if !self.exist()? {
            return Ok(None);
        }
        self.read(&self.place(id)?.path())
    }

    fn read(&self, path: &Path) -> Result<Option<Active>, RecordError> {
        let place = Place {
            folder: self.root.clone(),
            file: Path::new(FOLDER).join(path.file_name().unwrap_or_default()),
        };
        let Some(text) = output::read(&place, MAX_BYTES)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|error| RecordError::Broken {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The first folder.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The total size of the files in the first folder, in bytes, without subfolders.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes(&self) -> Result<u64, RecordError> {
        let failed = |error| RecordError::io(&self.root, error);
        let mut sum = 0;
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            match entry.and_then(|entry| entry.metadata()) {
                Ok(data) => sum += data.len(),
                // It was removed in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(sum)
    }

    /// The file of a container's recording. In every runtime, IDs consist of letters, digits, `-`,
    /// `_` and `.`; all other characters are escaped.
    fn place(&self, id: &str) -> Result<Place, RecordError> {
        let mut name = String::new();
        for byte in id.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
                // Writing to a string does not fail.
                other => _ = write!(name, "%{other:02x}"),
            }
        }
        if name.len() > MAX_NAME {
            return Err(RecordError::LongId);
        }
        Ok(Place {
            folder: self.root.clone(),
            file: Path::new(FOLDER).join(name + ".json"),
        })
    }
}

impl Deref for LockedRecordings {
    type Target = Recordings;

    fn deref(&self) -> &Recordings {
        &self.recordings
    }
}

impl LockedRecordings {
    /// Remembers a recording.
    ///
    /// # Errors
    /// Its file can't be written.
    pub fn put(&self, active: &Active) -> Result<(), RecordError> {
        let place = self.place(&active.id)?;
        let text = serde_json::to_string(active).map_err(|error| RecordError::Broken {
            path: place.path(),
            reason: error.to_string(),
        })?;
        // What the kernel has recorded is lost in a crash too, so there is no need to sync.
        output::write_fleeting(&place, &text)
    }

    /// Forgets a recording.
    ///
    /// # Errors
    /// Its file can't be removed.
    pub fn forget(&self, id: &str) -> Result<(), RecordError> {
        let path = self.place(id)?.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::io(path, error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::active::example;

    fn recordings(folder: &Path) -> Recordings {
        let record = Record {
            folders: vec![folder.to_owned()],
            ..Record::default()
        };
        Recordings::new(&record).unwrap()
    }

    #[test]
    fn looking_at_recordings_makes_nothing_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let look = || recordings(folder.path());
        assert!(!look().exist().unwrap());
        assert_eq!(look().all().unwrap().0, []);
        assert_eq!(look().get("x").unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Even while somebody else holds the lock.
        let locked = look().lock().unwrap();
        locked.put(&example()).unwrap();
        assert_eq!(look().all().unwrap().0, [example()]);
        assert_eq!(look().get("x").unwrap(), Some(example()));
        locked.forget("x").unwrap();
        assert_eq!(look().get("x").unwrap(), None);
    }

    #[test]
    fn the_lock_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let held = recordings(folder.path()).lock().unwrap();
        let file = File::open(folder.path().join(FOLDER).join("lock")).unwrap();
        assert!(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err());
        drop(held);
        let file = File::open(folder.path().join(FOLDER).join("lock")).unwrap();
        assert!(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_keeps_no_other_from_being_listed() {
        let folder = tempfile::tempdir().unwrap();
        let locked = recordings(folder.path()).lock().unwrap();
        locked.put(&example()).unwrap();
        let hidden = folder.path().join(FOLDER);
        fs::write(hidden.join("torn.json"), "{").unwrap();
        nix::unistd::mkfifo(&hidden.join("fifo.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (good, broken) = locked.all().unwrap();
        assert_eq!(good, [example()]);
        assert_eq!(broken.len(), 2);
        let said: String = broken.iter().map(ToString::to_string).collect();
        assert!(
            said.contains("torn.json") && said.contains("fifo.json"),
            "{said}"
        );
    }

    #[test]
    fn a_lock_or_a_folder_that_is_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let hidden = folder.path().join(FOLDER);
        std::os::unix::fs::symlink(elsewhere.path(), &hidden).unwrap();
        assert!(recordings(folder.path()).lock().is_err());
        assert!(recordings(folder.path()).all().is_err());
        fs::remove_file(&hidden).unwrap();
        fs::create_dir(&hidden).unwrap();
        nix::unistd::mkfifo(&hidden.join("lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(recordings(folder.path()).lock().is_err());
    }

    #[test]
    fn any_id_is_a_name_inside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let locked = recordings(folder.path()).lock().unwrap();
        for id in ["../../x", "a/b", ".", &"/".repeat(60)] {
            let active = Active {
                id: id.to_owned(),
                ..example()
            };
            locked.put(&active).unwrap();
            assert_eq!(locked.get(id).unwrap(), Some(active));
            locked.forget(id).unwrap();
        }
        assert_eq!(locked.all().unwrap().0, []);
        assert!(matches!(
            locked.get(&"x".repeat(500)),
            Err(RecordError::LongId)
        ));
    }

    #[test]
    fn a_recording_that_an_older_version_started_is_read() {
        let mut value = serde_json::to_value(example()).unwrap();
        for newer in ["bundle", "filter_error", "warnings"] {
            value.as_object_mut().unwrap().remove(newer).unwrap();
        }
        assert_eq!(serde_json::from_value::<Active>(value).unwrap(), example());
    }
}
