//! Looking for signatures in a registry where some of them, or the lists of them, are broken.

use crate::server::{Answer, KEY, Server, artifact, ok, says};
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_artifact::{ArtifactError, Digest, PublicKey};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The private half of the server's key, and of another.
const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIO21AIPUlKKXhyw+7DUEIRReqPGPGHc8YwTpz5Vv+V9R";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

fn sign(message: &[u8]) -> String {
    let der = BASE64_STANDARD.decode(PRIVATE).unwrap();
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    BASE64_STANDARD.encode(key.sign(message))
}

fn descriptor(kind: &str, bytes: &str) -> Value {
    let digest = Digest::of(bytes.as_bytes()).to_string();
    json!({"mediaType": kind, "size": bytes.len(), "digest": digest})
}

/// A registry with one artifact, and with what a test adds.
struct Given {
    answers: BTreeMap<String, String>,
    digest: Digest,
}

impl Given {
    fn new() -> Given {
        let (text, manifest) = artifact();
        let mut given = Given {
            answers: BTreeMap::new(),
            digest: Digest::of(manifest.as_bytes()),
        };
        given.blob(&text);
        given.answer("manifests/1", ok(MANIFEST, &manifest));
        given
    }

    fn answer(&mut self, path: &str, answer: String) {
        self.answers.insert(format!("/v2/web/{path}"), answer);
    }

    fn blob(&mut self, text: &str) {
        let path = format!("blobs/{}", Digest::of(text.as_bytes()));
        self.answer(&path, ok("application/octet-stream", text));
    }

    /// Adds a manifest; gives its descriptor.
    fn manifest(&mut self, text: &str) -> Value {
        let descriptor = descriptor(MANIFEST, text);
        let path = format!("manifests/{}", Digest::of(text.as_bytes()));
        self.answer(&path, ok(MANIFEST, text));
        descriptor
    }

    /// Adds a manifest with this layer.
    fn referrer(&mut self, layer: &Value) -> Value {
        let config = descriptor("application/vnd.oci.empty.v1+json", "{}");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        self.manifest(&manifest.to_string())
    }

    /// Adds a bundle that signs a digest, and a manifest with it.
    fn bundle(&mut self, digest: &Digest) -> Value {
        let kind = "application/vnd.in-toto+json";
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicate": {},
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "subject": [{"digest": {"sha256": digest.hex()}}]});
        let statement = statement.to_string();
        let (kind_length, length) = (kind.len(), statement.len());
        let made = sign(format!("DSSEv1 {kind_length} {kind} {length} {statement}").as_bytes());
        let bundle = json!({"mediaType": BUNDLE, "dsseEnvelope": {"payloadType": kind,
            "payload": BASE64_STANDARD.encode(statement), "signatures": [{"sig": made}]}});
        let bundle = bundle.to_string();
        self.blob(&bundle);
        self.referrer(&descriptor(BUNDLE, &bundle))
    }

    /// Adds the payload of a good signature; gives the layer with it.
    fn simple(&mut self) -> Value {
        let payload = json!({"critical": {"type": "cosign container image signature",
            "identity": {"docker-reference": "web"},
            "image": {"docker-manifest-digest": self.digest.to_string()}}});
        let payload = payload.to_string();
        self.blob(&payload);
        let mut layer = descriptor(SIMPLE, &payload);
        let annotation = json!({"dev.cosignproject.cosign/signature": sign(payload.as_bytes())});
        layer["annotations"] = annotation;
        layer
    }

    fn good(&mut self) -> Value {
        let digest = self.digest;
        self.bundle(&digest)
    }

    /// The path of the registry's own list.
    fn list(&self) -> String {
        format!("referrers/{}", self.digest)
    }

    /// The path of the list that clients keep.
    fn tag(&self) -> String {
        format!("manifests/sha256-{}", self.digest.hex())
    }

    fn lists(&mut self, referrers: &[Value]) {
        let path = self.list();
        self.answer(&path, ok(INDEX, &index(referrers)));
    }

    async fn serve(&self) -> Server {
        let answers = self.answers.clone();
        let missing = says("404 Not Found", &[], "");
        Server::start(move |path| Answer::Whole(answers.get(path).unwrap_or(&missing).clone()))
            .await
    }

    /// Why nothing can be pulled, if so.
    async fn refusal(&self) -> Option<ArtifactError> {
        let key = PublicKey::from_pem(KEY.as_bytes()).unwrap();
        self.serve().await.pull_as(None, Some(&key)).await.err()
    }

    async fn accepts(&self) {
        let refusal = self.refusal().await.map(|error| error.to_string());
        assert_eq!(refusal, None);
    }

    /// Refused, with a reason in one line.
    async fn refuses(&self, reason: &str, is_refusal: bool) {
        let error = self.refusal().await.unwrap();
        let text = error.to_string();
        assert!(text.contains(reason), "{reason:?}: {text}");
        assert!(!text.contains('\n') && text.len() < 4000, "{text}");
        assert_eq!(error.is_refusal(), is_refusal, "{text}");
    }
}

fn index(manifests: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string()
}

type Broken = (&'static str, fn(&mut Given) -> Value, &'static str, bool);

/// Referrers that can't be read: how they are added, the reason, and whether it is the artifact's fault.
const BROKEN: &[Broken] = &[
    (
        "missing",
        |_| descriptor(MANIFEST, "missing"),
        "there is no such artifact",
        false,
    ),
    (
        "refused",
        |given| {
            let path = format!("manifests/{}", Digest::of(b"refused"));
            given.answer(&path, says("500 Internal Server Error", &[], ""));
            descriptor(MANIFEST, "refused")
        },
        "refused the manifest: 500",
        false,
    ),
    (
        "malformed",
        |given| given.manifest("{\n"),
        "its manifest can't be parsed",
        true,
    ),
    (
        "an index",
        |given| given.manifest(&index(&[])),
        "an index in an index",
        true,
    ),
    (
        "another",
        |given| {
            let path = format!("manifests/{}", Digest::of(b"another"));
            given.answer(&path, ok(MANIFEST, "{}"));
            descriptor(MANIFEST, "another")
        },
        "was tampered with",
        true,
    ),
    (
        "too large",
        |given| given.manifest(&" ".repeat(1_100_000)),
        "has more than 1048576 bytes",
        true,
    ),
    (
        "without its bundle",
        |given| given.referrer(&descriptor(BUNDLE, "missing")),
        "refused a signature: 404",
        false,
    ),
    (
        "with another bundle",
        |given| {
            let path = format!("blobs/{}", Digest::of(b"bundle"));
            given.answer(&path, ok(BUNDLE, "{}"));
            given.referrer(&descriptor(BUNDLE, "bundle"))
        },
        "a signature was tampered with",
        true,
    ),
    (
        "with a bundle that is too large",
        |given| {
            let bundle = " ".repeat(70_000);
            given.blob(&bundle);
            given.referrer(&descriptor(BUNDLE, &bundle))
        },
        "has more than 65536 bytes",
        true,
    ),
    (
        "with a bundle that is larger than it says",
        |given| {
            let bundle = " ".repeat(70_000);
            given.blob(&bundle);
            let mut layer = descriptor(BUNDLE, &bundle);
            layer["size"] = json!(1);
            given.referrer(&layer)
        },
        "has more than 65536 bytes",
        true,
    ),
    (
        "with another kind of digest",
        |_| json!({"mediaType": MANIFEST, "size": 1, "digest": "sha512:\n00"}),
        "a digest is `sha256:`",
        true,
    ),
    (
        "no descriptor",
        |_| json!({"digest": 7}),
        "an entry is not valid",
        true,
    ),
];

#[tokio::test]
async fn a_broken_referrer_hides_no_good_signature_and_is_named_if_there_is_none() {
    for (name, add, reason, is_refusal) in BROKEN {
        println!("{name}");
        let mut given = Given::new();
        let broken = add(&mut given);
        given.lists(std::slice::from_ref(&broken));
        given.refuses(reason, *is_refusal).await;
        given
            .refuses("no signature can be read: ", *is_refusal)
            .await;
        let foreign = given.bundle(&Digest::of(b"another artifact"));
        given.lists(&[broken.clone(), foreign.clone()]);
        given.refuses("none of its 1 signatures", *is_refusal).await;
        given.refuses(reason, *is_refusal).await;
        let good = given.good();
        given.lists(&[broken, foreign, good]);
        given.accepts().await;
    }
}

#[tokio::test]
async fn many_reasons_are_one_line_with_an_end() {
    let mut given = Given::new();
    let mut all: Vec<Value> = BROKEN.iter().map(|(_, add, ..)| add(&mut given)).collect();
    given.lists(&all);
    let rest = format!("; and {} more", BROKEN.len() - 8);
    given.refuses(&rest, false).await;
    for (name, _, reason, _) in &BROKEN[..7] {
        println!("{name}");
        given.refuses(reason, false).await;
    }
    all.push(given.good());
    given.lists(&all);
    given.accepts().await;
}

#[tokio::test]
async fn what_is_no_bundle_is_no_signature_and_no_problem() {
    let mut given = Given::new();
    let other = given.referrer(&descriptor("text/plain", "other"));
    let mut attestation = descriptor(MANIFEST, "attestation");
    attestation["artifactType"] = json!("application/vnd.in-toto+json");
    let mut listed = vec![attestation; 100];
    listed.push(other);
    given.lists(&listed);
    given.refuses("it is not signed", true).await;
    listed.push(given.good());
    given.lists(&listed);
    given.accepts().await;
}

#[tokio::test]
async fn a_registry_without_lists_of_referrers_has_them_in_a_tag() {
    let html = ok("text/html", "<p>");
    for answer in [
        says("404 Not Found", &[], ""),
        says("400 Bad Request", &[], ""),
        says("405 Method Not Allowed", &[], ""),
        says("406 Not Acceptable", &[], ""),
        says("410 Gone", &[], ""),
        says("501 Not Implemented", &[], ""),
        html,
    ] {
        let mut given = Given::new();
        let (list, tag) = (given.list(), given.tag());
        given.answer(&list, answer);
        given.refuses("it is not signed", true).await;
        let good = given.good();
        given.answer(&tag, ok(INDEX, &index(&[good])));
        given.accepts().await;
    }
}

#[tokio::test]
async fn a_registry_that_does_not_give_its_list_is_named_unless_the_tag_has_a_good_signature() {
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ] {
        let mut given = Given::new();
        let (list, tag) = (given.list(), given.tag());
        given.answer(&list, says(status, &[], ""));
        let reason = format!("refused their list: {status}");
        given.refuses(&reason, false).await;
        let good = given.good();
        given.answer(&tag, ok(INDEX, &index(&[good])));
        given.accepts().await;
    }
}

#[tokio::test]
async fn a_list_that_can_not_be_read_is_named() {
    let mut given = Given::new();
    let list = given.list();
    for (body, reason, is_refusal) in [
        ("{", "the list of referrers: it can't be parsed", true),
        (
            &" ".repeat(1_100_000),
            "the referrers: their list has more than",
            true,
        ),
    ] {
        given.answer(&list, ok(INDEX, body));
        given.refuses(reason, is_refusal).await;
    }
    let kind = format!("{INDEX}; charset=utf-8");
    let link = "</v2/web/referrers/x?n=1>; rel=\"next\"";
    let headers = [("Content-Type", kind.as_str()), ("Link", link)];
    given.answer(&list, says("200 OK", &headers, &index(&[])));
    given.refuses("only the first page", false).await;
}

#[tokio::test]
async fn no_more_than_64_referrers_are_asked_for() {
    let mut given = Given::new();
    let listed: Vec<Value> = (0..100)
        .map(|number: u32| given.bundle(&Digest::of(&number.to_be_bytes())))
        .collect();
    given.lists(&listed);
    given.refuses("none of its 64 signatures", false).await;
    given.refuses("only 64 of 100 referrers", false).await;
    let registry = given.serve().await;
    registry.pull(true).await;
    let asked = registry.asked_for("GET /v2/web/manifests/sha256:");
    assert_eq!(asked.len(), 64);
}

#[tokio::test]
async fn a_broken_signature_beside_the_artifact_hides_no_good_one() {
    let tag = |given: &Given| format!("{}.sig", given.tag());
    let manifest = |layers: &[Value]| {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "{}");
        json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string()
    };
    let mut given = Given::new();
    let mut missing = descriptor(SIMPLE, "missing");
    missing["annotations"] = json!({"dev.cosignproject.cosign/signature": "AAAA"});
    let path = tag(&given);
    given.answer(
        &path,
        ok(MANIFEST, &manifest(std::slice::from_ref(&missing))),
    );
    given.refuses("refused a signature: 404", false).await;
    let good = given.simple();
    given.answer(&path, ok(MANIFEST, &manifest(&[missing, good])));
    given.accepts().await;

    for (broken, reason) in [
        ("{".to_owned(), "its manifest can't be parsed"),
        (index(&[]), "it is an index instead of"),
    ] {
        let mut given = Given::new();
        given.answer(&path, ok(MANIFEST, &broken));
        given.refuses(reason, true).await;
        given.refuses(".sig: ", true).await;
        let good = given.good();
        given.lists(&[good]);
        given.accepts().await;
    }
}
