//! Profiles from a folder of manifests, for hosts without a cluster.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    error::Error,
    fs, io,
    path::Path,
};

/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Reads every `.yaml`, `.yml` and `.json` in a folder: the profiles by name, with their
/// specifications as JSON. A manifest that can't be read is logged and left out; the others still
/// count. Of two manifests of one name, that in the first file counts.
///
/// # Errors
/// If the folder can't be read.
pub(super) fn read(folder: &Path) -> io::Result<BTreeMap<String, Box<str>>> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut profiles = BTreeMap::new();
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if hidden || !matches!(extension, Some("yaml" | "yml" | "json")) {
            continue;
        }
        match text(&file) {
            Ok(text) => documents(&file, &text, &mut profiles),
            Err(error) => tracing::warn!("{}: {error}", file.display()),
        }
    }
    Ok(profiles)
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

fn documents(file: &Path, text: &str, profiles: &mut BTreeMap<String, Box<str>>) {
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = match serde_yaml::Value::deserialize(document) {
            Ok(serde_yaml::Value::Null) => continue,
            Ok(value) => value,
            Err(error) => {
                tracing::warn!("{}: {error}", file.display());
                return;
            }
        };
        let version = format!("{}/v1alpha1", crate::crd::GROUP);
        let is = |key: &str, expected: &str| {
            value.get(key).and_then(serde_yaml::Value::as_str) == Some(expected)
        };
        if !is("apiVersion", &version) || !is("kind", "SeccompProfile") {
            tracing::debug!("{}: not a SeccompProfile", file.display());
            continue;
        }
        match manifest(value) {
            Ok((name, spec)) => match profiles.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(spec);
                }
                Entry::Occupied(entry) => {
                    tracing::warn!("{}: {} is given twice", file.display(), entry.key());
                }
            },
            Err(error) => tracing::warn!("{}: {error}", file.display()),
        }
    }
}

/// The name and the specification of a manifest. The specification is decoded later, as one from a
/// cluster is.
fn manifest(value: serde_yaml::Value) -> Result<(String, Box<str>), Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Manifest {
        metadata: Metadata,
        #[serde(default)]
        spec: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let manifest: Manifest = serde_yaml::from_value(value)?;
    let spec = serde_json::to_string(&manifest.spec)?;
    Ok((manifest.metadata.name, spec.into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\n";

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
        let read = read(folder.path()).unwrap();
        let read: Vec<_> = read.iter().map(|(name, spec)| (&**name, &**spec)).collect();
        assert_eq!(read, [("a", r#"{"allow":["mkdir"]}"#), ("b", "null")]);
    }
}
