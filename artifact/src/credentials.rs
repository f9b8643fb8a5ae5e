//! Credentials for registries, from the file that `podman login` and `docker login` write.

use crate::Repository;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

/// Why credentials can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file can't be parsed. What is in it is not repeated.
    #[error("{}: it is not a file with credentials for registries (line {line})", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// The entry can't be decoded.
    #[error("{}: the entry of {registry} is not valid", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(String);

impl Credentials {
    /// As the value of an `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(&self.0))
    }

    /// Those for a repository in this file; `None` if it has none.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn from_file(
        path: &Path,
        repository: &Repository,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let text = fs::read(path).map_err(|error| CredentialsError::Read {
            path: path.to_owned(),
            error,
        })?;
        let file: File =
            serde_json::from_slice(&text).map_err(|error| CredentialsError::Parse {
                path: path.to_owned(),
                line: error.line(),
            })?;
        let Some((registry, entry)) = file.find(repository) else {
            return Ok(None);
        };
        let decoded = BASE64_STANDARD.decode(&entry.auth).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.filter(|pair| pair.contains(':')) {
            Some(pair) => Ok(Some(Credentials(pair))),
            None => Err(CredentialsError::Entry {
                path: path.to_owned(),
                registry: registry.to_owned(),
            }),
        }
    }

    /// Those for a repository where the environment says, or in the usual files: `REGISTRY_AUTH_FILE`,
    /// containers' `auth.json`, Docker's `config.json`.
    ///
    /// # Errors
    /// [`CredentialsError`] about the first file that exists and can't be used.
    pub fn from_environment(
        repository: &Repository,
    ) -> Result<Option<Credentials>, CredentialsError> {
        if let Some(path) = env::var_os("REGISTRY_AUTH_FILE") {
            return Credentials::from_file(Path::new(&path), repository);
        }
        let below =
            |variable: &str, rest: &str| Some(PathBuf::from(env::var_os(variable)?).join(rest));
        let usual = [
            below("XDG_RUNTIME_DIR", "containers/auth.json"),
            below("XDG_CONFIG_HOME", "containers/auth.json"),
            below("HOME", ".config/containers/auth.json"),
            below("DOCKER_CONFIG", "config.json"),
            below("HOME", ".docker/config.json"),
        ];
        for path in usual.into_iter().flatten().filter(|path| path.exists()) {
            if let Some(found) = Credentials::from_file(&path, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl File {
    /// The entry with the longest key that the repository is within.
    fn find(&self, repository: &Repository) -> Option<(&str, &Entry)> {
        let matches = |key: &str| {
            let key = key
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let hub = repository.registry() == "docker.io" && key == "index.docker.io/v1/";
            hub || repository.is_within(key)
        };
        // An entry without credentials refers to a helper program, which is not run.
        self.auths
            .iter()
            .filter(|(key, entry)| !entry.auth.is_empty() && matches(key))
            .max_by_key(|(key, _)| key.len())
            .map(|(key, entry)| (key.as_str(), entry))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    #[test]
    fn the_most_specific_entry_applies() {
        let text = r#"{"auths": {
            "ghcr.io": {"auth": "YTox"}, "ghcr.io/team": {"auth": "Yjoy"}, "quay.io": {},
            "https://index.docker.io/v1/": {"auth": "Yzoz"}}, "credsStore": "x"}"#;
        let file: File = serde_json::from_str(text).unwrap();
        let of = |text: &str| {
            let reference: Reference = text.parse().unwrap();
            file.find(&reference.repository)
                .map(|(_, entry)| entry.auth.clone())
        };
        assert_eq!(of("ghcr.io/other/web").as_deref(), Some("YTox"));
        assert_eq!(of("ghcr.io/team/web").as_deref(), Some("Yjoy"));
        assert_eq!(of("docker.io/library/web").as_deref(), Some("Yzoz"));
        assert_eq!(of("quay.io/web"), None);
        assert_eq!(of("example.com/web"), None);
    }
}
