//! Profiles from a folder of manifests, for hosts without a cluster.

use crate::crd::{GROUP, SeccompProfile};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs, io,
    path::{Path, PathBuf},
};

/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// What the profiles of one file are: names, with their specifications as JSON.
type Profiles = Vec<(String, Box<str>)>;

/// A folder of manifests, and what each file in it said when it last was right.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    good: BTreeMap<PathBuf, Profiles>,
}

impl Manifests {
    /// Reads every `.yaml`, `.yml` and `.json` in a folder: the profiles by name, with their
    /// specifications as JSON. A file in which anything is wrong is logged, and counts as it was
    /// when it last was right; where it never was, all in it that can be read counts. Of two
    /// manifests of one name, that in the first file counts.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub(super) fn read(&mut self, folder: &Path) -> io::Result<BTreeMap<String, Box<str>>> {
        let mut files: Vec<_> = fs::read_dir(folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|file| is_manifest(file))
            .collect();
        files.sort();
        self.good.retain(|file, _| files.contains(file));
        let mut profiles = BTreeMap::new();
        for file in files {
            for (name, spec) in self.profiles(&file) {
                match profiles.entry(name) {
                    Entry::Vacant(entry) => {
                        entry.insert(spec);
                    }
                    Entry::Occupied(entry) => {
                        tracing::error!("{}: {} is given twice", file.display(), entry.key());
                    }
                }
            }
        }
        Ok(profiles)
    }

    fn profiles(&mut self, file: &Path) -> Profiles {
        let mut read = Vec::new();
        let mut problems = Vec::new();
        match text(file) {
            Ok(text) => documents(&text, &mut read, &mut problems),
            Err(error) => problems.push(error.to_string()),
        }
        if problems.is_empty() {
            self.good.insert(file.to_owned(), read.clone());
            return read;
        }
        for problem in problems {
            tracing::error!("{}: {problem}", file.display());
        }
        match self.good.get(file) {
            Some(good) => {
                tracing::error!("{}: counts as it was before", file.display());
                good.clone()
            }
            None => read,
        }
    }
}

fn is_manifest(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let hidden = file
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn text(file: &Path) -> io::Result<String> {
    let data = fs::metadata(file)?;
    if !data.is_file() || data.len() > MAX_BYTES {
        return Err(io::Error::other(format!(
            "is not a regular file of at most {MAX_BYTES} bytes"
        )));
    }
    fs::read_to_string(file)
}

/// The profiles of a file's documents, and what is wrong with it.
fn documents(text: &str, profiles: &mut Profiles, problems: &mut Vec<String>) {
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document)
            .and_then(|mut value| value.apply_merge().map(|()| value))
            .and_then(serde_yaml::from_value::<Value>);
        match value {
            Ok(Value::Null) => {}
            Ok(value) => object(value, 0, profiles, problems),
            Err(error) => return problems.push(error.to_string()),
        }
    }
}

/// How many lists may lie in each other.
const MAX_LISTS: usize = 4;

/// Takes in one object, or those of a list.
fn object(mut value: Value, depth: usize, profiles: &mut Profiles, problems: &mut Vec<String>) {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&value, "apiVersion"), text(&value, "kind"));
    let name = text(&value["metadata"], "name");
    if kind.ends_with("List")
        && depth < MAX_LISTS
        && let Some(items) = value["items"].as_array_mut()
    {
        for item in std::mem::take(items) {
            object(item, depth + 1, profiles, problems);
        }
        return;
    }
    if version.is_empty() || kind.is_empty() {
        return problems.push("an object without `apiVersion` or `kind`".to_owned());
    }
    let ours = format!("{GROUP}/v1alpha1");
    if kind != "SeccompProfile" {
        tracing::debug!("{kind} {name}: not a SeccompProfile");
    } else if version != ours {
        problems.push(format!(
            "SeccompProfile {name:?} is of {version}: only {ours} is read here"
        ));
    } else if name.is_empty() {
        problems.push("a SeccompProfile without `metadata.name`".to_owned());
    } else {
        match spec(value) {
            Ok(spec) => profiles.push((name, spec)),
            Err(problem) => problems.push(format!("SeccompProfile {name:?}: {problem}")),
        }
    }
}

/// The specification of a manifest, as the API server would store it: unknown fields are refused,
/// and null is absent. It is decoded later, as one from a cluster is.
fn spec(mut manifest: Value) -> Result<Box<str>, String> {
    for key in manifest
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys())
    {
        if !matches!(
            &**key,
            "apiVersion" | "kind" | "metadata" | "spec" | "status"
        ) {
            return Err(format!("unknown field {key:?}"));
        }
    }
    let mut spec = manifest["spec"].take();
    let definition = SeccompProfile::crd();
    let schema = definition
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref())
        .and_then(|schema| schema.properties.as_ref()?.get("spec"));
    if let Some(schema) = schema {
        known_fields(schema, &mut spec, "spec")?;
    }
    Ok(spec.to_string().into_boxed_str())
}

/// Checks that the schema has each field, and takes out the fields that are null.
fn known_fields(schema: &JSONSchemaProps, value: &mut Value, path: &str) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            let Some(properties) = &schema.properties else {
                return Ok(());
            };
            members.retain(|key, value| !(value.is_null() && properties.contains_key(key)));
            for (key, value) in members {
                let path = format!("{path}.{key}");
                let Some(property) = properties.get(key) else {
                    return Err(format!("unknown field {path:?}"));
                };
                known_fields(property, value, &path)?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else {
                return Ok(());
            };
            for (index, item) in items.iter_mut().enumerate() {
                known_fields(schema, item, &format!("{path}[{index}]"))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\n";

    fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
        let (mut profiles, mut problems) = (Vec::new(), Vec::new());
        documents(text, &mut profiles, &mut problems);
        let specs = profiles
            .into_iter()
            .map(|(name, spec)| format!("{name} {spec}"));
        (specs.collect(), problems)
    }

    #[test]
    fn an_unknown_field_is_refused_by_its_path_and_null_is_absent() {
        for (spec, problem) in [
            ("sycalls: []", "unknown field \"spec.sycalls\""),
            (
                "syscalls: [{names: [mkdir], acton: X}]",
                "unknown field \"spec.syscalls[0].acton\"",
            ),
            (
                "syscalls: [{names: [mkdir], args: [{}, {idx: 1}]}]",
                "unknown field \"spec.syscalls[0].args[1].idx\"",
            ),
        ] {
            let (profiles, problems) =
                parsed(&format!("{HEAD}metadata: {{name: a}}\nspec: {{{spec}}}\n"));
            assert!(profiles.is_empty(), "{profiles:?}");
            assert_eq!(problems, [format!("SeccompProfile \"a\": {problem}")]);
        }
        let (profiles, problems) = parsed(&format!(
            "{HEAD}metadata: {{name: a}}\nspec:\n  architectures:\n  flags: ~\n  allow: [mkdir]\n"
        ));
        assert_eq!(profiles, [r#"a {"allow":["mkdir"]}"#]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn lists_are_taken_apart_and_merge_keys_count() {
        let (profiles, problems) = parsed(
            "apiVersion: v1\nkind: List\nitems:\n\
             - {apiVersion: portcullis.dev/v1alpha1, kind: SeccompProfile, metadata: {name: a},\n   \
                spec: &a {allow: [mkdir]}}\n\
             - {apiVersion: portcullis.dev/v1alpha1, kind: SeccompProfile, metadata: {name: b},\n   \
                spec: {<<: *a, runtimeBase: Omit}}\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(profiles[0], r#"a {"allow":["mkdir"]}"#);
        assert!(profiles[1].contains("mkdir") && profiles[1].contains("Omit"));
    }

    #[test]
    fn our_kind_of_another_group_or_version_is_said_loudly() {
        for version in [
            "portcullis.dev/v1",
            "security-profiles-operator.x-k8s.io/v1",
        ] {
            let (profiles, problems) = parsed(&format!(
                "apiVersion: {version}\nkind: SeccompProfile\nmetadata: {{name: a}}\n"
            ));
            assert!(profiles.is_empty());
            assert!(problems[0].contains(version), "{problems:?}");
        }
    }

    #[test]
    fn an_invalid_edit_leaves_what_the_file_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let good = format!("{HEAD}metadata: {{name: a}}\nspec: {{allow: [mkdir]}}\n");
        fs::write(&file, &good).unwrap();
        let mut manifests = Manifests::default();
        let before = manifests.read(folder.path()).unwrap();
        assert_eq!(before.len(), 1);
        for invalid in [
            "a: [".to_owned(),
            good.replace("allow", "alow"),
            good.replace("v1alpha1", "v1"),
            good.replace("metadata: {name: a}", "metadata: {}"),
            good.clone() + "---\n{",
        ] {
            fs::write(&file, &invalid).unwrap();
            assert_eq!(manifests.read(folder.path()).unwrap(), before, "{invalid}");
        }
        fs::write(&file, good.replace("mkdir", "rmdir")).unwrap();
        assert_ne!(manifests.read(folder.path()).unwrap(), before);
        fs::remove_file(&file).unwrap();
        assert!(manifests.read(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn what_can_not_be_read_is_left_out_and_the_rest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let two = format!(
            "{HEAD}metadata: {{name: a}}\nspec: {{allow: [mkdir]}}\n---\n---\n{HEAD}metadata: {{name: b}}\n"
        );
        write("1.yaml", &two);
        write(
            "2.yml",
            &format!("{HEAD}metadata: {{name: a}}\nspec: {{allow: [rmdir]}}\n"),
        );
        write(
            "3.json",
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}"#,
        );
        write("4.yaml", "a: [");
        write("5.yaml", &format!("{HEAD}metadata: {{}}\n"));
        write(".6.yaml", &format!("{HEAD}metadata: {{name: hidden}}\n"));
        write("7.txt", &format!("{HEAD}metadata: {{name: text}}\n"));
        fs::create_dir(folder.path().join("8.yaml")).unwrap();
        let long = usize::try_from(MAX_BYTES).unwrap() + 1;
        write(
            "9.yaml",
            &format!("{HEAD}metadata: {{name: long}}\n{}", "#".repeat(long)),
        );
        let read = Manifests::default().read(folder.path()).unwrap();
        let read: Vec<_> = read.iter().map(|(name, spec)| (&**name, &**spec)).collect();
        assert_eq!(read, [("a", r#"{"allow":["mkdir"]}"#), ("b", "null")]);
    }
}
