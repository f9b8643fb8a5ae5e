//! Where profiles come from: the API server or a folder of manifests. Both produce the same
//! changes.

pub mod manifests;
pub mod packed_spec;

use super::files::file_watcher::FileWatcher;
use crate::kube::{
    follow::{Watchers, follow},
    stored::StoredProfile,
    stores::profile::FINALIZER,
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{Config, Event},
};
use manifests::Manifests;
use packed_spec::PackedSpec;
use serde::Deserialize;
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// How many objects are listed at a time.
const PAGE: u32 = 20;
/// How often the folder is read, in case the kernel did not report a change.
const CHECK: Duration = Duration::from_secs(60);

/// How long the folder must be quiet before it is read.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long to wait for that if changes keep coming.
const DEBOUNCE_LIMIT: Duration = Duration::from_secs(2);

/// A profile as its source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// When it was created, where that is known.
    pub created: Option<Timestamp>,
    /// The generation of its specification, where there are generations.
    pub generation: Option<i64>,
    /// Its specification.
    pub spec: PackedSpec,
    /// Whether it can't go while pods use it, since the controller holds it. Only then is its file
    /// written; otherwise the file could vanish with it before anybody has looked for its pods.
    pub is_held: bool,
    /// When its file may be removed.
    pub release: Release,
}

/// When the file of a profile that exists may be removed. Agents do not know which pods use it; the
/// controller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Never: pods may use it.
    Never,
    /// If the profile is disabled: no pod uses this generation.
    IfDisabled,
    /// At once: the profile is being deleted, and the controller no longer holds it.
    Now,
}

impl From<StoredProfile> for Wanted {
    fn from(profile: StoredProfile) -> Wanted {
        Wanted {
            name: profile.name_any(),
            created: profile.creation_timestamp().map(|time| time.0),
            generation: profile.meta().generation,
            is_held: is_held(&profile),
            release: release(&profile),
            spec: PackedSpec::of(&profile.spec),
        }
    }
}

fn is_held(profile: &StoredProfile) -> bool {
    profile.finalizers().iter().any(|it| it == FINALIZER)
}

fn release(profile: &StoredProfile) -> Release {
    /// The part of a status that agents read.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        released_generation: Option<i64>,
    }
    let meta = profile.meta();
    if meta.deletion_timestamp.is_some() && !is_held(profile) {
        return Release::Now;
    }
    // A status that can't be parsed releases nothing.
    let status: Status = serde_json::from_str(&profile.status).unwrap_or_default();
    if meta.generation.is_some() && status.released_generation == meta.generation {
        Release::IfDisabled
    } else {
        Release::Never
    }
}

/// A change of what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A list of every profile begins.
    Begin,
    /// A profile of that list.
    Listed(Wanted),
    /// A profile is new or has changed.
    Set(Wanted),
    /// A profile is gone.
    Unset(String),
    /// The list ends, and has every profile.
    Complete,
    /// The list ends, and may lack some: nothing is taken for removed.
    Incomplete,
}

/// Changes, and in words why there are none at the moment.
pub(super) type Changes = BoxStream<'static, Result<Change, String>>;

/// The changes in a cluster.
pub(super) fn cluster(client: Client) -> Changes {
    let config = Config::default().page_size(PAGE);
    follow(
        Api::<StoredProfile>::all(client),
        config,
        Watchers::EachNode,
    )
    .map(|event| match event {
        Ok(Event::Init) => Ok(Change::Begin),
        Ok(Event::InitApply(profile)) => Ok(Change::Listed(profile.into())),
        Ok(Event::Apply(profile)) => Ok(Change::Set(profile.into())),
        Ok(Event::Delete(profile)) => Ok(Change::Unset(profile.name_any())),
        Ok(Event::InitDone) => Ok(Change::Complete),
        Err(error) => Err(format!("the API server: {error}")),
    })
    .boxed()
}

/// The changes in a folder: a list of everything, whenever something has changed there. What its
/// manifests said is remembered below `state`.
///
/// # Errors
/// If the folder can't be watched, or nothing can be remembered.
pub(super) fn folder(path: &Path, state: &Path) -> io::Result<Changes> {
    let folder = Folder {
        // The folder itself may be a link; then what it leads to is watched.
        watcher: FileWatcher::watch(&[&path.join(".")])?,
        path: path.to_owned(),
        waiting: VecDeque::new(),
        was_read: false,
        manifests: Manifests::open(state)?,
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
    manifests: Manifests,
}

impl Folder {
    async fn next(&mut self) -> Result<Change, String> {
        if let Some(change) = self.waiting.pop_front() {
            return Ok(change);
        }
        let wrong = |error: io::Error, path: &Path| format!("{}: {error}", path.display());
        if self.was_read
            && let Err(error) = self.touched().await
        {
            tokio::time::sleep(CHECK).await;
            return Err(wrong(error, &self.path));
        }
        self.was_read = true;
        let listing = self
            .manifests
            .read(&self.path)
            .map_err(|error| wrong(error, &self.path))?;
        let listed = listing.profiles.into_iter().map(|(name, spec)| {
            Change::Listed(Wanted {
                name,
                created: None,
                generation: None,
                spec,
                // Nobody here knows about pods.
                is_held: true,
                release: Release::IfDisabled,
            })
        });
        self.waiting.extend(listed);
        self.waiting.push_back(if listing.is_complete {
            Change::Complete
        } else {
            Change::Incomplete
        });
        Ok(Change::Begin)
    }
}

impl Folder {
    /// Waits until something has changed in the folder and it is quiet again, so that a
    /// half-written manifest is not read. Also returns after a while without any change.
    async fn touched(&self) -> io::Result<()> {
        let Ok(touched) = timeout(CHECK, self.watcher.touched()).await else {
            return Ok(());
        };
        touched?;
        let _ = timeout(DEBOUNCE_LIMIT, async {
            while let Ok(Ok(_)) = timeout(DEBOUNCE, self.watcher.touched()).await {}
        })
        .await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_file_may_go_only_if_nobody_holds_its_profile_or_no_pod_uses_its_disabled_generation() {
        let release = |metadata: serde_json::Value, status: serde_json::Value| {
            let mut object = json!({"metadata": metadata, "spec": {}, "status": status});
            object["metadata"]["name"] = json!("a");
            object["metadata"]["generation"] = json!(3);
            let stored: StoredProfile = serde_json::from_str(&object.to_string()).unwrap();
            let wanted = Wanted::from(stored);
            let finalizers = object["metadata"]["finalizers"].as_array();
            let has_ours = finalizers.is_some_and(|all| all.contains(&json!(FINALIZER)));
            assert_eq!(wanted.is_held, has_ours);
            wanted.release
        };
        let deleted = "2026-01-01T00:00:00Z";
        let held = json!({"finalizers": ["x/y", FINALIZER]});
        let going = json!({"finalizers": [FINALIZER], "deletionTimestamp": deleted});
        let gone = json!({"finalizers": ["x/y"], "deletionTimestamp": deleted});
        for status in [json!(null), json!(7), json!({"releasedGeneration": 2})] {
            assert_eq!(release(held.clone(), status.clone()), Release::Never);
            assert_eq!(release(json!({}), status.clone()), Release::Never);
            assert_eq!(release(going.clone(), status.clone()), Release::Never);
            assert_eq!(release(gone.clone(), status), Release::Now);
        }
        let released = json!({"releasedGeneration": 3});
        assert_eq!(release(held, released.clone()), Release::IfDisabled);
        assert_eq!(release(gone, released), Release::Now);
    }

    fn write(folder: &Path, name: &str, allow: &str) {
        let manifest = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata:\n  name: {name}\nspec:\n  allow: [{allow}]\n"
        );
        // Like an editor: the file is never seen half-written.
        fs::write(folder.join(".new"), manifest).unwrap();
        fs::rename(folder.join(".new"), folder.join(format!("{name}.yaml"))).unwrap();
    }

    /// The next whole list.
    async fn list(changes: &mut Changes) -> Vec<(String, PackedSpec)> {
        let mut listed = Vec::new();
        let all = async {
            loop {
                match changes.next().await.unwrap().unwrap() {
                    Change::Begin => listed.clear(),
                    Change::Listed(profile) => listed.push((profile.name, profile.spec)),
                    Change::Complete => return,
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(Duration::from_secs(60), all).await.unwrap();
        listed
    }

    fn pair(name: &str, spec: &str) -> (String, PackedSpec) {
        (name.to_owned(), PackedSpec::of(spec))
    }

    #[tokio::test]
    async fn a_folder_is_listed_at_first_and_again_whenever_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "mkdir");
        let state = tempfile::tempdir().unwrap();
        let mut changes = super::folder(folder.path(), state.path()).unwrap();
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

    /// As the kubelet mounts a `ConfigMap`: every file is a link through `..data`, and an update
    /// replaces that link alone. The folder itself may be one, too.
    #[tokio::test]
    async fn a_mounted_config_map_is_read_and_its_updates_are_noticed() {
        let mount = tempfile::tempdir().unwrap();
        let at = |name: &str| mount.path().join(name);
        let update = |version: &str, allow: &str| {
            fs::create_dir(at(version)).unwrap();
            write(&at(version), "a", allow);
            symlink(version, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
        };
        update("..1", "mkdir");
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        let state = tempfile::tempdir().unwrap();
        let link = state.path().join("folder");
        symlink(mount.path(), &link).unwrap();
        let mut changes = folder(&link, state.path()).unwrap();
        let first = [pair("a", r#"{"allow":["mkdir"]}"#)];
        assert_eq!(list(&mut changes).await, first);
        update("..2", "rmdir");
        let second = [pair("a", r#"{"allow":["rmdir"]}"#)];
        // Sooner than the folder is read without an event.
        let noticed = timeout(CHECK / 2, async {
            while list(&mut changes).await != second {}
        });
        noticed.await.unwrap();
    }
}
