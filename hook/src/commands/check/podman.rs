//! Where Podman reads hook files: `hooks_dir` in containers.conf and its drop-ins
//! (`containers.conf(5)`), or else the engines' common folders.
//!
//! `--hooks-dir` does not count: Podman before May 2025 forgets it when a restart policy starts a
//! container again.

use super::Report;
use crate::node::Node;
use std::path::{Path, PathBuf};
use toml::Value;

/// The files, in Podman's order; the drop-ins of the second come after it.
const FILES: [&str; 2] = [
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
];

/// The folder of drop-ins; only `*.conf` counts there.
const DROP_INS: &str = "/etc/containers/containers.conf.d";

/// Where Podman, as root, reads hooks by default.
const DEFAULTS: [&str; 2] = [
    "/usr/share/containers/oci/hooks.d",
    "/etc/containers/oci/hooks.d",
];

/// The stages that only Podman knows.
pub(super) const OWN_STAGES: [&str; 2] = ["precreate", "poststop"];

/// The folders of hook files; `None` if they can't be determined.
pub(super) fn folders(node: &Node, report: &mut Report) -> Option<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    let conf = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "conf");
    files.extend(node.list(Path::new(DROP_INS)).into_iter().filter(conf));
    let mut list = List::default();
    for file in files.iter().filter(|file| node.exists(file)) {
        let merged = node
            .read(file)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                let text = String::from_utf8(text).map_err(|error| error.to_string())?;
                list.merge(&text)
            });
        if let Err(wrong) = merged {
            report.problem(
                format!("{}", file.display()),
                wrong.replace('\n', " "),
                "fix it: Podman does not run with it",
            );
            return None;
        }
    }
    if list.folders.is_empty() {
        return Some(DEFAULTS.iter().map(PathBuf::from).collect());
    }
    Some(list.folders)
}

/// `hooks_dir` as it develops from file to file: a list replaces the previous one or, after
/// `{append = true}`, is appended to it.
#[derive(Default)]
struct List {
    folders: Vec<PathBuf>,
    appends: bool,
}

impl List {
    fn merge(&mut self, text: &str) -> Result<(), String> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].lines().count().max(1));
            format!("line {line}: {}", error.message())
        })?;
        let Some(value) = table
            .get("engine")
            .and_then(|engine| engine.get("hooks_dir"))
        else {
            return Ok(());
        };
        let wrong = || "hooks_dir is not a list of folders".to_owned();
        let mut folders = Vec::new();
        for item in value.as_array().ok_or_else(wrong)? {
            match item {
                Value::String(folder) => folders.push(PathBuf::from(folder)),
                Value::Table(attributes) => match attributes.get("append") {
                    Some(Value::Boolean(appends)) => self.appends = *appends,
                    _ => return Err(wrong()),
                },
                _ => return Err(wrong()),
            }
        }
        if !self.appends {
            self.folders.clear();
        }
        self.folders.extend(folders);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders_of(texts: &[&str]) -> Vec<PathBuf> {
        let mut list = List::default();
        for text in texts {
            list.merge(text).unwrap();
        }
        list.folders
    }

    #[test]
    fn a_later_list_replaces_an_earlier_one_unless_it_appends() {
        let a = "[engine]\nhooks_dir = ['/a']\n";
        assert_eq!(
            folders_of(&[a, "[engine]\nhooks_dir = ['/b']\n"]),
            [Path::new("/b")]
        );
        assert_eq!(folders_of(&[a, "[containers]\nx = 1\n"]), [Path::new("/a")]);
        let appending = "[engine]\nhooks_dir = ['/b', {append=true}]\n";
        let both = [Path::new("/a"), Path::new("/b")];
        assert_eq!(folders_of(&[a, appending]), both);
        assert_eq!(
            folders_of(&[appending, a]),
            [Path::new("/b"), Path::new("/a")]
        );
        let again = "[engine]\nhooks_dir = ['/c', {append=false}]\n";
        assert_eq!(folders_of(&[a, appending, again]), [Path::new("/c")]);
    }

    #[test]
    fn what_is_no_list_of_folders_is_refused() {
        for text in [
            "[engine]\nhooks_dir = '/a'",
            "[engine]\nhooks_dir = [1]",
            "[engine]\nhooks_dir = [{append = 1}]",
            "[engine\n",
        ] {
            assert!(List::default().merge(text).is_err(), "{text}");
        }
    }
}
