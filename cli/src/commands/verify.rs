//! `portcullis verify`: whether an artifact is signed with a key.

use super::{CommandError, Ending};
use crate::{
    output::print,
    remote::{Access, RemoteError, pinned, public_key},
};
use portcullis_artifact::{ArtifactError, Reference};
use std::path::PathBuf;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The artifact: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`.
    reference: Reference,
    /// The public key in PEM: ECDSA on P-256 or Ed25519.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    access: Access,
}

/// Verifies the artifact and prints it with its digest.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let key = public_key(&arguments.key)?;
    let reference = &arguments.reference;
    let verified = arguments
        .access
        .with(reference, async |remote| remote.verify(&key).await);
    match verified {
        Ok(digest) => {
            print(&format!("{}\n", pinned(reference, digest)))?;
            Ok(Ending::Good)
        }
        Err(RemoteError::Artifact { error, reference }) if says_unsigned(&error) => {
            eprintln!("portcullis: {reference}: {error}");
            Ok(Ending::Found)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether it is certain that the artifact is not signed with the key.
fn says_unsigned(error: &ArtifactError) -> bool {
    match error {
        ArtifactError::NotSigned | ArtifactError::WrongSignature(_) => true,
        ArtifactError::Unread { .. } => error.is_refusal(),
        _ => false,
    }
}
