//! What happens to the files on the node, told by the kernel.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    path::Path,
};
use tokio::io::unix::AsyncFd;

/// The kernel's queue, as tokio wants it.
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

/// A watch on a folder, or nothing where there is none.
#[derive(Debug)]
pub struct Drift {
    inotify: AsyncFd<Queue>,
}

impl Drift {
    /// Watches folders; those that are not there are passed over.
    ///
    /// # Errors
    /// What the system said.
    pub fn watch(folders: &[&Path]) -> io::Result<Drift> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        for folder in folders {
            if let Err(error) = inotify.add_watch(*folder, flags) {
                tracing::debug!("{} is not watched: {error}", folder.display());
            }
        }
        // Its replacement is unsafe; here the descriptor is owned and lives as long as the watch.
        #[allow(deprecated)]
        let inotify = AsyncFd::new(Queue(inotify))?;
        Ok(Drift { inotify })
    }

    /// The names of the files that were touched; `None` where events were lost.
    ///
    /// # Errors
    /// What the system said.
    pub async fn touched(&self) -> io::Result<Option<Vec<String>>> {
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.try_io(|inner| inner.get_ref().0.read_events().map_err(Into::into)) {
                Ok(Ok(events)) => {
                    let lost = events
                        .iter()
                        .any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
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
}
