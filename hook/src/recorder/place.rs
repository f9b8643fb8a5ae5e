//! Where recordings are written: the file below one of the folders in hook.toml, a generated name
//! if the annotations give none, and the metadata file.

use portcullis_profile::select::identity::Identity;
use std::path::{Path, PathBuf};

/// The suffix of metadata files.
pub const METADATA_SUFFIX: &str = ".metadata.json";

/// A file below one of the folders in hook.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder, as written in hook.toml.
    pub folder: PathBuf,
    /// The file, relative to it.
    pub file: PathBuf,
}

impl Place {
    /// The whole path, for people.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// The metadata file of this profile. The suffix is appended to the whole name, so that no two
    /// profiles share one.
    #[must_use]
    pub fn metadata(&self) -> Place {
        let mut file = self.file.clone().into_os_string();
        file.push(METADATA_SUFFIX);
        Place {
            folder: self.folder.clone(),
            file: file.into(),
        }
    }
}

/// Whether this is the name of a metadata file.
pub fn is_metadata(file: &Path) -> bool {
    file.as_os_str()
        .as_encoded_bytes()
        .ends_with(METADATA_SUFFIX.as_bytes())
}

/// A file name made from the pod, the container, the time and the container's ID. It can't leave
/// its folder. The ID distinguishes containers, and the time, to the millisecond, the runs of one
/// container.
pub fn generated_name(identity: &Identity, id: &str, time: &str) -> PathBuf {
    let parts = [
        identity.namespace.as_deref(),
        identity.pod.as_deref(),
        identity.container.as_deref(),
        Some(time),
    ];
    let mut name: String = parts
        .into_iter()
        .flatten()
        .map(|part| sanitized(part, 48) + "_")
        .collect();
    // Without dots, so that none ends like a metadata file.
    name += &sanitized(id, 64).replace('.', "-");
    name.push_str(".json");
    PathBuf::from(name.trim_start_matches('.'))
}

/// The first characters of a text that are allowed in file names, at most this many.
fn sanitized(part: &str, most: usize) -> String {
    part.chars()
        .take(most)
        .map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => char,
            _ => '-',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_stay_in_their_folder() {
        let identity = Identity {
            namespace: Some("../..".into()),
            pod: Some("a/b\n\u{202e}".into()),
            container: Some("x".repeat(500)),
            ..Identity::default()
        };
        let name = generated_name(&identity, &"f".repeat(64), "2026");
        assert_eq!(name.components().count(), 1);
        let name = name.to_str().unwrap();
        assert!(
            name.len() < 240 && !name.starts_with('.') && name.is_ascii(),
            "{name}"
        );
    }

    #[test]
    fn a_generated_name_is_never_one_of_metadata() {
        let name = generated_name(&Identity::default(), "x.metadata", "2026");
        assert!(!is_metadata(&name), "{}", name.display());
    }

    #[test]
    fn every_profile_has_metadata_of_its_own() {
        let metadata = |file: &str| {
            let place = Place {
                folder: "/rec".into(),
                file: file.into(),
            };
            place.metadata().path()
        };
        let names = ["web.v1", "web.v2", "web", "web.json", "d/web.json"];
        let all: std::collections::BTreeSet<_> = names.iter().map(|name| metadata(name)).collect();
        assert_eq!(all.len(), names.len());
        assert_eq!(metadata("web.v1"), Path::new("/rec/web.v1.metadata.json"));
        assert!(all.iter().all(|path| is_metadata(path)));
    }
}
