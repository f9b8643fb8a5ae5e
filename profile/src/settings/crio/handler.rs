//! A runtime handler of CRI-O, as its configuration describes it.

use super::table::{Table, Value, Wrong, mistyped};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// A runtime handler (`[crio.runtime.runtimes.NAME]`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handler {
    /// `runtime_path`; `None` if CRI-O looks for the handler's name in `PATH`.
    pub path: Option<PathBuf>,
    /// `runtime_type`: `oci` (also where empty), `vm` or `pod`.
    pub kind: String,
    /// `runtime_root`: where the runtime keeps its containers' state.
    pub root: Option<PathBuf>,
    /// `platform_runtime_paths`: paths that replace `path` on a platform, such as `linux/amd64`.
    pub platform_paths: BTreeMap<String, PathBuf>,
    /// `inherit_default_runtime`: path, type and root are taken from the default handler.
    pub inherits: bool,
    /// `monitor_path`; `None` if CRI-O looks for conmon in `PATH`.
    pub monitor: Option<PathBuf>,
    /// `seccomp_profile`; overrides the one for all handlers.
    pub seccomp_profile: Option<PathBuf>,
    /// `allowed_annotations`, matched as prefixes.
    pub allowed_annotations: Vec<String>,
    /// Its whole table as written, with the keys that the gate does not need.
    pub table: toml::Table,
}

impl Handler {
    /// CRI-O's own, which is there until a file redefines it.
    pub(super) fn built_in() -> Handler {
        let strings = |all: &[&str]| {
            let all = all.iter().copied().map(toml::Value::from);
            toml::Value::Array(all.collect())
        };
        let allowed = ["io.containers.trace-syscall", "devices.crio.io"];
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let table = [
            ("runtime_type", "oci".into()),
            ("runtime_root", "/run/crun".into()),
            ("allowed_annotations", strings(&allowed)),
            ("monitor_env", strings(&[path])),
            ("container_min_memory", "500KiB".into()),
        ];
        Handler {
            kind: "oci".to_owned(),
            root: Some(PathBuf::from("/run/crun")),
            allowed_annotations: allowed.map(str::to_owned).to_vec(),
            table: table
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect(),
            ..Handler::default()
        }
    }

    /// Whether its containers run under an OCI runtime that conmon watches.
    pub fn is_oci(&self) -> bool {
        matches!(self.kind.as_str(), "" | "oci")
    }

    /// Reads a handler's table.
    pub(super) fn read(value: &Value<'_>) -> Result<Handler, Wrong> {
        let table = Table(value.get_ref().as_table().ok_or_else(|| {
            let found = value.get_ref().type_str();
            (
                value.span().start,
                format!("a handler is {found}, not a table"),
            )
        })?);
        let mut own = Handler {
            table: whole(value)?,
            ..Handler::default()
        };
        table.path("runtime_path", &mut own.path)?;
        table.path("runtime_root", &mut own.root)?;
        table.path("monitor_path", &mut own.monitor)?;
        table.path("seccomp_profile", &mut own.seccomp_profile)?;
        if let Some(kind) = table.string("runtime_type")? {
            kind.clone_into(&mut own.kind);
        }
        own.inherits = table.boolean("inherit_default_runtime")?.unwrap_or(false);
        own.allowed_annotations = table.strings("allowed_annotations")?.unwrap_or_default();
        if let Some(paths) = table.table("platform_runtime_paths")? {
            for (platform, path) in paths.0 {
                let text = path
                    .get_ref()
                    .as_str()
                    .ok_or_else(|| mistyped(platform.get_ref(), path, "a string"))?;
                let platform = platform.get_ref().to_string();
                own.platform_paths.insert(platform, PathBuf::from(text));
            }
        }
        Ok(own)
    }
}

/// A table with all its keys.
fn whole(value: &Value<'_>) -> Result<toml::Table, Wrong> {
    toml::Table::deserialize(toml::de::ValueDeserializer::from(value.clone()))
        .map_err(|error| (value.span().start, error.message().to_owned()))
}
