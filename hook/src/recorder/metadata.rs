//! The metadata of a recording: which container was recorded under what, how the recording ended,
//! and other facts that a profile can't express.

use super::{
    active::Active,
    layout::{Observed, Window},
    names::needs_base,
    runtime,
};
use crate::clock::{now, stamp};
use serde::Serialize;
use std::path::PathBuf;

/// The metadata of a recording, stored next to its profile.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    version: u32,
    profile: PathBuf,
    container_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    engine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version: Option<String>,
    kernel: String,
    started: String,
    ended: String,
    /// Why it ended: [`End::as_str`].
    end: &'static str,
    /// What opened the window: "filter", "execve" or "nothing".
    window: &'static str,
    /// Whether the runtime's own calls were added because they could not be observed.
    runtime_base_added: bool,
    /// Whether the calls of Go's scheduler were added.
    go_scheduler_added: bool,
    filter_while_recording: String,
    /// How many calls created, or tried to create, a process, including the first one.
    processes: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    numbers_without_a_name: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign_call: Option<u32>,
    /// Warnings about the base profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The runtime ran the poststop hook.
    Stopped,
    /// Its processes exited, but the container still exists and the runtime has not run the
    /// poststop hook (CRI-O runs it when the container is removed).
    Exited,
    /// The container is gone, and no poststop hook ran.
    Vanished,
    /// The recording ran for as long as hook.toml allows.
    MaxSeconds,
    /// The node was restarted, so what the kernel held is lost.
    Rebooted,
}

impl End {
    /// The word in the metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            End::Stopped => "stopped",
            End::Exited => "exited",
            End::Vanished => "vanished",
            End::MaxSeconds => "max_seconds",
            End::Rebooted => "rebooted",
        }
    }

    /// A sentence about the container.
    pub const fn sentence(self) -> &'static str {
        match self {
            End::Stopped => "the container stopped",
            End::Exited => "the container's processes exited, but it has not been removed yet",
            End::Vanished => "the container vanished without a poststop hook",
            End::MaxSeconds => "the recording ran for max_seconds; the container keeps running",
            End::Rebooted => "the node was restarted while the container ran",
        }
    }
}

/// The metadata of a recording that has ended.
pub fn metadata(
    active: &Active,
    observed: Option<&Observed>,
    unnamed: &[u32],
    end: End,
) -> Metadata {
    let identity = active.identity.clone();
    Metadata {
        version: 1,
        profile: active.output().path(),
        container_id: active.id.clone(),
        namespace: identity.namespace,
        pod: identity.pod,
        container: identity.container,
        image: active.image.clone(),
        engine: active.engine.to_string(),
        runtime: active.runtime.clone(),
        runtime_version: active
            .runtime
            .as_ref()
            .and_then(|path| runtime::version(path)),
        kernel: kernel(),
        started: stamp(active.started),
        ended: stamp(now()),
        end: end.as_str(),
        window: match observed.map_or(Window::NotOpened, |observed| observed.window) {
            Window::NotOpened => "nothing",
            Window::OpenedByFilter => "filter",
            Window::OpenedByExec => "execve",
        },
        runtime_base_added: observed.is_some_and(|observed| needs_base(active, observed)),
        go_scheduler_added: active.go_runtime,
        filter_while_recording: filter(active),
        processes: observed.map_or(0, |observed| observed.forks + 1),
        numbers_without_a_name: unnamed.to_vec(),
        foreign_call: observed.and_then(|observed| observed.unknown_abi),
        warnings: active.warnings.clone(),
    }
}

/// The filter that the container had, and whether the calls that it denies were captured.
fn filter(active: &Active) -> String {
    let Some(action) = &active.filter else {
        return "none".to_owned();
    };
    let denials = if active.denials_logged {
        ", whose denials were logged and thus captured"
    } else {
        "; calls that it denied were not captured"
    };
    let unreadable = match &active.filter_error {
        Some(error) => format!("; it could not be read in full: {error}"),
        None => String::new(),
    };
    format!("one with the default action {action}{denials}{unreadable}")
}

fn kernel() -> String {
    // uname(2) fails only for a bad pointer.
    nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::names::example;
    use std::collections::BTreeSet;

    fn said(active: &Active, end: End) -> serde_json::Value {
        let (_, observed) = example(BTreeSet::new(), false);
        serde_json::to_value(metadata(active, Some(&observed), &[], end)).unwrap()
    }

    #[test]
    fn metadata_says_whether_denials_were_seen() {
        let (mut active, _) = example(BTreeSet::new(), false);
        let filter = |active: &Active| {
            let value = said(active, End::Stopped);
            value["filterWhileRecording"].as_str().unwrap().to_owned()
        };
        assert!(filter(&active).ends_with("calls that it denied were not captured"));
        active.denials_logged = true;
        assert!(filter(&active).ends_with("whose denials were logged and thus captured"));
        active.filter_error = Some("seven conditions".into());
        assert!(filter(&active).ends_with("could not be read in full: seven conditions"));
        active.filter = None;
        assert_eq!(filter(&active), "none");
    }

    #[test]
    fn metadata_says_how_it_ended_and_what_is_remarkable_in_the_base() {
        let (mut active, _) = example(BTreeSet::new(), false);
        let words: BTreeSet<_> = [
            End::Stopped,
            End::Exited,
            End::Vanished,
            End::MaxSeconds,
            End::Rebooted,
        ]
        .iter()
        .map(|end| said(&active, *end)["end"].to_string())
        .collect();
        assert_eq!(words.len(), 5);
        assert!(said(&active, End::Exited).get("warnings").is_none());
        active.warnings.push("unknown name".into());
        assert_eq!(said(&active, End::Exited)["warnings"][0], "unknown name");
    }
}
