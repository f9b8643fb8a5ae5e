//! A node in a folder, for tests.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) const BINARY: &str = "usr/libexec/portcullis/portcullis-hook";

/// A node.
pub(crate) struct Stand {
    pub(crate) root: tempfile::TempDir,
}

impl Stand {
    pub(crate) fn empty() -> Stand {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Stand { root }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn program(&self, path: &str, script: &str) {
        self.write(path, &format!("#!/bin/sh\n{script}\n"));
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.at(path), executable).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    /// The files that ship, in a folder of the node.
    pub(crate) fn ship(&self, from: &str, to: &str) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../crio.d")
            .join(from);
        for entry in fs::read_dir(shipped).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let name = entry.file_name().into_string().unwrap();
            self.write(&format!("{to}/{name}"), &text);
        }
    }

    /// What every engine needs: binaries first, as the packages install them.
    pub(crate) fn base() -> Stand {
        let stand = Stand::empty();
        let version = env!("CARGO_PKG_VERSION");
        stand.program(BINARY, &format!("echo portcullis-hook {version}"));
        stand.program("usr/libexec/portcullis/portcullis-runtime", "");
        for name in ["portcullis-crun", "portcullis-runc"] {
            let link = stand.at("usr/libexec/portcullis").join(name);
            symlink("portcullis-runtime", link).unwrap();
        }
        for path in ["usr/bin/crun", "usr/bin/runc", "usr/libexec/crio/conmon"] {
            stand.program(path, "");
        }
        for folder in ["var/lib/kubelet/seccomp", "var/lib/portcullis/recordings"] {
            fs::create_dir_all(stand.at(folder)).unwrap();
        }
        stand.write(
            "etc/portcullis/hook.toml",
            "runtime_default = '/etc/d.json'\n",
        );
        stand.write("etc/d.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
        let hour = SystemTime::now() - Duration::from_secs(3600);
        let booted = hour.duration_since(UNIX_EPOCH).unwrap().as_secs();
        stand.write("proc/stat", &format!("cpu 1\nbtime {booted}\n"));
        stand.write("proc/self/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n");
        stand
    }
}
