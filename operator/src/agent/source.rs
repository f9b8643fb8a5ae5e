//! Where profiles come from: the API server, or a folder of manifests. Both tell the same changes.

use super::{drift::Drift, manifests};
use crate::stored::StoredProfile;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// How many objects a list's page has.
const PAGE: u32 = 20;
/// How often the folder is read, beside what the kernel tells.
const AGAIN: Duration = Duration::from_secs(60);

/// A change of what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// All that there is follows.
    Begin,
    /// A profile is one of all; its specification as JSON.
    Listed(String, Box<str>),
    /// A profile is there or has changed.
    Set(String, Box<str>),
    /// A profile is gone.
    Unset(String),
    /// That was all.
    Complete,
}

/// Changes, and in words why there are none at the moment.
pub(super) type Changes = BoxStream<'static, Result<Change, String>>;

/// The API server's.
pub(super) fn cluster(client: Client) -> Changes {
    let config = Config::default().page_size(PAGE);
    watcher(Api::<StoredProfile>::all(client), config)
        .default_backoff()
        .map(|event| match event {
            Ok(Event::Init) => Ok(Change::Begin),
            Ok(Event::InitApply(profile)) => Ok(Change::Listed(profile.name_any(), profile.spec)),
            Ok(Event::Apply(profile)) => Ok(Change::Set(profile.name_any(), profile.spec)),
            Ok(Event::Delete(profile)) => Ok(Change::Unset(profile.name_any())),
            Ok(Event::InitDone) => Ok(Change::Complete),
            Err(error) => Err(format!("the API server: {error}")),
        })
        .boxed()
}

/// A folder's: everything, whenever something there has changed.
///
/// # Errors
/// Where the folder can't be watched.
pub(super) fn folder(path: &Path) -> io::Result<Changes> {
    let folder = Folder {
        watch: Drift::watch(&[path])?,
        path: path.to_owned(),
        waiting: VecDeque::new(),
        read: false,
    };
    Ok(stream::unfold(folder, |mut folder| async move {
        Some((folder.next().await, folder))
    })
    .boxed())
}

struct Folder {
    watch: Drift,
    path: PathBuf,
    waiting: VecDeque<Change>,
    read: bool,
}

impl Folder {
    async fn next(&mut self) -> Result<Change, String> {
        if let Some(change) = self.waiting.pop_front() {
            return Ok(change);
        }
        let wrong = |error: io::Error, path: &Path| format!("{}: {error}", path.display());
        if self.read
            && let Ok(Err(error)) = timeout(AGAIN, self.watch.touched()).await
        {
            tokio::time::sleep(AGAIN).await;
            return Err(wrong(error, &self.path));
        }
        self.read = true;
        let profiles = manifests::read(&self.path).map_err(|error| wrong(error, &self.path))?;
        let all = profiles
            .into_iter()
            .map(|(name, spec)| Change::Listed(name, spec));
        self.waiting.extend(all);
        self.waiting.push_back(Change::Complete);
        Ok(Change::Begin)
    }
}
