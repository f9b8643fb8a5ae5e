//! Sigstore bundles, in which cosign signs since its version 3: what is signed, and for which digest.
//! Only bundles that a key has signed are understood; a certificate or a log entry in one counts for
//! nothing.

use crate::{Digest, PublicKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the media types of bundles begin with; a version follows.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// The type of the signed payload.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What a statement calls itself.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What a statement says that is a signature of its subject, and nothing more.
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Whether a media or artifact type is a bundle's.
pub(crate) fn is_bundle(media_type: &str) -> bool {
    media_type
        .strip_prefix(MEDIA_TYPE)
        .is_some_and(|rest| rest.starts_with(['.', '+', ';']))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// Whether a bundle, signed by the key, is a signature of a digest.
pub(crate) fn is_for(digest: &Digest, bundle: &[u8], key: &PublicKey) -> bool {
    signed(bundle, key).is_some_and(|payload| is_about(digest, &payload))
}

/// The payload of a bundle, if the key has signed it.
fn signed(bundle: &[u8], key: &PublicKey) -> Option<Vec<u8>> {
    let envelope = serde_json::from_slice::<Bundle>(bundle).ok()?.dsse_envelope;
    // The protocol has a list; cosign makes one signature.
    let [signature] = &envelope.signatures[..] else {
        return None;
    };
    let payload = BASE64_STANDARD.decode(&envelope.payload).ok()?;
    let made = BASE64_STANDARD.decode(&signature.sig).ok()?;
    let kind = &envelope.payload_type;
    let is_known = kind == PAYLOAD_TYPE;
    (is_known && key.verifies(&authenticated(kind, &payload), &made)).then_some(payload)
}

/// What is signed of an envelope (DSSE's pre-authentication encoding).
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn is_about(digest: &Digest, payload: &[u8]) -> bool {
    let Ok(statement) = serde_json::from_slice::<Statement>(payload) else {
        return false;
    };
    let hex = digest.hex();
    statement.kind == STATEMENT
        && statement.predicate_type == PREDICATE
        && statement
            .subject
            .iter()
            .any(|subject| subject.digest.get("sha256") == Some(&hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::{EDWARDS_KEY, EDWARDS_PUBLIC, P256_PUBLIC};
    use crate::{PrivateKey, PublicKey};
    use serde_json::{Value, json};

    fn statement(digest: &Digest) -> Value {
        json!({"_type": STATEMENT, "predicateType": PREDICATE, "predicate": {},
            "subject": [{"digest": {"sha256": digest.hex()}}]})
    }

    fn bundle(kind: &str, statement: &Value) -> Vec<u8> {
        let payload = statement.to_string().into_bytes();
        let key = PrivateKey::from_pem(EDWARDS_KEY.as_bytes()).unwrap();
        let made = key.sign(&authenticated(kind, &payload)).unwrap();
        let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {"payload": BASE64_STANDARD.encode(payload), "payloadType": kind,
                "signatures": [{"sig": BASE64_STANDARD.encode(made)}]}});
        bundle.to_string().into_bytes()
    }

    #[test]
    fn a_bundle_counts_for_its_subject_and_its_key_and_only_as_a_signature() {
        let key = PublicKey::from_pem(EDWARDS_PUBLIC.as_bytes()).unwrap();
        let other = PublicKey::from_pem(P256_PUBLIC.as_bytes()).unwrap();
        let digest = Digest::of(b"1");
        let good = bundle(PAYLOAD_TYPE, &statement(&digest));
        assert!(is_for(&digest, &good, &key));
        assert!(!is_for(&digest, &good, &other));
        assert!(!is_for(&Digest::of(b"2"), &good, &key));
        // An attestation by the same key says something else about the artifact.
        let mut attestation = statement(&digest);
        attestation["predicateType"] = "https://slsa.dev/provenance/v1".into();
        assert!(!is_for(&digest, &bundle(PAYLOAD_TYPE, &attestation), &key));
        assert!(!is_for(
            &digest,
            &bundle("text/plain", &statement(&digest)),
            &key
        ));
        let mut twice: Value = serde_json::from_slice(&good).unwrap();
        let one = twice["dsseEnvelope"]["signatures"][0].clone();
        twice["dsseEnvelope"]["signatures"] = json!([one, one]);
        assert!(!is_for(&digest, twice.to_string().as_bytes(), &key));
        assert!(!is_for(&digest, b"{}", &key));
    }

    #[test]
    fn a_bundle_has_a_version() {
        assert!(is_bundle("application/vnd.dev.sigstore.bundle.v0.3+json"));
        assert!(is_bundle(
            "application/vnd.dev.sigstore.bundle+json;version=0.2"
        ));
        assert!(!is_bundle("application/vnd.dev.sigstore.bundles"));
        assert!(!is_bundle("application/json"));
    }
}
