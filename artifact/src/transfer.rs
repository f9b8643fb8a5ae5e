//! Pushing, pulling, signing and verifying artifacts.

use crate::{
    Access, ArtifactError, Content, Digest, Platform, PrivateKey, PublicKey, Reference,
    layout::{self, CONFIG, Descriptor, Manifest, Parsed},
    registry::{Registry, check},
};
use hyper::body::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// The largest profile, in bytes: what the gate reads by default.
const MAX_PROFILE: usize = 1024 * 1024;
/// How long a transfer may take as a whole, however many requests it needs.
const DEADLINE: Duration = Duration::from_secs(120);

/// A pulled profile.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The digest of the artifact that the reference stands for.
    pub digest: Digest,
    /// The profile's text, as it was pushed.
    pub text: Vec<u8>,
    /// The same, checked.
    pub content: Content,
}

/// An artifact in a registry.
pub struct Remote<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) registry: Registry<'a>,
}

impl<'a> Remote<'a> {
    /// The artifact that a reference stands for, or will.
    ///
    /// # Errors
    /// TLS can't be used on this machine.
    pub fn new(reference: &'a Reference, access: &'a Access) -> Result<Remote<'a>, ArtifactError> {
        let registry = Registry::new(&reference.repository, access)?;
        Ok(Remote {
            reference,
            registry,
        })
    }

    /// Pulls the profile for a platform. With a key, the artifact must be signed with it.
    ///
    /// # Errors
    /// [`ArtifactError`]; nothing of the artifact was used then.
    pub async fn pull(
        &self,
        platform: &Platform,
        key: Option<&PublicKey>,
    ) -> Result<Pulled, ArtifactError> {
        self.in_time(self.pull_within(platform, key)).await
    }

    async fn pull_within(
        &self,
        platform: &Platform,
        key: Option<&PublicKey>,
    ) -> Result<Pulled, ArtifactError> {
        let (digest, bytes) = self.resolve().await?;
        if let Some(key) = key {
            self.check_signature(&digest, key).await?;
        }
        let manifest = self.manifest_for(platform, &bytes).await?;
        let layer = layout::select_layer(&manifest, platform)?;
        let text = self.layer(layer, MAX_PROFILE, "the profile").await?;
        let content = Content::read(&text)?;
        Ok(Pulled {
            digest,
            text: text.into(),
            content,
        })
    }

    /// Checks that the artifact is signed with a key. Returns its digest.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub async fn verify(&self, key: &PublicKey) -> Result<Digest, ArtifactError> {
        let verify = async {
            let (digest, _) = self.resolve().await?;
            self.check_signature(&digest, key).await?;
            Ok(digest)
        };
        self.in_time(verify).await
    }

    /// Pushes a profile, signed with a key if there is one. Returns the artifact's digest.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub async fn push(
        &self,
        text: &[u8],
        platform: Option<&Platform>,
        key: Option<&PrivateKey>,
    ) -> Result<Digest, ArtifactError> {
        let content = Content::read(text)?;
        if text.len() > MAX_PROFILE {
            return Err(ArtifactError::TooLarge {
                what: "the profile".to_owned(),
                limit: MAX_PROFILE,
            });
        }
        let manifest = encode(&layout::pack(&content, text, platform))?;
        self.in_time(self.send(text, &manifest, key)).await
    }

    async fn send(
        &self,
        text: &[u8],
        manifest: &[u8],
        key: Option<&PrivateKey>,
    ) -> Result<Digest, ArtifactError> {
        let digest = Digest::of(manifest);
        self.registry.send_blob(CONFIG).await?;
        self.registry.send_blob(text).await?;
        // First under its digest: a tag never points to what is not signed yet.
        let own = digest.to_string();
        self.registry.send_manifest(&own, manifest).await?;
        if let Some(key) = key {
            self.sign(&digest, key).await?;
        }
        let tag = self.reference.wanted();
        self.registry.send_manifest(&tag, manifest).await?;
        Ok(digest)
    }

    /// Waits for a transfer, but not for ever: a registry may be slow with each answer, or want to
    /// be asked for many things.
    async fn in_time<T>(
        &self,
        transfer: impl Future<Output = Result<T, ArtifactError>>,
    ) -> Result<T, ArtifactError> {
        let late = ArtifactError::Late {
            host: self.reference.repository.host().to_owned(),
            what: "it was not done",
            within: DEADLINE,
        };
        timeout(DEADLINE, transfer).await.unwrap_or(Err(late))
    }

    /// The manifest or index that the reference stands for, and its digest.
    async fn resolve(&self) -> Result<(Digest, Bytes), ArtifactError> {
        let found = self.registry.manifest(&self.reference.wanted()).await?;
        let bytes = found.ok_or(ArtifactError::NotFound)?;
        if let Some(expected) = &self.reference.digest {
            check("the manifest", &bytes, expected)?;
        }
        Ok((Digest::of(&bytes), bytes))
    }

    async fn manifest_for(
        &self,
        platform: &Platform,
        bytes: &[u8],
    ) -> Result<Box<Manifest>, ArtifactError> {
        let manifests = match layout::parse(bytes)? {
            Parsed::Manifest(manifest) => return Ok(manifest),
            Parsed::Index(manifests) => manifests,
        };
        let digest = digest_of(layout::select_manifest(&manifests, platform)?)?;
        let found = self.manifest_of(&digest).await?;
        found.ok_or(ArtifactError::NotFound)
    }

    /// The manifest that has this digest.
    pub(crate) async fn manifest_of(
        &self,
        digest: &Digest,
    ) -> Result<Option<Box<Manifest>>, ArtifactError> {
        let Some(bytes) = self.registry.manifest(&digest.to_string()).await? else {
            return Ok(None);
        };
        check("the manifest", &bytes, digest)?;
        match layout::parse(&bytes)? {
            Parsed::Manifest(manifest) => Ok(Some(manifest)),
            Parsed::Index(_) => {
                let problem = "an index in an index is not followed";
                Err(ArtifactError::Layout(problem.to_owned()))
            }
        }
    }

    pub(crate) async fn layer(
        &self,
        layer: &Descriptor,
        limit: usize,
        what: &'static str,
    ) -> Result<Bytes, ArtifactError> {
        if layer.size > limit as u64 {
            return Err(ArtifactError::TooLarge {
                what: what.to_owned(),
                limit,
            });
        }
        self.registry.blob(&digest_of(layer)?, limit, what).await
    }
}

pub(crate) fn encode(manifest: &Manifest) -> Result<Vec<u8>, ArtifactError> {
    serde_json::to_vec(manifest).map_err(|error| ArtifactError::Layout(error.to_string()))
}

pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest, ArtifactError> {
    let text = &descriptor.digest;
    text.parse()
        .map_err(|why| ArtifactError::Layout(format!("{text:?}: {why}")))
}
