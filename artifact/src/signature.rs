//! Cosign's simple signing: what is signed for a digest, and where the signatures lie.

use crate::{Digest, PublicKey, Reference, Repository};
use serde::Deserialize;
use serde_json::json;

/// The media type of a signed payload.
pub(crate) const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of the configuration of a manifest with signatures.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The annotation of a layer with the signature of its payload, in base64.
pub(crate) const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What every payload says.
const KIND: &str = "cosign container image signature";

/// Where the signatures of a digest lie: a tag beside it.
pub(crate) fn place(repository: &Repository, digest: &Digest) -> Reference {
    Reference {
        repository: repository.clone(),
        tag: Some(format!("sha256-{}.sig", digest.hex())),
        digest: None,
    }
}

/// The payload that is signed for a digest.
pub(crate) fn payload(repository: &Repository, digest: &Digest) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": repository.to_string()},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": KIND,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Whether a payload, signed by the key, is about a digest.
pub(crate) fn is_for(digest: &Digest, payload: &[u8], signature: &[u8], key: &PublicKey) -> bool {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        r#type: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Image {
        docker_manifest_digest: String,
    }
    if !key.verifies(payload, signature) {
        return false;
    }
    serde_json::from_slice(payload).is_ok_and(|payload: Payload| {
        payload.critical.r#type == KIND
            && payload.critical.image.docker_manifest_digest == digest.to_string()
    })
}
