//! Keeps the files of a node as the profiles say.
//!
//! Changes only mark names; [`Installer::settle`] does the work, so that a burst is one batch.

use super::{
    folder::{Folder, FolderError, Found},
    ledger::Ledger,
};
use crate::{
    crd::{SeccompNodeSpec, SeccompProfileSpec},
    resolve::{ResolveError, Resolved, resolve},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

/// The most bytes of names and digests that a `SeccompNode` holds; etcd takes 1.5 MB.
const MAX_REPORT: usize = 1_000_000;
/// How many files are prepared at once.
const BATCH: usize = 64;

/// Why a profile has no file on this node.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{} is there already and is not the operator's; it is left alone", .0.display())]
    Foreign(PathBuf),
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
    #[error("its specification can't be read: {0}")]
    Spec(#[from] serde_json::Error),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Files written for the first time or anew.
    pub written: u64,
    /// Of them those that someone else had changed or removed.
    pub repaired: u64,
    /// Files taken away.
    pub removed: u64,
}

/// The node's files, and what they should be.
#[derive(Debug)]
pub struct Installer {
    root: PathBuf,
    folder: Option<Folder>,
    ledger: Ledger,
    /// Specifications as JSON: small in memory.
    specs: BTreeMap<String, Box<[u8]>>,
    /// Which of them have a base.
    based: BTreeSet<String>,
    installed: BTreeMap<String, String>,
    failures: BTreeMap<String, String>,
    problem: Option<String>,
    dirty: BTreeSet<String>,
}

impl Installer {
    /// Opens the ledger and the folder.
    ///
    /// # Errors
    /// Where the ledger can't be read or written.
    pub fn open(root: &Path, state: &Path) -> io::Result<Installer> {
        let mut installer = Installer {
            root: root.to_owned(),
            folder: None,
            ledger: Ledger::open(state)?,
            specs: BTreeMap::new(),
            based: BTreeSet::new(),
            installed: BTreeMap::new(),
            failures: BTreeMap::new(),
            problem: None,
            dirty: BTreeSet::new(),
        };
        installer.reopen();
        Ok(installer)
    }

    /// Opens the folder again where it is no longer the one at its path; true where that made a
    /// difference.
    pub fn reopen(&mut self) -> bool {
        if let Some(folder) = &self.folder
            && folder.is_current(&self.root)
        {
            return false;
        }
        let before = self.problem.take();
        match Folder::open(&self.root) {
            Ok(folder) => self.folder = Some(folder),
            Err(error) => {
                self.folder = None;
                self.installed.clear();
                self.problem = Some(error.to_string());
            }
        }
        if self.folder.is_some() || before != self.problem {
            self.check_all();
            return true;
        }
        false
    }

    /// A profile is there or has changed.
    ///
    /// # Errors
    /// Where the specification can't be written as JSON.
    pub fn set(&mut self, name: &str, spec: &SeccompProfileSpec) -> Result<(), serde_json::Error> {
        let text = serde_json::to_vec(spec)?.into_boxed_slice();
        if self.specs.get(name) != Some(&text) {
            self.specs.insert(name.to_owned(), text);
            if spec.base_profile_name.is_some() {
                self.based.insert(name.to_owned());
            } else {
                self.based.remove(name);
            }
            self.mark(name);
        }
        Ok(())
    }

    /// A profile is gone.
    pub fn unset(&mut self, name: &str) {
        self.specs.remove(name);
        self.based.remove(name);
        self.mark(name);
    }

    /// These profiles are all that there are: what else is ours goes.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        let gone: Vec<String> = self
            .specs
            .keys()
            .chain(self.ledger.names())
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.unset(&name);
        }
    }

    /// A file of the folder was touched.
    pub fn touched(&mut self, file: &str) {
        if let Some(name) = file.strip_suffix(".json")
            && (self.specs.contains_key(name) || self.ledger.has(name))
        {
            self.dirty.insert(name.to_owned());
        }
    }

    /// Every file is looked at again.
    pub fn check_all(&mut self) {
        self.dirty.extend(self.specs.keys().cloned());
        self.dirty.extend(self.ledger.names().cloned());
    }

    /// Whether there is something to do.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Marks a profile and all that have a base, which may be this one.
    fn mark(&mut self, name: &str) {
        self.dirty.insert(name.to_owned());
        self.dirty.extend(self.based.iter().cloned());
    }

    /// Makes the marked files right.
    pub fn settle(&mut self) -> Done {
        let mut done = Done::default();
        if self.folder.is_none() {
            return done;
        }
        while !self.dirty.is_empty() {
            let rest = self.dirty.iter().nth(BATCH).cloned();
            let later = rest.map_or_else(BTreeSet::new, |name| self.dirty.split_off(&name));
            let batch = std::mem::replace(&mut self.dirty, later);
            self.settle_batch(batch, &mut done);
        }
        if done != Done::default()
            && let Some(Err(error)) = self.folder.as_ref().map(Folder::sync)
        {
            self.problem = Some(error.to_string());
        }
        done
    }

    fn settle_batch(&mut self, batch: BTreeSet<String>, done: &mut Done) {
        let Some(folder) = self.folder.take() else {
            return;
        };
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        let mut new = Vec::new();
        for name in batch {
            match self.wanted(&name) {
                Ok(Some(resolved)) => {
                    let file = format!("{name}.json");
                    if !self.ledger.has(&name) {
                        if folder.has(&file) {
                            self.fail(&name, &InstallError::Foreign(folder.path().join(file)));
                            continue;
                        }
                        new.push(name.clone());
                    }
                    wanted.push((name, resolved));
                }
                Ok(None) => {
                    self.failures.remove(&name);
                    unwanted.push(name);
                }
                Err(error) => {
                    self.fail(&name, &error);
                    unwanted.push(name);
                }
            }
        }
        if let Err(error) = self.ledger.add(&new) {
            let error = InstallError::Ledger(error);
            for name in &new {
                self.fail(name, &error);
            }
            wanted.retain(|(name, _)| !new.contains(name));
        }
        for (name, resolved) in wanted {
            match self.install(&folder, &name, &resolved, done) {
                Ok(()) => {
                    self.failures.remove(&name);
                    self.installed.insert(name, resolved.digest);
                }
                Err(error) => self.fail(&name, &error),
            }
        }
        let mut gone = Vec::new();
        unwanted.retain(|name| self.ledger.has(name));
        for name in unwanted {
            self.installed.remove(&name);
            match folder.remove(&format!("{name}.json")) {
                Ok(()) => {
                    done.removed += 1;
                    gone.push(name);
                }
                Err(error) => self.fail(&name, &error.into()),
            }
        }
        if let Err(error) = self.ledger.remove(&gone) {
            self.problem = Some(format!("the ledger: {error}"));
        }
        self.folder = Some(folder);
    }

    fn install(
        &self,
        folder: &Folder,
        name: &str,
        resolved: &Resolved,
        done: &mut Done,
    ) -> Result<(), InstallError> {
        let file = format!("{name}.json");
        if folder.compare(&file, &resolved.text)? != Found::Same {
            folder.put(&file, &resolved.text)?;
            done.written += 1;
            if self.installed.get(name) == Some(&resolved.digest) {
                done.repaired += 1;
                tracing::warn!(name, "the file was changed by someone else; repaired");
            }
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> Result<Option<Resolved>, InstallError> {
        let Some(text) = self.specs.get(name) else {
            return Ok(None);
        };
        let spec: SeccompProfileSpec = serde_json::from_slice(text)?;
        let find = |base: &str| {
            let text = self.specs.get(base)?;
            serde_json::from_slice(text).ok()
        };
        Ok(resolve(name, &spec, &find)?)
    }

    fn fail(&mut self, name: &str, error: &InstallError) {
        let message = portcullis_profile::decision::plain(&error.to_string());
        tracing::warn!(name, "no file: {message}");
        self.installed.remove(name);
        self.failures.insert(name.to_owned(), message);
    }

    /// What the node has, for its `SeccompNode`.
    pub fn report(&self) -> SeccompNodeSpec {
        let mut report = SeccompNodeSpec {
            count: self.installed.len() as u64,
            problem: self.problem.clone(),
            ..SeccompNodeSpec::default()
        };
        let mut size = 0;
        for (map, values) in [
            (&mut report.failures, &self.failures),
            (&mut report.profiles, &self.installed),
        ] {
            for (name, value) in values {
                size += name.len() + value.len() + 6;
                if size > MAX_REPORT {
                    report.omitted += 1;
                } else {
                    map.insert(name.clone(), value.clone());
                }
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{fs, os::unix::fs::symlink};

    struct Node {
        folder: tempfile::TempDir,
        installer: Installer,
    }

    impl Node {
        fn new() -> Node {
            let folder = tempfile::tempdir().unwrap();
            let installer = Node::open(folder.path());
            Node { folder, installer }
        }

        fn open(folder: &Path) -> Installer {
            Installer::open(&folder.join("seccomp"), &folder.join("state")).unwrap()
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join("seccomp/operator").join(name)
        }

        fn set(&mut self, name: &str, spec: serde_json::Value) -> Done {
            let spec = serde_json::from_value(spec).unwrap();
            self.installer.set(name, &spec).unwrap();
            self.installer.settle()
        }
    }

    #[test]
    fn a_profile_becomes_a_file_and_a_restart_writes_nothing() {
        let mut node = Node::new();
        assert_eq!(node.set("a", json!({"allow": ["mkdir"]})).written, 1);
        assert!(node.file("a.json").is_file());
        node.installer = Node::open(node.folder.path());
        assert_eq!(node.set("a", json!({"allow": ["mkdir"]})), Done::default());
        assert_eq!(node.installer.report().count, 1);
        node.installer.keep_only(&BTreeSet::new());
        assert_eq!(node.installer.settle().removed, 1);
        assert!(!node.file("a.json").exists());
    }

    #[test]
    fn edits_deletions_and_links_are_repaired() {
        let mut node = Node::new();
        node.set("a", json!({"allow": ["mkdir"]}));
        let right = fs::read(node.file("a.json")).unwrap();
        let changes: [&dyn Fn(&Path); 3] = [
            &|file| fs::write(file, "{}").unwrap(),
            &|file| fs::remove_file(file).unwrap(),
            &|file| {
                fs::remove_file(file).unwrap();
                symlink("/etc/passwd", file).unwrap();
            },
        ];
        for change in changes {
            change(&node.file("a.json"));
            node.installer.touched("a.json");
            assert_eq!(node.installer.settle().repaired, 1);
            assert_eq!(fs::read(node.file("a.json")).unwrap(), right);
        }
    }

    #[test]
    fn a_foreign_file_stays_and_the_profile_fails_until_it_is_gone() {
        let mut node = Node::new();
        fs::write(node.file("a.json"), "mine").unwrap();
        node.set("a", json!({"allow": ["mkdir"]}));
        assert_eq!(fs::read(node.file("a.json")).unwrap(), b"mine");
        assert!(node.installer.report().failures["a"].contains("left alone"));
        fs::remove_file(node.file("a.json")).unwrap();
        node.installer.touched("a.json");
        assert_eq!(node.installer.settle().written, 1);
        assert!(node.installer.report().failures.is_empty());
    }

    #[test]
    fn a_linked_folder_is_reported_and_used_once_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("seccomp")).unwrap();
        symlink("/tmp", folder.path().join("seccomp/operator")).unwrap();
        let installer = Node::open(folder.path());
        let mut node = Node { folder, installer };
        node.set("a", json!({"allow": ["mkdir"]}));
        assert!(node.installer.report().problem.unwrap().contains("rm "));
        fs::remove_file(node.folder.path().join("seccomp/operator")).unwrap();
        assert!(node.installer.reopen());
        assert_eq!(node.installer.settle().written, 1);
    }

    #[test]
    fn a_base_that_comes_later_completes_those_on_top_of_it() {
        let mut node = Node::new();
        node.set(
            "top",
            json!({"baseProfileName": "base", "allow": ["mkdir"]}),
        );
        assert!(node.installer.report().failures["top"].contains("base"));
        node.set("base", json!({"allow": ["rmdir"]}));
        assert_eq!(node.installer.report().count, 2);
        assert!(
            fs::read_to_string(node.file("top.json"))
                .unwrap()
                .contains("rmdir")
        );
    }
}
