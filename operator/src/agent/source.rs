//! Where profiles come from: the API server, or a folder of manifests. Both tell the same changes.

mod manifests;

use super::files::file_watcher::FileWatcher;
use crate::kube::stored::StoredProfile;
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

/// How many objects a page of a list has.
const PAGE: u32 = 20;
/// How often the folder is read, in case the kernel did not tell of a change.
const CHECK: Duration = Duration::from_secs(60);

/// A change of what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A list of every profile begins.
    Begin,
    /// A profile of that list, with its specification as JSON.
    Listed(String, Box<str>),
    /// A profile is new or has changed; its specification as JSON.
    Set(String, Box<str>),
    /// A profile is gone.
    Unset(String),
    /// The list is complete.
    Complete,
}

/// Changes, and in words why there are none at the moment.
pub(super) type Changes = BoxStream<'static, Result<Change, String>>;

/// The changes in a cluster.
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

/// The changes in a folder: a list of everything, whenever something has changed there.
///
/// # Errors
/// If the folder can't be watched.
pub(super) fn folder(path: &Path) -> io::Result<Changes> {
    let folder = Folder {
        watcher: FileWatcher::watch(&[path])?,
        path: path.to_owned(),
        waiting: VecDeque::new(),
        was_read: false,
        manifests: manifests::Manifests::default(),
    };
    Ok(stream::unfold(folder, |mut folder| async move {
        Some((folder.next().await, folder))
    })
    .boxed())
}

struct Folder {
    watcher: FileWatcher,
    path: PathBuf,
    waiting: VecDeque<Change>,
    was_read: bool,
    manifests: manifests::Manifests,
}

impl Folder {
    async fn next(&mut self) -> Result<Change, String> {
        if let Some(change) = self.waiting.pop_front() {
            return Ok(change);
        }
        let wrong = |error: io::Error, path: &Path| format!("{}: {error}", path.display());
        if self.was_read
            && let Ok(Err(error)) = timeout(CHECK, self.watcher.touched()).await
        {
            tokio::time::sleep(CHECK).await;
            return Err(wrong(error, &self.path));
        }
        self.was_read = true;
        let profiles = self
            .manifests
            .read(&self.path)
            .map_err(|error| wrong(error, &self.path))?;
        let listed = profiles
            .into_iter()
            .map(|(name, spec)| Change::Listed(name, spec));
        self.waiting.extend(listed);
        self.waiting.push_back(Change::Complete);
        Ok(Change::Begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(folder: &Path, name: &str, allow: &str) {
        let manifest = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata:\n  name: {name}\nspec:\n  allow: [{allow}]\n"
        );
        // As an editor does it: the file is never seen half-written.
        fs::write(folder.join(".new"), manifest).unwrap();
        fs::rename(folder.join(".new"), folder.join(format!("{name}.yaml"))).unwrap();
    }

    /// The next whole list.
    async fn list(changes: &mut Changes) -> Vec<(String, Box<str>)> {
        let mut listed = Vec::new();
        let all = async {
            loop {
                match changes.next().await.unwrap().unwrap() {
                    Change::Begin => listed.clear(),
                    Change::Listed(name, spec) => listed.push((name, spec)),
                    Change::Complete => return,
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(Duration::from_secs(60), all).await.unwrap();
        listed
    }

    fn pair(name: &str, spec: &str) -> (String, Box<str>) {
        (name.to_owned(), spec.into())
    }

    #[tokio::test]
    async fn a_folder_is_listed_at_first_and_again_whenever_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "mkdir");
        let mut changes = super::folder(folder.path()).unwrap();
        assert_eq!(
            list(&mut changes).await,
            [pair("a", r#"{"allow":["mkdir"]}"#)]
        );
        write(folder.path(), "a", "rmdir");
        let wanted = [pair("a", r#"{"allow":["rmdir"]}"#)];
        while list(&mut changes).await != wanted {}
        fs::remove_file(folder.path().join("a.yaml")).unwrap();
        while !list(&mut changes).await.is_empty() {}
    }
}
