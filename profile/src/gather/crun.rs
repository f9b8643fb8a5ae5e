//! The program that crun took from its cache, if it did.
//!
//! crun opens `seccomp.bpf` in the container's state before its hooks run, for each container that
//! has a filter (1.8.1 to 1.27 at least). It is empty where crun will compile the filter, also where
//! it has no cache, and holds a program where that comes out of the cache. A runtime that holds this
//! file open is crun, whatever it is called.

use crate::{
    program::bpf::{INSTRUCTION_BYTES, MAX_INSTRUCTIONS},
    root::{ReadError, SeccompRoot, read_named},
    select::reference::ProfilePath,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file's name.
const FILE: &str = "seccomp.bpf";

/// Where crun keeps programs, below its root.
pub const CACHE: &str = ".cache/seccomp";

/// The longest program that the kernel takes, in bytes.
const MAX_BYTES: u64 = (MAX_INSTRUCTIONS * INSTRUCTION_BYTES) as u64;

/// How many open files of a process are looked at.
const MAX_FILES: usize = 1024;

/// A container that crun is making, or may be making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrunContainer {
    /// crun's root; `None` if that can't be determined.
    pub root: Option<PathBuf>,
    /// The container's ID.
    pub id: String,
    /// The crun process that creates it.
    pub process: u32,
    /// Whether that surely is crun; if not, one that has no such file compiles filters itself.
    pub is_certain: bool,
}

/// A program from crun's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedProgram {
    /// Its instructions, `struct sock_filter` each.
    pub bytes: Vec<u8>,
    /// The cache's folder.
    pub folder: PathBuf,
}

/// Why it can't be determined what crun will load.
#[derive(Debug, thiserror::Error)]
pub enum CrunError {
    /// The file was not found.
    #[error("crun has no {FILE} for this container{}", in_root(.0.as_deref()))]
    Missing(Option<PathBuf>),
    /// It can't be read.
    #[error("{}: {}", path.display(), unreadable(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
}

fn unreadable(source: &ReadError) -> String {
    match source {
        // Which is no setting here.
        ReadError::TooLarge { limit } => format!("is larger than {limit} bytes, as no program is"),
        other => other.to_string(),
    }
}

fn in_root(root: Option<&Path>) -> String {
    root.map_or_else(String::new, |root| format!(" below {}", root.display()))
}

impl CrunContainer {
    /// The cached program that crun will load; `None` if it will compile the filter.
    ///
    /// # Errors
    /// Its file is not where crun keeps it, or can't be read.
    pub fn cached_program(&self) -> Result<Option<CachedProgram>, CrunError> {
        self.look_in(Path::new("/proc"))
    }

    fn look_in(&self, proc: &Path) -> Result<Option<CachedProgram>, CrunError> {
        let found = self.below_root().or_else(|| self.held_open(proc));
        let (path, bytes) = match found {
            Some(found) => found,
            None if self.is_certain => return Err(CrunError::Missing(self.root.clone())),
            None => return Ok(None),
        };
        let bytes = bytes.map_err(|source| CrunError::Read {
            path: path.clone(),
            source,
        })?;
        // The file, the container's folder, crun's root.
        let root = path.ancestors().nth(2).unwrap_or(Path::new("/"));
        Ok((!bytes.is_empty()).then(|| CachedProgram {
            bytes,
            folder: root.join(CACHE),
        }))
    }

    /// The file in its usual place; `None` if it is not there.
    fn below_root(&self) -> Option<(PathBuf, Result<Vec<u8>, ReadError>)> {
        let root = self.root.as_deref()?;
        let file: ProfilePath = format!("{}/{FILE}", self.id).parse().ok()?;
        let read = SeccompRoot::open(root).and_then(|root| root.read(&file, MAX_BYTES));
        match read {
            Err(ReadError::Missing { .. }) => None,
            read => Some((root.join(file.as_str()), read)),
        }
    }

    /// The file that crun holds open, wherever it is; `None` if there is none.
    fn held_open(&self, proc: &Path) -> Option<(PathBuf, Result<Vec<u8>, ReadError>)> {
        let folder = proc.join(self.process.to_string()).join("fd");
        let mut files = fs::read_dir(folder).ok()?.take(MAX_FILES).flatten();
        files.find_map(|file| {
            let path = fs::read_link(file.path()).ok()?;
            let is_its = path.file_name()? == FILE && path.parent()?.file_name()? == &*self.id;
            is_its.then(|| (path, read_named(&file.path(), MAX_BYTES)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    struct Node {
        folder: tempfile::TempDir,
    }

    impl Node {
        /// crun's root with a container, and a `/proc` in which process 7 has no files open.
        fn new() -> Node {
            let folder = tempfile::tempdir().unwrap();
            for path in ["root/ID", "elsewhere/ID", "proc/7/fd"] {
                fs::create_dir_all(folder.path().join(path)).unwrap();
            }
            Node { folder }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn finds(&self, root: Option<&str>) -> Result<Option<CachedProgram>, CrunError> {
            CrunContainer {
                root: root.map(|root| self.path(root)),
                id: "ID".to_owned(),
                process: 7,
                is_certain: true,
            }
            .look_in(&self.path("proc"))
        }

        fn write(&self, path: &str, bytes: &[u8]) {
            fs::write(self.path(path), bytes).unwrap();
        }
    }

    #[test]
    fn an_empty_file_is_one_that_crun_will_compile_and_any_other_is_a_program() {
        let node = Node::new();
        node.write("root/ID/seccomp.bpf", b"");
        assert_eq!(node.finds(Some("root")).unwrap(), None);
        node.write("root/ID/seccomp.bpf", b"program");
        let found = node.finds(Some("root")).unwrap().unwrap();
        assert_eq!(found.bytes, b"program");
        assert_eq!(found.folder, node.path("root/.cache/seccomp"));
    }

    #[test]
    fn where_the_root_is_another_one_the_file_that_crun_holds_open_counts() {
        let node = Node::new();
        node.write("elsewhere/ID/seccomp.bpf", b"program");
        node.write("elsewhere/seccomp.bpf", b"another's");
        symlink("/dev/null", node.path("proc/7/fd/0")).unwrap();
        symlink(node.path("elsewhere/seccomp.bpf"), node.path("proc/7/fd/1")).unwrap();
        for root in [None, Some("root"), Some("none")] {
            assert!(matches!(node.finds(root), Err(CrunError::Missing(_))));
        }
        symlink(
            node.path("elsewhere/ID/seccomp.bpf"),
            node.path("proc/7/fd/2"),
        )
        .unwrap();
        for root in [None, Some("root"), Some("none")] {
            let found = node.finds(root).unwrap().unwrap();
            assert_eq!(found.folder, node.path("elsewhere/.cache/seccomp"));
        }
    }

    /// krun is crun under another name, and a new crun may have options that are not known here.
    #[test]
    fn a_runtime_that_may_be_crun_is_if_it_holds_the_file_open() {
        let node = Node::new();
        node.write("elsewhere/ID/seccomp.bpf", b"program");
        let perhaps = CrunContainer {
            root: None,
            id: "ID".to_owned(),
            process: 7,
            is_certain: false,
        };
        let finds = || perhaps.look_in(&node.path("proc"));
        assert_eq!(finds().unwrap(), None);
        symlink(
            node.path("elsewhere/ID/seccomp.bpf"),
            node.path("proc/7/fd/5"),
        )
        .unwrap();
        assert_eq!(finds().unwrap().unwrap().bytes, b"program");
        node.write("elsewhere/ID/seccomp.bpf", b"");
        assert_eq!(finds().unwrap(), None);
        fs::remove_file(node.path("elsewhere/ID/seccomp.bpf")).unwrap();
        assert!(finds().is_err());
    }

    #[test]
    fn what_is_no_regular_file_or_too_long_or_a_link_is_an_error() {
        let node = Node::new();
        let file = node.path("root/ID/seccomp.bpf");
        let refused = || {
            let found = node.finds(Some("root"));
            assert!(matches!(found, Err(CrunError::Read { .. })), "{found:?}");
            fs::remove_file(&file).unwrap();
        };
        let too_long = vec![0; MAX_INSTRUCTIONS * INSTRUCTION_BYTES + 1];
        node.write("root/ID/seccomp.bpf", &too_long);
        refused();
        node.write("real", b"");
        symlink(node.path("real"), &file).unwrap();
        refused();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        refused();
    }

    #[test]
    fn an_id_does_not_leave_the_root() {
        let node = Node::new();
        node.write("elsewhere/ID/seccomp.bpf", b"program");
        let outside = CrunContainer {
            root: Some(node.path("root")),
            id: "../elsewhere/ID".to_owned(),
            process: 7,
            is_certain: true,
        };
        assert!(outside.look_in(&node.path("proc")).is_err());
    }
}
