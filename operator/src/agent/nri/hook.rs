//! The node's own hooks, which are put into a container that selects something or asks to be recorded.
//! What they must know is in their arguments, since containerd hides a pod's annotations from hooks.

use super::{Options, container::Subject};
use portcullis_nri::api::{Hook, Hooks, OptionalInt};
use portcullis_profile::{gate::Evaluation, root::metadata_at_once};
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

/// How many seconds it may take.
const TIMEOUT: i64 = 10;

/// Whether the node has the hook: an executable file that only root can change.
pub(super) fn is_there(options: &Options) -> bool {
    place(options).is_some_and(|path| is_ours_to_run(fs::symlink_metadata(path)))
}

/// The same if the kernel can tell without waiting for a disk.
pub(super) fn is_there_at_once(options: &Options) -> Option<bool> {
    let Some(path) = place(options) else {
        return Some(false);
    };
    metadata_at_once(&path, false).map(is_ours_to_run)
}

/// Where the agent sees the hook; `None` if its path is not absolute.
fn place(options: &Options) -> Option<PathBuf> {
    let path = options.hook.strip_prefix("/").ok()?;
    Some(options.host.join(path))
}

fn is_ours_to_run(file: io::Result<Metadata>) -> bool {
    file.is_ok_and(|file| {
        let mode = file.permissions().mode();
        file.is_file() && mode & 0o111 != 0 && mode & 0o022 == 0 && file.uid() == 0
    })
}

/// The node's hooks for one container.
pub(super) struct Builder<'a> {
    pub(super) options: &'a Options,
    pub(super) subject: &'a Subject,
    pub(super) evaluation: &'a Evaluation,
}

impl Builder<'_> {
    /// Those that record it, if it asks for that, and the one that verifies it, if its filter is to be
    /// verified. Recording comes first: what verifies may need to know of it.
    pub(super) fn hooks(&self, verifies: bool, set_filter: bool) -> Option<Hooks> {
        let asks = self.subject.asks_for_recording();
        let record = asks.then(|| self.recording());
        let verify = verifies.then(|| self.verifying(set_filter));
        let create_runtime: Vec<Hook> = record.into_iter().chain(verify).collect();
        let poststop = asks.then(|| self.hook("collect", Vec::new()));
        (!create_runtime.is_empty()).then(|| Hooks {
            create_runtime,
            poststop: poststop.into_iter().collect(),
            ..Hooks::default()
        })
    }

    /// `set_filter`: its filter is the one that the plugin sets.
    fn verifying(&self, set_filter: bool) -> Hook {
        let mut own = Vec::new();
        if set_filter {
            own.push("--nri-set-filter".to_owned());
        }
        if self.subject.says_default {
            own.push("--runtime-default".to_owned());
        }
        for (option, value) in [
            ("--annotation", &self.evaluation.annotation),
            ("--reference", &self.evaluation.reference),
        ] {
            own.extend(option_with(option, value.as_ref()));
        }
        self.hook("verify", self.told(own))
    }

    fn recording(&self) -> Hook {
        let asked = self.subject.recording_annotations();
        let own = asked.map(|(key, value)| format!("--asks={key}={value}"));
        self.hook("record", self.told(own.collect()))
    }

    /// Which container it is, and more.
    fn told(&self, more: Vec<String>) -> Vec<String> {
        let identity = &self.subject.identity;
        let who = [
            ("--namespace", &identity.namespace),
            ("--pod", &identity.pod),
            ("--pod-uid", &identity.uid),
            ("--container", &identity.container),
        ];
        let who = who
            .into_iter()
            .filter_map(|(option, value)| option_with(option, value.as_ref()));
        let nri = std::iter::once("--nri".to_owned());
        nri.chain(who).chain(more).collect()
    }

    fn hook(&self, verb: &str, own: Vec<String>) -> Hook {
        let engine = format!("--engine={}", self.subject.engine);
        let mut args = vec!["portcullis-hook".to_owned(), verb.to_owned(), engine];
        args.extend(own);
        Hook {
            path: self.options.hook.display().to_string(),
            args,
            env: Vec::new(),
            timeout: Some(OptionalInt { value: TIMEOUT }),
        }
    }
}

fn option_with(option: &str, value: Option<&String>) -> Option<String> {
    value.map(|value| format!("{option}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_executable_file_that_nobody_else_can_change_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            socket: "/s".into(),
            settings: "/h".into(),
            hook: "/usr/hook".into(),
            host: folder.path().to_owned(),
        };
        let path = folder.path().join("usr/hook");
        fs::create_dir(folder.path().join("usr")).unwrap();
        assert!(!is_there(&options));
        assert_eq!(is_there_at_once(&options), Some(false));
        fs::write(&path, "").unwrap();
        let is_root = fs::metadata(&path).unwrap().uid() == 0;
        for (mode, is_good) in [
            (0o755, is_root),
            (0o644, false),
            (0o775, false),
            (0o757, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_there(&options), is_good, "{mode:o}");
            assert_eq!(is_there_at_once(&options), Some(is_good), "{mode:o}");
        }
        fs::rename(&path, folder.path().join("usr/real")).unwrap();
        std::os::unix::fs::symlink("real", &path).unwrap();
        assert!(!is_there(&options));
    }
}
