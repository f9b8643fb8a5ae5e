//! A registry that wants to hold its clients up or fill their memory. Time is virtual: it passes when
//! nobody has anything to do.

use crate::server::{Answer, Server, ok, says};
use portcullis_artifact::{ArtifactError, Digest};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

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
        let registry = Server::start(move |_| Answer::Endless(head, "x", second)).await;
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
        let registry = Server::start(move |_| Answer::Endless(head, rest, Duration::ZERO)).await;
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
        let registry = Server::start(move |_| Answer::Whole(ok(MANIFEST, &body))).await;
        let error = registry.pull(false).await.to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(registry.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_signatures_are_not_looked_at() {
    let registry = Server::start(|path| {
        let count = if path.contains("/sha256-") { 1000 } else { 1 };
        Answer::Whole(ok(MANIFEST, &signatures(count)))
    })
    .await;
    let error = registry.pull(true).await.to_string();
    assert!(error.contains("more than 64"), "{error}");
    // The artifact, the tag with signatures, and the referrers in both places.
    assert_eq!(registry.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_ends_though_each_answer_comes_in_time() {
    let slow = Duration::from_secs(25);
    let registry = Server::start(move |path| {
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
    let to = |place: &str| says("307 Temporary Redirect", &[("Location", place)], "");
    let around = to("/v2/web/manifests/1");
    let registry = Server::start(move |_| Answer::Whole(around.clone())).await;
    let error = registry.pull(false).await;
    assert!(matches!(error, ArtifactError::Redirect { .. }), "{error}");
    assert_eq!(registry.asked(), 6);
    let away = to("https://127.0.0.1:1/");
    let registry = Server::start(move |_| Answer::Whole(away.clone())).await;
    let error = registry.pull(false).await;
    assert!(matches!(error, ArtifactError::Redirect { .. }), "{error}");
    assert_eq!(registry.asked(), 1);
}
