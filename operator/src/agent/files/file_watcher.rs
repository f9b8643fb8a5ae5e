//! Watches the files in some folders with inotify.

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};
use tokio::io::unix::AsyncFd;

/// The kernel's queue of events, as something that tokio can wait for.
#[derive(Debug)]
struct Queue(Inotify);

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Watches on folders.
#[derive(Debug)]
pub struct FileWatcher {
    inotify: AsyncFd<Queue>,
    folders: Vec<Watched>,
}

/// A folder as it was when its watch began.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    watch: WatchDescriptor,
    identity: (u64, u64),
}

impl Watched {
    /// Fails if the folder was moved or deleted although its path still leads to it. Then a mount,
    /// for example that of a container, hides its replacement. A new container gets a new mount, so
    /// exiting helps.
    fn require_in_place(&self, moved: bool) -> io::Result<()> {
        // A link in its place is dealt with elsewhere: links are not followed.
        match fs::symlink_metadata(&self.path) {
            Ok(there)
                if (moved || there.nlink() == 0) && (there.dev(), there.ino()) == self.identity =>
            {
                Err(io::Error::other(format!(
                    "{} was replaced on the node, behind the mount that leads to the old one",
                    self.path.components().as_path().display() // without the last dot
                )))
            }
            _ => Ok(()),
        }
    }
}

impl FileWatcher {
    /// Watches folders, except those that don't exist.
    ///
    /// # Errors
    /// If the kernel has no inotify instance left, or refuses it.
    pub fn watch(folders: &[&Path]) -> io::Result<FileWatcher> {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags).map_err(|error| match error {
            // The system's message, "too many open files", would be misleading.
            Errno::EMFILE => io::Error::other(
                "no inotify instance is left for this user: raise fs.inotify.max_user_instances",
            ),
            other => other.into(),
        })?;
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        let mut watched = Vec::new();
        for folder in folders {
            let path = folder.to_path_buf();
            let entry = inotify.add_watch(*folder, flags).map_err(io::Error::from);
            match entry.and_then(|watch| Ok((watch, fs::symlink_metadata(folder)?))) {
                Ok((watch, there)) => watched.push(Watched {
                    path,
                    watch,
                    identity: (there.dev(), there.ino()),
                }),
                Err(error) => tracing::debug!("{} is not watched: {error}", path.display()),
            }
        }
        // Its replacement is unsafe; here the descriptor is owned and lives as long as the watch.
        #[allow(deprecated)]
        let inotify = AsyncFd::new(Queue(inotify))?;
        Ok(FileWatcher {
            inotify,
            folders: watched,
        })
    }

    /// Waits until files are changed, and returns their names; `None` if events were lost.
    ///
    /// # Errors
    /// If events can't be read, or a folder is no longer visible.
    pub async fn touched(&self) -> io::Result<Option<Vec<String>>> {
        for folder in &self.folders {
            folder.require_in_place(false)?;
        }
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.try_io(|inner| inner.get_ref().0.read_events().map_err(Into::into)) {
                Ok(Ok(events)) => {
                    let lost = events
                        .iter()
                        .any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
                    for event in &events {
                        if event.mask.contains(AddWatchFlags::IN_MOVE_SELF)
                            && let Some(folder) = self.folder(event.wd)
                        {
                            folder.require_in_place(true)?;
                        }
                    }
                    let names = events
                        .into_iter()
                        .filter_map(|event| event.name?.into_string().ok());
                    return Ok((!lost).then(|| names.collect()));
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    fn folder(&self, watch: WatchDescriptor) -> Option<&Watched> {
        self.folders.iter().find(|folder| folder.watch == watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_another_one_replaces_is_no_error_where_its_path_leads_there() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        fs::create_dir(&folder).unwrap();
        let watcher = FileWatcher::watch(&[&folder]).unwrap();
        fs::rename(&folder, parent.path().join("b")).unwrap();
        fs::create_dir(&folder).unwrap();
        assert_eq!(watcher.touched().await.unwrap(), Some(Vec::new()));
        fs::remove_dir(&folder).unwrap();
        assert!(watcher.folders[0].require_in_place(true).is_ok());
        std::os::unix::fs::symlink(parent.path().join("b"), &folder).unwrap();
        assert!(watcher.folders[0].require_in_place(true).is_ok());
    }

    #[tokio::test]
    async fn one_whose_path_still_leads_to_it_is_hidden_by_a_mount() {
        let folder = tempfile::tempdir().unwrap();
        let watcher = FileWatcher::watch(&[folder.path()]).unwrap();
        assert!(watcher.folders[0].require_in_place(false).is_ok());
        let error = watcher.folders[0].require_in_place(true).unwrap_err();
        assert!(
            error.to_string().contains("replaced on the node"),
            "{error}"
        );
    }
}
