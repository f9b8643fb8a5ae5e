//! Signing artifacts, and looking for the signatures that they have: cosign's simple signing in a tag
//! beside the artifact, and bundles that refer to it.

use crate::{
    ArtifactError, Digest, PrivateKey, PublicKey, bundle,
    layout::{self, Descriptor, Manifest, Parsed},
    signature,
    transfer::{Remote, digest_of, encode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

/// The largest payload of a signature, and the largest bundle.
const MAX_PAYLOAD: usize = 64 * 1024;

impl Remote<'_> {
    /// Checks that a digest is signed with a key.
    pub(crate) async fn check_signature(
        &self,
        digest: &Digest,
        key: &PublicKey,
    ) -> Result<(), ArtifactError> {
        let mut seen = 0;
        let found = self.signatures(digest).await?;
        for layer in found.iter().flat_map(|manifest| &manifest.layers) {
            if layer.media_type != signature::PAYLOAD {
                continue;
            }
            seen += 1;
            let Some(text) = layer.annotations.get(signature::ANNOTATION) else {
                continue;
            };
            let Ok(made) = BASE64_STANDARD.decode(text) else {
                continue;
            };
            let payload = self.layer(layer, MAX_PAYLOAD, "a signature").await?;
            if signature::is_for(digest, &payload, &made, key) {
                return Ok(());
            }
        }
        for referrer in self.referrers(digest).await? {
            let Some(layer) = self.bundle_of(&referrer).await? else {
                continue;
            };
            seen += 1;
            let text = self.layer(&layer, MAX_PAYLOAD, "a signature").await?;
            if bundle::is_for(digest, &text, key) {
                return Ok(());
            }
        }
        match seen {
            0 => Err(ArtifactError::NotSigned),
            _ => Err(ArtifactError::WrongSignature(seen)),
        }
    }

    /// The manifest with the signatures of a digest, if there is one.
    async fn signatures(&self, digest: &Digest) -> Result<Option<Box<Manifest>>, ArtifactError> {
        let place = signature::place(&self.reference.repository, digest);
        match self.registry.manifest(&place.wanted()).await? {
            None => Ok(None),
            Some(bytes) => match layout::parse(&bytes)? {
                Parsed::Manifest(manifest) => Ok(Some(manifest)),
                Parsed::Index(_) => Ok(None),
            },
        }
    }

    /// What refers to a digest and may be a bundle: as the registry lists it, or as clients list it
    /// in a tag if the registry does not.
    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ArtifactError> {
        let listed = match self.registry.referrers(digest).await? {
            None => {
                let tag = format!("sha256-{}", digest.hex());
                self.registry.manifest(&tag).await?
            }
            listed => listed,
        };
        let Some(bytes) = listed else {
            return Ok(Vec::new());
        };
        let Parsed::Index(mut found) = layout::parse(&bytes)? else {
            return Ok(Vec::new());
        };
        // A list may leave out what kind they are, and cosign 2.6 repeats the type of the empty
        // configuration there.
        let may_be = |kind: &str| bundle::is_bundle(kind) || kind == layout::EMPTY;
        found.retain(|it| it.artifact_type.as_deref().is_none_or(may_be));
        Ok(found)
    }

    /// The layer with the bundle in a manifest, if it has one.
    async fn bundle_of(&self, referrer: &Descriptor) -> Result<Option<Descriptor>, ArtifactError> {
        let digest = digest_of(referrer)?;
        let Some(manifest) = self.manifest_of(&digest).await? else {
            return Ok(None);
        };
        let mut layers = manifest.layers.into_iter();
        Ok(layers.find(|layer| bundle::is_bundle(&layer.media_type)))
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
