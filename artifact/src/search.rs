//! Looking for a good signature of an artifact: cosign's simple signing in a tag beside it, then bundles
//! that refer to it. What can't be read hides nothing that can; it is reported if nothing good is found.

use crate::{
    ArtifactError, Digest, PublicKey, bundle,
    layout::{self, Descriptor},
    signature,
    transfer::{Remote, digest_of},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// The largest payload of a signature, and the largest bundle.
const MAX_PAYLOAD: usize = 64 * 1024;
/// How many referrers are looked at.
const MAX_REFERRERS: usize = 64;
/// How many problems are reported, and how many characters of each.
const MAX_PROBLEMS: usize = 8;
const MAX_PROBLEM: usize = 300;

impl Remote<'_> {
    /// Checks that a digest is signed with a key.
    pub(crate) async fn check_signature(
        &self,
        digest: &Digest,
        key: &PublicKey,
    ) -> Result<(), ArtifactError> {
        let mut search = Search {
            remote: self,
            digest,
            key,
            seen: 0,
            problems: Vec::new(),
            is_refusal: true,
        };
        if search.in_tag().await || search.in_referrers().await {
            return Ok(());
        }
        Err(search.failed())
    }
}

struct Search<'a> {
    remote: &'a Remote<'a>,
    digest: &'a Digest,
    key: &'a PublicKey,
    /// How many signatures were read.
    seen: usize,
    problems: Vec<String>,
    /// Whether the artifact itself is at fault with each problem.
    is_refusal: bool,
}

impl Search<'_> {
    /// Whether there is a good signature in the tag beside the artifact.
    async fn in_tag(&mut self) -> bool {
        let manifest = match self.remote.signatures(self.digest).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return false,
            Err(error) => {
                let place = signature::place(&self.remote.reference.repository, self.digest);
                self.problem(&format!("the tag {}", place.wanted()), &error);
                return false;
            }
        };
        for layer in &manifest.layers {
            if layer.media_type != signature::PAYLOAD {
                continue;
            }
            let text = layer.annotations.get(signature::ANNOTATION);
            let Some(made) = text.and_then(|text| BASE64_STANDARD.decode(text).ok()) else {
                self.seen += 1;
                continue;
            };
            match self.remote.layer(layer, MAX_PAYLOAD, "a signature").await {
                Ok(payload) if signature::is_for(self.digest, &payload, &made, self.key) => {
                    return true;
                }
                Ok(_) => self.seen += 1,
                Err(error) => self.problem(&format!("the signature {}", layer.digest), &error),
            }
        }
        false
    }

    /// Whether a bundle that refers to the artifact is a good signature.
    async fn in_referrers(&mut self) -> bool {
        for referrer in self.referrers().await {
            match self.bundle(&referrer).await {
                Ok(None) => {}
                Ok(Some(text)) if bundle::is_for(self.digest, &text, self.key) => return true,
                Ok(Some(_)) => self.seen += 1,
                Err(error) => self.problem(&format!("the referrer {}", referrer.digest), &error),
            }
        }
        false
    }

    /// What may be a bundle of what refers to the artifact.
    async fn referrers(&mut self) -> Vec<Descriptor> {
        #[derive(Deserialize)]
        struct List {
            manifests: Vec<Value>,
        }
        let list = "the list of referrers";
        let Some(bytes) = self.list().await else {
            return Vec::new();
        };
        let mut found = match serde_json::from_slice::<List>(&bytes) {
            Ok(list) => list.manifests,
            Err(error) => {
                let error = ArtifactError::Layout(format!("it can't be parsed: {error}"));
                self.problem(list, &error);
                return Vec::new();
            }
        };
        // A list may leave out what kind they are, and cosign 2.6 repeats the type of the empty
        // configuration there.
        let may_be = |kind: &str| bundle::is_bundle(kind) || kind == layout::EMPTY;
        found.retain(|it| it["artifactType"].as_str().is_none_or(may_be));
        if found.len() > MAX_REFERRERS {
            let count = found.len();
            self.skipped(&format!(
                "only {MAX_REFERRERS} of {count} referrers were looked at"
            ));
            found.truncate(MAX_REFERRERS);
        }
        let mut referrers = Vec::new();
        for it in found {
            match serde_json::from_value(it) {
                Ok(referrer) => referrers.push(referrer),
                Err(error) => {
                    let error = ArtifactError::Layout(format!("an entry is not valid: {error}"));
                    self.problem(list, &error);
                }
            }
        }
        referrers
    }

    /// The list of what refers to the artifact: as the registry keeps it, or as clients keep it in a
    /// tag if the registry does not, or does not answer. Nothing in a list is believed, so it does not
    /// matter who keeps it.
    async fn list(&mut self) -> Option<Bytes> {
        match self.remote.registry.referrers(self.digest).await {
            Ok(None) => {}
            Ok(Some(found)) => {
                if found.goes_on {
                    self.skipped("only the first page of the referrers was looked at");
                }
                return Some(found.list);
            }
            Err(error) => self.problem("the referrers", &error),
        }
        let tag = format!("sha256-{}", self.digest.hex());
        match self.remote.registry.manifest(&tag).await {
            Ok(found) => found,
            Err(error) => {
                self.problem(&format!("the tag {tag}"), &error);
                None
            }
        }
    }

    /// The bundle in a manifest, if it has one.
    async fn bundle(&self, referrer: &Descriptor) -> Result<Option<Bytes>, ArtifactError> {
        let digest = digest_of(referrer)?;
        let manifest = self.remote.manifest_of(&digest).await?;
        let manifest = manifest.ok_or(ArtifactError::NotFound)?;
        let mut layers = manifest.layers.iter();
        let Some(layer) = layers.find(|layer| bundle::is_bundle(&layer.media_type)) else {
            return Ok(None);
        };
        let text = self.remote.layer(layer, MAX_PAYLOAD, "a signature").await?;
        Ok(Some(text))
    }

    fn problem(&mut self, place: &str, error: &ArtifactError) {
        self.is_refusal &= error.is_refusal();
        let text = format!("{place}: {error}");
        let plain = text.chars().filter(|it| !it.is_control());
        self.problems.push(plain.take(MAX_PROBLEM).collect());
    }

    /// Something was not looked at that may be a good signature.
    fn skipped(&mut self, what: &str) {
        self.is_refusal = false;
        self.problems.push(what.to_owned());
    }

    /// Why there is no good signature.
    fn failed(mut self) -> ArtifactError {
        let rest = self.problems.len().saturating_sub(MAX_PROBLEMS);
        self.problems.truncate(MAX_PROBLEMS);
        if rest > 0 {
            self.problems.push(format!("and {rest} more"));
        }
        match self.seen {
            seen if !self.problems.is_empty() => ArtifactError::Unread {
                seen,
                why: self.problems.join("; "),
                is_refusal: self.is_refusal,
            },
            0 => ArtifactError::NotSigned,
            seen => ArtifactError::WrongSignature(seen),
        }
    }
}
