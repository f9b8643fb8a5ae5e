//! What our drop-in has to say, made from the configuration without it.

use super::drop_in::DropIn;
use crate::node::{
    Node,
    crio::monitor,
    wrapper::{FOLDER, LINK, WRAPPER, leads_to_wrapper, real_runtime},
};
use portcullis_profile::settings::crio::{CrioConfig, Handler};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Our hook files' folder. It is CRI-O's alone: Podman would run these hooks as if it were CRI-O.
const HOOKS: &str = "/etc/crio/hooks.d";

/// The hook file without which nothing is refused.
const VERIFY: &str = "portcullis-verify.json";

/// The runtimes that have a link of the wrapper's.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// Where packages keep conmon out of `PATH`.
const MONITORS: [&str; 4] = [
    "/usr/libexec/crio/conmon",
    "/usr/libexec/podman/conmon",
    "/usr/local/libexec/crio/conmon",
    "/usr/local/libexec/podman/conmon",
];

/// Annotations that make crun ignore its filter or write files.
const CRUN: &str = "run.oci.";

/// The drop-in, and what to say about it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) drop_in: DropIn,
    /// A line each.
    pub(super) notes: Vec<String>,
}

/// Makes it; `runtimes` is `[runtimes]` in hook.toml.
///
/// # Errors
/// What would be written can't be right: why, and what to do.
pub(super) fn make(
    node: &Node,
    before: &CrioConfig,
    runtimes: &BTreeMap<String, PathBuf>,
    is_default: bool,
) -> Result<Plan, String> {
    let mut plan = Plan {
        drop_in: DropIn::default(),
        notes: Vec::new(),
    };
    plan.add_hooks(node, before);
    let mut ours = Vec::new();
    for name in before.runtimes.keys() {
        ours.extend(plan.add_handler(node, before, runtimes, name)?);
    }
    if ours.is_empty() {
        return Err(format!(
            "CRI-O has no crun or runc handler to set one beside ({}); add one to its configuration",
            plan.notes.join("; ")
        ));
    }
    if is_default {
        plan.make_default(before, &ours)?;
    }
    Ok(plan)
}

impl Plan {
    fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    fn add_hooks(&mut self, node: &Node, before: &CrioConfig) {
        let mut folders = before.hooks_dir.clone();
        if !folders.iter().any(|folder| folder == Path::new(HOOKS)) {
            folders.push(PathBuf::from(HOOKS));
            let all: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
            self.note(format!("hooks_dir: {HOOKS} is added ({})", all.join(", ")));
            self.drop_in.hooks_dir = Some(folders.clone());
        }
        if !folders
            .iter()
            .any(|folder| node.exists(&folder.join(VERIFY)))
        {
            self.note(format!("no {VERIFY} in {HOOKS}: nothing refuses a container yet; install crio.d/hooks.d there"));
        }
    }

    /// Adds a handler beside the one called `name`; returns the name of a handler that leads to the
    /// wrapper and is there afterwards.
    fn add_handler(
        &mut self,
        node: &Node,
        before: &CrioConfig,
        runtimes: &BTreeMap<String, PathBuf>,
        name: &str,
    ) -> Result<Option<String>, String> {
        let Some(handler) = before.handler(name) else {
            return Ok(None);
        };
        if !handler.is_oci() {
            self.note(format!(
                "handler {name} is skipped: its runtime_type is {:?}",
                handler.kind
            ));
            return Ok(None);
        }
        let wanted = before.name_in_path(name);
        let found = handler.path.clone().or_else(|| node.program(wanted));
        let unusable = match &found {
            None => Some(format!(
                "its runtime_path is not set, and {wanted} is not in PATH"
            )),
            Some(path) => node
                .not_executable(path)
                .map(|wrong| format!("its runtime_path {}: {wrong}", path.display())),
        };
        let path = match (found, unusable) {
            (Some(path), None) => path,
            (_, wrong) => {
                let wrong = wrong.unwrap_or_default();
                if name == before.default_runtime {
                    return Err(format!(
                        "CRI-O's default handler {name}: {wrong}; set its runtime_path in CRI-O's configuration"
                    ));
                }
                self.note(format!("handler {name} is skipped, as CRI-O does: {wrong}"));
                return Ok(None);
            }
        };
        if leads_to_wrapper(node, &path) {
            self.note(format!(
                "handler {name} leads to {WRAPPER} already, and is left as it is"
            ));
            return Ok(Some(name.to_owned()));
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if !RUNTIMES.contains(&file.as_ref()) {
            let path = path.display();
            self.note(format!(
                "handler {name} is skipped: {path} is neither crun nor runc"
            ));
            return Ok(None);
        }
        let own = format!("{LINK}{name}");
        if let Some(other) = before.runtimes.get(&own) {
            if other
                .path
                .as_deref()
                .is_some_and(|path| leads_to_wrapper(node, path))
            {
                return Ok(Some(own)); // and says so in its turn
            }
            return Err(format!(
                "CRI-O's configuration has a handler {own} that does not lead to {WRAPPER}: rename it"
            ));
        }
        let link = link(node, runtimes, name, &file, &path)?;
        self.note(format!(
            "handler {own}: as {name}, through {}",
            link.display()
        ));
        let table = self.table(node, before, name, &handler, &link)?;
        self.drop_in.runtimes.insert(own.clone(), table);
        Ok(Some(own))
    }

    /// The table of a handler beside the one called `name`.
    fn table(
        &mut self,
        node: &Node,
        before: &CrioConfig,
        name: &str,
        handler: &Handler,
        link: &Path,
    ) -> Result<toml::Table, String> {
        let mut table = handler.table.clone();
        let mut set = |key: &str, value: Option<toml::Value>| {
            table.retain(|own, _| !own.eq_ignore_ascii_case(key));
            if let Some(value) = value {
                table.insert(key.to_owned(), value);
            }
        };
        let text = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
        set("runtime_path", Some(text(link)));
        set("inherit_default_runtime", Some(false.into()));
        set("platform_runtime_paths", None);
        if !handler.platform_paths.is_empty() {
            self.note(format!("handler {LINK}{name}: without platform_runtime_paths, which would lead past the wrapper"));
        }
        if handler.inherits {
            set("runtime_type", Some(handler.kind.as_str().into()));
            set("runtime_root", handler.root.as_deref().map(text));
            set("runtime_config_path", None);
        }
        let opens = |one: &&String| one.starts_with(CRUN) || CRUN.starts_with(one.as_str());
        let opening: Vec<&String> = handler.allowed_annotations.iter().filter(opens).collect();
        if !opening.is_empty() {
            let rest = handler.allowed_annotations.iter();
            let rest = rest
                .filter(|one| !opens(one))
                .map(|one| one.as_str().into());
            set(
                "allowed_annotations",
                Some(toml::Value::Array(rest.collect())),
            );
            let opening: Vec<&str> = opening.into_iter().map(String::as_str).collect();
            self.note(format!("handler {LINK}{name}: without {} in allowed_annotations, which would let pods replace their filters", opening.join(", ")));
        }
        if let Err(wrong) = monitor(node, before, handler) {
            let usual = MONITORS.map(PathBuf::from);
            let usual = usual
                .into_iter()
                .find(|path| node.not_executable(path).is_none());
            let is_set = before.conmon.is_some() || handler.monitor.is_some();
            match usual.filter(|_| !is_set) {
                Some(path) => {
                    set("monitor_path", Some(text(&path)));
                    self.note(format!("handler {LINK}{name}: monitor_path is {}; CRI-O does not start until {name} has it too", path.display()));
                }
                None => {
                    return Err(format!(
                        "CRI-O's handler {name} {wrong}: CRI-O does not start; set its monitor_path in CRI-O's configuration"
                    ));
                }
            }
        }
        Ok(table)
    }

    fn make_default(&mut self, before: &CrioConfig, ours: &[String]) -> Result<(), String> {
        let current = &before.default_runtime;
        if ours.contains(current) {
            return Ok(());
        }
        let own = format!("{LINK}{current}");
        if !ours.contains(&own) {
            return Err(format!(
                "CRI-O's default_runtime is {current:?}, and no {own} can be set beside it; leave out --default-runtime, or change it"
            ));
        }
        self.note(format!("default_runtime: {own} instead of {current}"));
        for (name, handler) in &before.runtimes {
            if handler.inherits {
                self.note(format!(
                    "handler {name} inherits the default one, so it leads to {WRAPPER} too"
                ));
            }
        }
        self.drop_in.default_runtime = Some(own);
        Ok(())
    }
}

/// The wrapper's link under which it executes exactly this runtime.
fn link(
    node: &Node,
    runtimes: &BTreeMap<String, PathBuf>,
    name: &str,
    file: &str,
    path: &Path,
) -> Result<PathBuf, String> {
    let links = [name, file].map(|end| Path::new(FOLDER).join(format!("{LINK}{end}")));
    let is_same = |other: &Path| {
        let id = |path| {
            node.metadata(path)
                .map(|data| (data.dev(), data.ino()))
                .ok()
        };
        id(other).is_some() && id(other) == id(path)
    };
    let leads =
        |link: &&PathBuf| real_runtime(node, link, runtimes).is_ok_and(|real| is_same(&real));
    let Some(link) = links.iter().find(leads) else {
        let (link, shown) = (&links[0], path.display());
        return Err(format!(
            "handler {name} runs {shown}, and {} would not: write {LINK}{name} = \"{shown}\" under [runtimes] in hook.toml",
            link.display()
        ));
    };
    let shown = link.display();
    if let Some(wrong) = node.not_executable(link) {
        return Err(format!("{shown}: {wrong}; ln -s {WRAPPER} {shown}"));
    }
    if !leads_to_wrapper(node, link) {
        return Err(format!(
            "{shown} is not a link to {WRAPPER}; ln -sf {WRAPPER} {shown}"
        ));
    }
    if let Some(wrong) = node.changeable(link) {
        return Err(format!(
            "{shown}: {wrong}; chown root {shown}; chmod go-w {shown}"
        ));
    }
    Ok(link.clone())
}
