//! What is asked of the API server, with outcomes of pulls as the registry would give them.

use super::*;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Mutex};

/// The requests: method, path, body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

struct Given {
    asked: Asked,
    artifacts: Artifacts,
    stores: Stores,
}

fn reference() -> String {
    format!("127.0.0.1:1/base@sha256:{}", "a".repeat(64))
}

fn name() -> String {
    format!("oci-{}", "a".repeat(64))
}

async fn answer(asked: Asked, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let path = parts.uri.path().rsplit('/').next().unwrap().to_owned();
    let seen = (parts.method.to_string(), path, body);
    asked.lock().unwrap().push(seen);
    let object = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"name": "x"}, "spec": {}});
    Ok(Response::new(Body::from(object.to_string().into_bytes())))
}

impl Given {
    /// The controller with one registry, which nobody serves.
    fn new() -> Given {
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request| answer(Arc::clone(&log), request));
        let registries = vec!["http://127.0.0.1:1".parse().unwrap()];
        let settings = Settings::new(registries, Files::default()).unwrap();
        let metrics = ControllerMetrics::register(&mut Registry::default());
        let client = Client::new(service, "default");
        Given {
            asked,
            artifacts: Artifacts::new(client, settings, metrics),
            stores: Stores::default(),
        }
    }

    fn profiles(&self, profiles: impl IntoIterator<Item = Profile>) {
        let items = profiles
            .into_iter()
            .map(|profile| (profile.name.clone(), Arc::new(profile)));
        self.stores.profiles.fill(items);
    }

    fn outcome(&mut self, result: Result<SeccompProfileSpec, PullError>) {
        self.artifacts.record(&self.stores, (name(), result));
    }

    /// What a pass asks for.
    async fn pass(&mut self) -> Vec<(String, String, Value)> {
        self.artifacts.pass(&self.stores).await;
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn top() -> Profile {
    let base = format!("oci://{}", reference());
    Profile::of("top", &json!({"baseProfileName": base}))
}

fn made(spec: &Value) -> Profile {
    let mut profile = Profile::of(&name(), spec);
    profile.is_artifact = true;
    profile
}

fn says(spec: &Value) -> SeccompProfileSpec {
    serde_json::from_value(spec.clone()).unwrap()
}

#[tokio::test]
async fn a_pulled_artifact_becomes_a_marked_profile_once_and_an_edit_is_overwritten() {
    let mut given = Given::new();
    given.profiles([top()]);
    given.outcome(Ok(says(&json!({"allow": ["mkdir"]}))));
    let asked = given.pass().await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (method, path, body) = &asked[0];
    assert_eq!(
        (method.as_str(), path.as_str()),
        ("POST", "seccompprofiles")
    );
    assert_eq!(body["metadata"]["name"], name());
    assert_eq!(body["metadata"]["labels"]["portcullis.dev/source"], "oci");
    let mark = &body["metadata"]["annotations"]["portcullis.dev/artifact"];
    assert_eq!(*mark, reference());
    assert_eq!(body["spec"]["allow"], json!(["mkdir"]));

    // As the API server stores it, with defaults.
    let stored = json!({"allow": ["mkdir"], "defaultAction": "SCMP_ACT_ERRNO", "state": "Enabled"});
    given.profiles([top(), made(&stored)]);
    assert!(given.pass().await.is_empty());

    given.profiles([top(), made(&json!({"allow": ["mount"], "flags": []}))]);
    let asked = given.pass().await;
    let (method, path, body) = &asked[0];
    assert_eq!((method.as_str(), path.as_str()), ("PATCH", name().as_str()));
    assert_eq!(body["spec"]["allow"], json!(["mkdir"]));
    assert_eq!(body["spec"].get("flags"), Some(&Value::Null));
}

#[tokio::test]
async fn a_profile_stays_while_its_registry_is_down_and_goes_if_the_artifact_is_refused() {
    let mut given = Given::new();
    given.profiles([top(), made(&json!({"allow": ["mkdir"]}))]);
    let late = ArtifactError::Connection {
        host: "127.0.0.1:1".to_owned(),
        error: "refused".to_owned(),
    };
    given.outcome(Err(late.into()));
    assert!(given.pass().await.is_empty());
    let problems = given.stores.artifacts.snapshot();
    assert_eq!(&*problems[&name()], "127.0.0.1:1: refused");

    given.outcome(Err(ArtifactError::NotSigned.into()));
    let asked = given.pass().await;
    assert_eq!((asked[0].0.as_str(), &asked[0].1), ("DELETE", &name()));
    let foreign = Profile::of(&name(), &json!({"allow": ["mkdir"]}));
    given.profiles([top(), foreign]);
    assert!(given.pass().await.is_empty(), "it is not ours");
}

#[tokio::test]
async fn a_profile_that_nothing_names_goes_and_so_does_what_was_said_about_it() {
    let mut given = Given::new();
    given.profiles([top()]);
    given.outcome(Err(ArtifactError::NotFound.into()));
    given.pass().await;
    assert!(!given.stores.artifacts.snapshot().is_empty());
    let foreign = Profile::of(&format!("oci-{}", "b".repeat(64)), &json!({}));
    given.profiles([made(&json!({"allow": ["mkdir"]})), foreign]);
    let asked = given.pass().await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((asked[0].0.as_str(), &asked[0].1), ("DELETE", &name()));
    assert!(given.stores.artifacts.snapshot().is_empty());
}

#[tokio::test]
async fn a_failed_pull_is_tried_again_later_and_an_unlisted_registry_is_not_asked() {
    let mut given = Given::new();
    let base = format!("oci://example.com/base@sha256:{}", "a".repeat(64));
    given.profiles([Profile::of("top", &json!({"baseProfileName": base}))]);
    given.artifacts.pass(&given.stores).await;
    let outcome = given.artifacts.pulls.next().await.unwrap();
    given.artifacts.record(&given.stores, outcome);
    let problems = given.stores.artifacts.snapshot();
    let problem = &problems[&name()];
    assert!(problem.contains("example.com/base is in none"), "{problem}");
    let next = given.artifacts.pass(&given.stores).await;
    assert!(next.unwrap() > Instant::now());
    assert!(given.artifacts.pulls.is_empty());
}
