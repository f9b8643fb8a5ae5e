//! `portcullis push`: a profile becomes an artifact in a registry.

use super::{CommandError, Ending};
use crate::{
    input::{name, read},
    output::print,
    remote::{Access, RemoteError, pinned, private_key},
};
use portcullis_artifact::{Content, Platform, Reference};
use std::path::PathBuf;

/// Arguments of `push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The profile: a SeccompProfile in YAML or JSON, or an OCI document.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to push it: `REGISTRY/REPOSITORY[:TAG]`. The default tag is latest.
    #[arg(value_parser = without_digest)]
    reference: Reference,
    /// The platform that a SeccompProfile is for, such as linux/arm64. By default, it is for all.
    #[arg(long)]
    platform: Option<Platform>,
    /// Sign the artifact with this private key: ECDSA on P-256 or Ed25519, PKCS #8 in PEM.
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

fn without_digest(text: &str) -> Result<Reference, String> {
    let reference: Reference = text.parse().map_err(|error| format!("{error}"))?;
    if reference.digest.is_some() {
        return Err("a digest can't be chosen: give a tag".to_owned());
    }
    Ok(reference)
}

/// Pushes the profile.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let text = read(&arguments.file)?;
    // Before anybody is asked for anything.
    Content::read(&text).map_err(|error| RemoteError::Profile {
        path: name(&arguments.file),
        error: error.into(),
    })?;
    let key = arguments.sign_key.as_deref().map(private_key).transpose()?;
    let platform = arguments.platform.as_ref();
    let reference = &arguments.reference;
    let digest = arguments.access.with(reference, async |remote| {
        remote.push(&text, platform, key.as_ref()).await
    })?;
    print(&format!("{}\n", pinned(reference, digest)))?;
    Ok(Ending::Good)
}
