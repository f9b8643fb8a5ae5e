//! Who gets to see credentials and tokens: the registry, and whom it names for tokens.

use crate::server::{Answer, Server, artifact, ok, says};
use portcullis_artifact::{ArtifactError, Credentials, Digest, Reference};
use std::fs;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What is shown of the user's name and password, and of the token.
const BASIC: &str = "authorization: Basic dXNlcjpzZWNyZXQ=";
const BEARER: &str = "authorization: Bearer the-token";

/// The credentials of a user for a registry, from a file.
fn credentials(registry: &Server) -> Option<Credentials> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.json");
    let at = &registry.at;
    fs::write(
        &path,
        format!(r#"{{"auths": {{"{at}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#),
    )
    .unwrap();
    let reference: Reference = format!("{at}/web").parse().unwrap();
    Credentials::from_file(&path, &reference.repository).unwrap()
}

fn token() -> String {
    ok("application/json", r#"{"token": "the-token"}"#)
}

fn challenge(text: &str) -> String {
    says("401 Unauthorized", &[("WWW-Authenticate", text)], "")
}

fn redirect(to: &str) -> String {
    says("307 Temporary Redirect", &[("Location", to)], "")
}

fn refused(error: &ArtifactError, status: u16) -> bool {
    matches!(error, ArtifactError::Refused { status: is, .. } if is.as_u16() == status)
}

/// Whether a request shows this.
fn shows(request: &str, header: &str) -> bool {
    request
        .lines()
        .any(|line| line.eq_ignore_ascii_case(header))
}

fn shows_anything(request: &str) -> bool {
    request.to_lowercase().contains("\nauthorization:")
}

/// A registry that wants to see a token from this realm (`{own}` is the registry), and sends its blobs
/// from there.
async fn registry(realm: &str, blobs: Option<String>) -> Server {
    let realm = realm.to_owned();
    Server::with_own_address(move |own, request| {
        let realm = realm.replace("{own}", own);
        let (text, manifest) = artifact();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let answer = if path.starts_with("/token?") {
            if shows(request, BASIC) {
                token()
            } else {
                challenge("Basic realm=\"tokens\"")
            }
        } else if !shows(request, BEARER) {
            challenge(&format!(
                "Bearer realm=\"{realm}\",service=\"own service\",scope=\"x\""
            ))
        } else if path.contains("/manifests/") {
            ok(MANIFEST, &manifest)
        } else if let Some(to) = &blobs {
            redirect(to)
        } else {
            ok("application/json", &text)
        };
        Answer::Whole(answer)
    })
    .await
}

/// A server that says the same to everybody.
async fn always(answer: String) -> Server {
    Server::start(move |_| Answer::Whole(answer.clone())).await
}

#[tokio::test]
async fn a_token_is_got_for_credentials_and_shown_to_the_registry_alone() {
    let registry = registry("http://{own}/token", None).await;
    registry
        .pull_as(credentials(&registry), None)
        .await
        .unwrap();
    let asked = registry.asked_for("GET /token?");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let query = "service=own%20service&scope=repository:web:pull ";
    assert!(asked[0].contains(query), "{}", asked[0]);
    // The first request finds out; the token then does for the others.
    let asked = registry.asked_for("GET /v2/");
    let shown: Vec<bool> = asked.iter().map(|it| shows(it, BEARER)).collect();
    assert_eq!(shown, [false, true, true]);
    assert!(asked.iter().all(|request| !shows(request, BASIC)));

    let error = registry.pull_as(None, None).await.unwrap_err();
    assert!(refused(&error, 401), "{error}");
    assert!(error.to_string().contains("a token"), "{error}");
}

#[tokio::test]
async fn without_tls_another_host_gets_no_credentials_for_a_token() {
    let elsewhere = always(token()).await;
    let registry = registry(&format!("http://{}/token", elsewhere.at), None).await;
    let error = registry.pull_as(credentials(&registry), None).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ArtifactError::Realm { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&elsewhere.at) && text.contains("without TLS"),
        "{text}"
    );
    assert_eq!(elsewhere.asked(), 0);
    // A token for everybody is no secret.
    registry.pull_as(None, None).await.unwrap();
    assert_eq!(elsewhere.asked(), 1);
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_neither_token_nor_password() {
    let (text, _) = artifact();
    let storage = always(ok("application/json", &text)).await;
    let to = format!("http://{}/somewhere?signature=x", storage.at);
    let registry = registry("http://{own}/token", Some(to.clone())).await;
    registry
        .pull_as(credentials(&registry), None)
        .await
        .unwrap();
    let blob = format!("GET /v2/web/blobs/{} ", Digest::of(text.as_bytes()));
    let asked = registry.asked_for(&blob);
    assert_eq!(asked.len(), 1);
    assert!(shows(&asked[0], BEARER));
    let asked = storage.asked_for("GET /somewhere?signature=x ");
    assert_eq!(asked.len(), 1);
    assert!(!shows_anything(&asked[0]), "{}", asked[0]);

    // The same with a password.
    let (_, manifest) = artifact();
    let basic = Server::with_own_address(move |_, request| {
        Answer::Whole(if !shows(request, BASIC) {
            challenge("Basic realm=\"registry\"")
        } else if request.contains("/manifests/") {
            ok(MANIFEST, &manifest)
        } else {
            redirect(&to)
        })
    })
    .await;
    basic.pull_as(credentials(&basic), None).await.unwrap();
    let asked = storage.asked_for("GET /");
    assert_eq!(asked.len(), 2);
    assert!(!shows_anything(&asked[1]), "{}", asked[1]);
}

#[tokio::test]
async fn whom_a_registry_redirects_to_names_no_realm() {
    let thief = always(token()).await;
    let realm = format!("http://{}/token", thief.at);
    for wanted in [
        format!("Bearer realm=\"{realm}\""),
        "Basic realm=\"x\"".to_owned(),
    ] {
        let storage = always(challenge(&wanted)).await;
        let to = format!("http://{}/", storage.at);
        let registry = registry("http://{own}/token", Some(to)).await;
        let error = registry.pull_as(credentials(&registry), None).await;
        let error = error.unwrap_err();
        assert!(refused(&error, 401), "{error}");
        assert_eq!((thief.asked(), storage.asked()), (0, 1));
        assert!(!shows_anything(&storage.asked_for("GET /")[0]));
    }
}

#[tokio::test]
async fn a_server_of_tokens_that_redirects_takes_no_password_along() {
    let thief = always(token()).await;
    let to = format!("http://{}/token", thief.at);
    let registry = Server::with_own_address(move |own, request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        Answer::Whole(if path.starts_with("/token?") {
            redirect(&to)
        } else {
            challenge(&format!("Bearer realm=\"http://{own}/token\""))
        })
    })
    .await;
    registry
        .pull_as(credentials(&registry), None)
        .await
        .unwrap_err();
    assert_eq!(registry.asked_for("GET /token?").len(), 1);
    let asked = thief.asked_for("GET /token ");
    assert_eq!(asked.len(), 1);
    assert!(!shows_anything(&asked[0]), "{}", asked[0]);
}
