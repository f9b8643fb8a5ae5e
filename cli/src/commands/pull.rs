//! `portcullis pull`: the profile in an artifact of a registry.

use super::{CommandError, Ending};
use crate::{
    output::Output,
    remote::{Access, public_key},
};
use portcullis_artifact::{Platform, Reference};
use std::path::PathBuf;

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The artifact: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`.
    reference: Reference,
    /// The platform to pull the profile for. The default is this machine's.
    #[arg(long)]
    platform: Option<Platform>,
    /// Refuse the artifact unless it is signed with the private key of this public key in PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    output: Output,
}

/// Pulls the profile and prints it as it was pushed.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let key = arguments.key.as_deref().map(public_key).transpose()?;
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let pulled = arguments
        .access
        .with(&arguments.reference, async |remote| {
            remote.pull(&platform, key.as_ref()).await
        })?;
    arguments.output.write_exactly(&pulled.text)?;
    Ok(Ending::Good)
}
