//! Hook files as CRI-O and Podman read them (`oci-hooks(5)`): a file hides one of the same name in
//! an earlier folder, hooks of a stage run in the order of their files' names, and a file whose
//! binary does not exist is silently left out.

use crate::node::Node;
use portcullis_profile::root::ReadError;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, io, path::PathBuf};

/// The stages that every engine knows.
const STAGES: [&str; 6] = [
    "createContainer",
    "createRuntime",
    "prestart",
    "poststart",
    "poststop",
    "startContainer",
];

/// A hook as its file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hook {
    /// The program.
    pub(super) path: PathBuf,
    /// Its command line, its name first.
    pub(super) arguments: Vec<String>,
    /// `timeout` in seconds.
    pub(super) timeout: Option<i64>,
    /// Where it runs.
    pub(super) stages: Vec<String>,
    /// Whether it runs for every container.
    pub(super) always: bool,
    /// The annotations that it runs for, if these are its only condition.
    pub(super) annotations: Option<BTreeMap<String, String>>,
    /// Unknown keys.
    pub(super) unknown: Vec<String>,
}

/// How an engine reads a hook file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A hook.
    Hook(Hook),
    /// A hook whose binary does not exist, which is skipped.
    Absent(Hook),
    /// A file that the engine refuses, so that it does not start (CRI-O) or starts no container
    /// (Podman).
    Broken(String),
}

/// A hook file that takes effect.
#[derive(Clone, Debug)]
pub(super) struct HookFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How it is read.
    pub(super) reading: Reading,
    /// Files of the same name that it hides.
    pub(super) hides: Vec<PathBuf>,
}

/// The files in these folders that take effect, in the order in which their hooks run. `own_stages`
/// are stages that only this engine knows.
pub(super) fn read(node: &Node, folders: &[PathBuf], own_stages: &[&str]) -> Vec<HookFile> {
    let mut all: Vec<HookFile> = Vec::new();
    let json = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "json");
    for path in folders
        .iter()
        .flat_map(|folder| node.list(folder))
        .filter(json)
    {
        let reading = match node.read(&path) {
            Ok(text) => interpret(node, &text, own_stages),
            // A link to nothing.
            Err(ReadError::Root { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            Err(error) => Reading::Broken(error.to_string()),
        };
        let mut hides = Vec::new();
        // A file that the engine skips hides nothing.
        if let Reading::Hook(_) = reading
            && let Some(before) = all.iter().position(|file| {
                matches!(file.reading, Reading::Hook(_))
                    && file.path.file_name() == path.file_name()
            })
        {
            let before = all.remove(before);
            hides = before.hides;
            hides.push(before.path);
        }
        all.push(HookFile {
            path,
            reading,
            hides,
        });
    }
    all.sort_by_key(|file| {
        let name = file.path.file_name().unwrap_or_default();
        name.to_string_lossy().to_lowercase()
    });
    all
}

fn interpret(node: &Node, text: &[u8], own_stages: &[&str]) -> Reading {
    let hook = serde_json::from_slice(text)
        .map_err(|error| error.to_string())
        .and_then(|value: Value| parse(&value));
    let hook = match hook {
        Ok(hook) => hook,
        Err(wrong) => return Reading::Broken(wrong),
    };
    if hook.path.as_os_str().is_empty() {
        return Reading::Broken("hook.path is missing".to_owned());
    }
    if !node.exists(&hook.path) {
        return Reading::Absent(hook);
    }
    let known =
        |stage: &String| STAGES.contains(&stage.as_str()) || own_stages.contains(&stage.as_str());
    match hook.stages.iter().find(|stage| !known(stage)) {
        Some(stage) => Reading::Broken(format!("unknown stage {stage:?}")),
        None => Reading::Hook(hook),
    }
}

fn parse(value: &Value) -> Result<Hook, String> {
    let mut file = Object::new(value, "the file")?;
    match file.string("version")?.unwrap_or_default() {
        "1.0.0" => {}
        "" | "0.1.0" => return parse_old(file),
        other => return Err(format!("unknown version {other:?}")),
    }
    let mut hook = Hook::default();
    if let Some(value) = file.get("hook")? {
        let mut own = Object::new(value, "hook")?;
        hook.path = own.string("path")?.unwrap_or_default().into();
        hook.arguments = own.strings("args")?.unwrap_or_default();
        own.strings("env")?;
        hook.timeout = own.integer("timeout")?;
        hook.unknown.extend(own.unknown());
    }
    if let Some(value) = file.get("when")? {
        let mut when = Object::new(value, "when")?;
        let always = when.boolean("always")?;
        let annotations = when.texts("annotations")?.unwrap_or_default();
        let commands = when.strings("commands")?.unwrap_or_default();
        let mounts = when.boolean("hasBindMounts")?;
        // All conditions have to hold; one that is false never does.
        let others = !commands.is_empty() || mounts.is_some();
        hook.always = always == Some(true) && annotations.is_empty() && !others;
        hook.annotations =
            (always != Some(false) && !others && !annotations.is_empty()).then_some(annotations);
        hook.unknown.extend(when.unknown());
    }
    hook.stages = file
        .strings("stages")?
        .ok_or_else(|| "stages is missing".to_owned())?;
    hook.unknown.extend(file.unknown());
    Ok(hook)
}

/// The format 0.1.0, in which any one condition suffices and having none means "always".
fn parse_old(mut file: Object<'_>) -> Result<Hook, String> {
    let path = file
        .string("hook")?
        .ok_or_else(|| "hook is missing".to_owned())?;
    let mut arguments = vec![path.to_owned()];
    arguments.extend(file.strings("arguments")?.unwrap_or_default());
    let stages = match (file.strings("stages")?, file.strings("stage")?) {
        (Some(_), Some(_)) => return Err("both stage and stages".to_owned()),
        (None, None) => return Err("stages is missing".to_owned()),
        (Some(stages), None) | (None, Some(stages)) => stages,
    };
    Ok(Hook {
        path: path.into(),
        arguments,
        stages,
        ..Hook::default()
    })
}

/// A JSON object as Go reads it: keys match in any case, null counts as absent, unknown keys are
/// ignored.
struct Object<'a> {
    name: &'static str,
    members: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'a> Object<'a> {
    fn new(value: &'a Value, name: &'static str) -> Result<Object<'a>, String> {
        let members = value
            .as_object()
            .ok_or_else(|| format!("{name} is not an object"))?;
        Ok(Object {
            name,
            members,
            asked: Vec::new(),
        })
    }

    fn get(&mut self, key: &'static str) -> Result<Option<&'a Value>, String> {
        self.asked.push(key);
        let mut found = self
            .members
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key));
        let first = found.next();
        if found.next().is_some() {
            return Err(format!(
                "{} has {key} twice, in upper and lower case",
                self.name
            ));
        }
        Ok(first
            .map(|(_, value)| value)
            .filter(|value| !value.is_null()))
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        self.get(key)?
            .map(|value| read(value).ok_or_else(|| format!("{key} is not {wanted}")))
            .transpose()
    }

    fn string(&mut self, key: &'static str) -> Result<Option<&'a str>, String> {
        self.typed(key, "a string", Value::as_str)
    }

    fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, String> {
        self.typed(key, "true or false", Value::as_bool)
    }

    fn integer(&mut self, key: &'static str) -> Result<Option<i64>, String> {
        self.typed(key, "an integer", Value::as_i64)
    }

    fn strings(&mut self, key: &'static str) -> Result<Option<Vec<String>>, String> {
        self.typed(key, "a list of strings", |value| {
            let texts = value.as_array()?.iter();
            texts.map(|text| Some(text.as_str()?.to_owned())).collect()
        })
    }

    fn texts(&mut self, key: &'static str) -> Result<Option<BTreeMap<String, String>>, String> {
        self.typed(key, "an object of strings", |value| {
            let texts = value.as_object()?.iter();
            texts
                .map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned())))
                .collect()
        })
    }

    /// Keys that were not read.
    fn unknown(&self) -> Vec<String> {
        let known = |key: &String| self.asked.iter().any(|own| own.eq_ignore_ascii_case(key));
        self.members
            .keys()
            .filter(|key| !known(key))
            .cloned()
            .collect()
    }
}
