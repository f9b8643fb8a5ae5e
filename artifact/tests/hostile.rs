//! A registry that wants to hold its clients up or fill their memory. Time is virtual: it passes when
//! nobody has anything to do.

#![allow(clippy::unwrap_used)]

use portcullis_artifact::{
    Access, ArtifactError, Digest, Platform, PublicKey, Reference, Remote, Scheme,
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAT7LjXieHXqfm3dK9RC+O50wqVH6BYHr9eA44zB0svxI=\n-----END PUBLIC KEY-----\n";

/// What is answered to a request.
#[derive(Clone)]
enum Answer {
    /// This, at once.
    Whole(String),
    /// This, after a while.
    After(Duration, String),
    /// The first, then the second again and again, with a pause after each.
    Endless(&'static str, &'static str, Duration),
}

/// Serves answers; what was asked for is kept.
struct Hostile {
    at: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hostile {
    async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Hostile { at, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn pull(&self, key: bool) -> ArtifactError {
        let reference: Reference = format!("{}/web:1", self.at).parse().unwrap();
        let access = Access {
            scheme: Scheme::Http,
            ..Access::default()
        };
        let key = key.then(|| PublicKey::from_pem(KEY.as_bytes()).unwrap());
        let remote = Remote::new(&reference, &access).unwrap();
        remote
            .pull(&Platform::host(), key.as_ref())
            .await
            .unwrap_err()
    }
}

/// Answers one request; the connection ends with it.
async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> Answer + Sync),
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    let answer = answer(request.split(' ').nth(1)?);
    log.lock().unwrap().push(request);
    match answer {
        Answer::Whole(text) => stream.write_all(text.as_bytes()).await.ok(),
        Answer::After(pause, text) => {
            sleep(pause).await;
            stream.write_all(text.as_bytes()).await.ok()
        }
        Answer::Endless(head, rest, pause) => {
            stream.write_all(head.as_bytes()).await.ok()?;
            loop {
                stream.write_all(rest.as_bytes()).await.ok()?;
                sleep(pause).await;
            }
        }
    }
}

/// An answer with this body.
fn ok(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const MINUTE: Duration = Duration::from_secs(60);

/// A manifest with this many signatures by nobody.
fn signatures(count: usize) -> String {
    let layer = json!({"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "size": 2,
        "digest": Digest::of(b"{}").to_string(),
        "annotations": {"dev.cosignproject.cosign/signature": "AAAA"}});
    let config = json!({"mediaType": "application/json", "size": 2, "digest": "sha256:0"});
    json!({"schemaVersion": 2, "config": config, "layers": vec![layer; count]}).to_string()
}

fn is_late(error: &ArtifactError) -> bool {
    matches!(error, ArtifactError::Late { .. })
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_is_waited_for_half_a_minute() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let second = Duration::from_secs(1);
    for head in [HEAD, "HTTP/1.1 200 OK\r\nX-Slow: ", ""] {
        let registry = Hostile::start(move |_| Answer::Endless(head, "x", second)).await;
        let before = Instant::now();
        let error = registry.pull(false).await;
        assert!(is_late(&error) || head.is_empty(), "{error}");
        assert!(
            before.elapsed() <= MINUTE,
            "{head:?}: {:?}",
            before.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_and_headers_without_an_end_are_given_up() {
    const LINE: &str = "x: y\r\n";
    for (head, rest) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "some more of the body"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\nmore\r\n",
        ),
        ("HTTP/1.1 200 OK\r\n", LINE),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "some more of the body"),
    ] {
        let registry = Hostile::start(move |_| Answer::Endless(head, rest, Duration::ZERO)).await;
        let error = registry.pull(false).await;
        let is_large = matches!(error, ArtifactError::TooLarge { .. });
        assert!(is_large || rest == LINE, "{error}");
        assert_eq!(registry.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_neither_huge_nor_deep_nor_long() {
    let layers = format!(
        "{{\"schemaVersion\": 2, \"layers\": {}",
        "[".repeat(500_000)
    );
    let many =
        json!({"manifests": vec![json!({"mediaType": MANIFEST, "size": 1, "digest": "x"}); 1000]});
    for (body, says) in [
        (" ".repeat(1_100_000), "the manifest has more than"),
        (layers, "can't be parsed"),
        (many.to_string(), "more than 64"),
        (signatures(1000), "more than 64"),
    ] {
        let registry = Hostile::start(move |_| Answer::Whole(ok(MANIFEST, &body))).await;
        let error = registry.pull(false).await.to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(registry.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_signatures_are_not_looked_at() {
    let registry = Hostile::start(|path| {
        let count = if path.contains("/sha256-") { 1000 } else { 1 };
        Answer::Whole(ok(MANIFEST, &signatures(count)))
    })
    .await;
    let error = registry.pull(true).await.to_string();
    assert!(error.contains("more than 64"), "{error}");
    assert_eq!(registry.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_ends_though_each_answer_comes_in_time() {
    let slow = Duration::from_secs(25);
    let registry = Hostile::start(move |path| {
        let text = if path.contains("/blobs/") {
            ok("application/json", "{}")
        } else {
            ok(MANIFEST, &signatures(60))
        };
        Answer::After(slow, text)
    })
    .await;
    let before = Instant::now();
    let error = registry.pull(true).await;
    assert!(is_late(&error), "{error}");
    assert!(
        before.elapsed() <= 2 * MINUTE + slow,
        "{:?}",
        before.elapsed()
    );
    assert!(registry.asked() <= 6, "{}", registry.asked());
}

#[tokio::test(start_paused = true)]
async fn redirects_have_an_end_and_stay_with_the_scheme() {
    let to = |place: &str| {
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let around = to("/v2/web/manifests/1");
    let registry = Hostile::start(move |_| Answer::Whole(around.clone())).await;
    let error = registry.pull(false).await;
    assert!(matches!(error, ArtifactError::Redirect { .. }), "{error}");
    assert_eq!(registry.asked(), 6);
    let away = to("https://127.0.0.1:1/");
    let registry = Hostile::start(move |_| Answer::Whole(away.clone())).await;
    let error = registry.pull(false).await;
    assert!(matches!(error, ArtifactError::Redirect { .. }), "{error}");
    assert_eq!(registry.asked(), 1);
}
