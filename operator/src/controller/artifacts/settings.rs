//! Where artifacts may come from, and what they must be signed with.

use super::PullError;
use crate::crd::SeccompProfileSpec;
use portcullis_artifact::{
    Access, Authorities, AuthoritiesError, Base, Credentials, CredentialsError, KeyError, Platform,
    PublicKey, Remote, Repository, Scheme,
};
use std::{convert::Infallible, fs, io, path::PathBuf, str::FromStr};

/// Why an artifact is not even asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller) enum NotAllowed {
    /// Nothing is.
    #[error("the controller pulls from no registry (--artifact-registry)")]
    Off,
    /// Its registry is not in the list.
    #[error(
        "{0} is in none of the registries that the controller pulls from (--artifact-registry)"
    )]
    Registry(String),
    /// The credentials can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Why a key or certificate authorities can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no usable key in it.
    #[error("{}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeyError,
    },
    /// There are no usable certificate authorities in it.
    #[error("{}: {error}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        error: AuthoritiesError,
    },
}

/// A registry, or a part of it: `REGISTRY[/PATH]`. With `http://` in front, it is spoken to without
/// TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    prefix: String,
    scheme: Scheme,
}

impl FromStr for Allowed {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Allowed, Infallible> {
        let (prefix, scheme) = match text.strip_prefix("http://") {
            Some(rest) => (rest, Scheme::Http),
            None => (text.strip_prefix("https://").unwrap_or(text), Scheme::Https),
        };
        Ok(Allowed {
            prefix: prefix.to_owned(),
            scheme,
        })
    }
}

/// Where artifacts may come from, and what they must be signed with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    registries: Vec<Allowed>,
    key: Option<PublicKey>,
    auth_file: Option<PathBuf>,
    authorities: Option<Authorities>,
}

/// The files of [`Settings`], each one if there is one.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The public key that artifacts must be signed with.
    pub key: Option<PathBuf>,
    /// Credentials, which are read for each artifact.
    pub auth: Option<PathBuf>,
    /// The certificate authorities of the registries.
    pub authorities: Option<PathBuf>,
}

fn load<T>(
    path: PathBuf,
    parse: impl FnOnce(&[u8], PathBuf) -> Result<T, FileError>,
) -> Result<T, FileError> {
    match fs::read(&path) {
        Ok(text) => parse(&text, path),
        Err(error) => Err(FileError::Read { path, error }),
    }
}

impl Settings {
    /// Settings with these registries, and what the files say.
    ///
    /// # Errors
    /// The key or the certificate authorities can't be loaded.
    pub fn new(registries: Vec<Allowed>, files: Files) -> Result<Settings, FileError> {
        let key = |path| {
            load(path, |pem, path| {
                PublicKey::from_pem(pem).map_err(|error| FileError::Key { path, error })
            })
        };
        let authorities = |path| {
            load(path, |pem, path| {
                Authorities::from_pem(pem).map_err(|error| FileError::Authorities { path, error })
            })
        };
        Ok(Settings {
            registries,
            key: files.key.map(key).transpose()?,
            auth_file: files.auth,
            authorities: files.authorities.map(authorities).transpose()?,
        })
    }

    /// Whether anything may be pulled.
    pub(super) fn is_on(&self) -> bool {
        !self.registries.is_empty()
    }

    /// How to speak to the registry of a repository, if it is allowed. The longest prefix decides.
    fn scheme(&self, repository: &Repository) -> Result<Scheme, NotAllowed> {
        if !self.is_on() {
            return Err(NotAllowed::Off);
        }
        self.registries
            .iter()
            .filter(|allowed| repository.is_within(&allowed.prefix))
            .max_by_key(|allowed| allowed.prefix.len())
            .map(|allowed| allowed.scheme)
            .ok_or_else(|| NotAllowed::Registry(repository.to_string()))
    }

    /// Pulls a base, checked against its digest and, where there is a key, its signature.
    pub(super) async fn pull(&self, base: &Base) -> Result<SeccompProfileSpec, PullError> {
        let reference = base.reference();
        let scheme = self.scheme(&reference.repository)?;
        let credentials = match &self.auth_file {
            Some(path) => Credentials::from_file(path, &reference.repository)
                .map_err(NotAllowed::Credentials)?,
            None => None,
        };
        let access = Access {
            scheme,
            credentials,
            authorities: self.authorities.clone(),
        };
        let remote = Remote::new(reference, &access)?;
        let pulled = remote.pull(&Platform::host(), self.key.as_ref()).await?;
        let spec = pulled.content.spec().clone();
        serde_json::from_value(spec.into()).map_err(PullError::Spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_artifact::Reference;

    fn scheme(registries: &[&str], reference: &str) -> Result<Scheme, String> {
        let registries = registries.iter().flat_map(|text| text.parse()).collect();
        let settings = Settings::new(registries, Files::default()).unwrap();
        let reference: Reference = reference.parse().unwrap();
        settings
            .scheme(&reference.repository)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_listed_registries_are_asked_and_plain_http_only_where_it_says_so() {
        let listed = [
            "ghcr.io/team",
            "http://localhost:5000",
            "localhost:5000/tls",
        ];
        assert_eq!(scheme(&listed, "ghcr.io/team/web"), Ok(Scheme::Https));
        assert_eq!(scheme(&listed, "localhost:5000/web"), Ok(Scheme::Http));
        assert_eq!(scheme(&listed, "localhost:5000/tls/web"), Ok(Scheme::Https));
        let error = scheme(&listed, "ghcr.io/other/web").unwrap_err();
        assert!(error.starts_with("ghcr.io/other/web is in none"), "{error}");
        let error = scheme(&[], "ghcr.io/team/web").unwrap_err();
        assert!(error.contains("from no registry"), "{error}");
    }
}
