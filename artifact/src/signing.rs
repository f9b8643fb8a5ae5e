//! Signing artifacts: cosign's simple signing, in a tag beside the artifact.

use crate::{
    ArtifactError, Digest, PrivateKey,
    layout::{self, Descriptor, Manifest, Parsed},
    signature,
    transfer::{Remote, encode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

impl Remote<'_> {
    /// The manifest with the signatures of a digest, if there is one.
    pub(crate) async fn signatures(
        &self,
        digest: &Digest,
    ) -> Result<Option<Box<Manifest>>, ArtifactError> {
        let place = signature::place(&self.reference.repository, digest);
        match self.registry.manifest(&place.wanted()).await? {
            None => Ok(None),
            Some(bytes) => match layout::parse(&bytes)? {
                Parsed::Manifest(manifest) => Ok(Some(manifest)),
                Parsed::Index(_) => {
                    let problem = "it is an index instead of a manifest with signatures";
                    Err(ArtifactError::Layout(problem.to_owned()))
                }
            },
        }
    }

    /// Adds a signature to those that are there.
    pub(crate) async fn sign(
        &self,
        digest: &Digest,
        key: &PrivateKey,
    ) -> Result<(), ArtifactError> {
        let payload = signature::payload(&self.reference.repository, digest);
        let made = key.sign(&payload).ok_or(ArtifactError::Sign)?;
        let mut layer = Descriptor::of(signature::PAYLOAD, &payload);
        let annotation = signature::ANNOTATION.to_owned();
        layer
            .annotations
            .insert(annotation, BASE64_STANDARD.encode(made));
        let found = self.signatures(digest).await?;
        let mut layers = found.map(|manifest| manifest.layers).unwrap_or_default();
        layers.push(layer);
        let ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({"architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = config.to_string().into_bytes();
        let described = Descriptor::of(signature::CONFIG, &config);
        let manifest = encode(&layout::image(described, layers))?;
        self.registry.send_blob(&payload).await?;
        self.registry.send_blob(&config).await?;
        let place = signature::place(&self.reference.repository, digest);
        self.registry
            .send_manifest(&place.wanted(), &manifest)
            .await
    }
}
