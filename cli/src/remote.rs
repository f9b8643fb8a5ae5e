//! Artifacts in registries: what the verbs about them have in common.

use crate::input::{InputError, name, read};
use portcullis_artifact::{
    self as artifact, ArtifactError, Authorities, AuthoritiesError, Credentials, CredentialsError,
    Digest, KeyError, PrivateKey, PublicKey, Reference, Remote, Scheme,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an artifact can't be transferred.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("{path}: {error}")]
    Authorities {
        path: String,
        error: AuthoritiesError,
    },
    #[error("{path}: {error}")]
    Key { path: String, error: KeyError },
    #[error("{reference}: {error}")]
    Artifact {
        reference: String,
        error: ArtifactError,
    },
    #[error("{path}: {error}")]
    Profile { path: String, error: ArtifactError },
    #[error("the network can't be used: {0}")]
    Runtime(io::Error),
}

/// How the registry is spoken to.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// Use HTTP without TLS.
    #[arg(long)]
    plain_http: bool,
    /// Trust the certificate authorities in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca_file: Option<PathBuf>,
    /// The file with credentials, as `podman login` writes it. The default is `REGISTRY_AUTH_FILE`,
    /// then the files of Podman and Docker.
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

impl Access {
    /// Calls a function with the artifact that a reference stands for, and waits for its result.
    ///
    /// # Errors
    /// Why there is no connection, or what the function fails with.
    pub(crate) fn with<T>(
        &self,
        reference: &Reference,
        call: impl AsyncFnOnce(&Remote<'_>) -> Result<T, ArtifactError>,
    ) -> Result<T, RemoteError> {
        let repository = &reference.repository;
        let credentials = match &self.auth_file {
            Some(path) => Credentials::from_file(path, repository)?,
            None => Credentials::from_environment(repository)?,
        };
        let authorities = self.ca_file.as_deref().map(authorities).transpose()?;
        let scheme = if self.plain_http {
            Scheme::Http
        } else {
            Scheme::Https
        };
        let access = artifact::Access {
            scheme,
            credentials,
            authorities,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RemoteError::Runtime)?;
        let result = runtime.block_on(async {
            let remote = Remote::new(reference, &access)?;
            call(&remote).await
        });
        result.map_err(|error| RemoteError::Artifact {
            reference: reference.to_string(),
            error,
        })
    }
}

/// An artifact by its digest.
pub(crate) fn pinned(reference: &Reference, digest: Digest) -> String {
    format!("{}@{digest}", reference.repository)
}

fn authorities(path: &Path) -> Result<Authorities, RemoteError> {
    Authorities::from_pem(&read(path)?).map_err(|error| RemoteError::Authorities {
        path: name(path),
        error,
    })
}

/// A public key from a file.
///
/// # Errors
/// It can't be read or used.
pub(crate) fn public_key(path: &Path) -> Result<PublicKey, RemoteError> {
    PublicKey::from_pem(&read(path)?).map_err(at(path))
}

/// A private key from a file.
///
/// # Errors
/// It can't be read or used.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKey, RemoteError> {
    PrivateKey::from_pem(&read(path)?).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(KeyError) -> RemoteError {
    let path = name(path);
    |error| RemoteError::Key { path, error }
}
