//! The writer against an API server in memory, in paused time: waiting costs nothing.

use super::*;
use crate::kube::metrics::exposition;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::time::{sleep, timeout};

/// What becomes of the next writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    Refuses,
    IsSilent,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    node: Option<String>,
    report: Option<Value>,
    writes: usize,
}

/// An API server that knows the Node `n1` and its `SeccompNode`.
#[derive(Clone)]
struct Api(Arc<Mutex<State>>);

impl Api {
    fn new() -> Api {
        Api(Arc::new(Mutex::new(State {
            mood: Mood::Takes,
            node: Some("uid-1".to_owned()),
            report: None,
            writes: 0,
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| api.clone().answer(request));
        Client::new(service, "default")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mood = self.with(|state| state.mood);
        let answer = match (parts.method, parts.uri.path()) {
            (Method::GET, "/api/v1/nodes/n1") => self.with(|state| {
                let uid = state.node.clone()?;
                Some(json!({"metadata": {"name": "n1", "uid": uid}}))
            }),
            (Method::GET, "/apis/portcullis.dev/v1alpha1/seccompnodes/n1") => {
                self.with(|state| state.report.clone())
            }
            (Method::PATCH, "/apis/portcullis.dev/v1alpha1/seccompnodes/n1") => {
                self.with(|state| state.writes += 1);
                match mood {
                    Mood::Takes => self.with(|state| {
                        let mut report: Value = serde_json::from_slice(&body).unwrap();
                        report["metadata"]["generation"] = json!(state.writes);
                        state.report = Some(report.clone());
                        Some(report)
                    }),
                    Mood::Refuses => return Ok(failure(StatusCode::INTERNAL_SERVER_ERROR)),
                    Mood::IsSilent => futures::future::pending().await,
                }
            }
            other => panic!("nobody should ask for {other:?}"),
        };
        Ok(match answer {
            Some(value) => Response::new(Body::from(value.to_string().into_bytes())),
            None => failure(StatusCode::NOT_FOUND),
        })
    }

    /// Waits until the API server has this.
    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        for _ in 0..3600 {
            if self.with(|state| holds(state)) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("not within six minutes: {what}: {:?}", self.0);
    }
}

fn failure(code: StatusCode) -> Response<Body> {
    let status =
        json!({"status": "Failure", "message": "no", "reason": "No", "code": code.as_u16()});
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = code;
    response
}

fn report(count: u64) -> SeccompNodeSpec {
    SeccompNodeSpec {
        count,
        ..SeccompNodeSpec::default()
    }
}

fn has(state: &State, count: u64, owner: &str) -> bool {
    state.report.as_ref().is_some_and(|report| {
        report["spec"]["count"] == count
            && report["metadata"]["ownerReferences"][0]["uid"] == owner
            && report["metadata"]["ownerReferences"][0]["kind"] == "Node"
    })
}

/// Within ten seconds.
async fn soon(event: impl Future<Output = ()>) {
    let time = Duration::from_secs(10);
    assert!(timeout(time, event).await.is_ok(), "not within {time:?}");
}

/// Runs the writer beside a course of events; gives its metrics.
async fn beside<F: Future<Output = ()>>(
    api: &Api,
    course: impl FnOnce(watch::Sender<Option<SeccompNodeSpec>>) -> F,
) -> String {
    let mut registry = Registry::default();
    let metrics = AgentMetrics::register(&mut registry);
    let (send, receive) = watch::channel(None);
    let writer = Writer::new(api.client(), "n1", &metrics);
    tokio::join!(writer.run(receive), course(send));
    exposition(&registry)
}

fn counts(metrics: &str, result: &str, count: u64) {
    let line = format!("portcullis_agent_reports_total{{result=\"{result}\"}} {count}\n");
    assert!(metrics.contains(&line), "{line} is not in {metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_report_belongs_to_its_node_and_the_same_again_is_not_written() {
    let api = Api::new();
    let metrics = beside(&api, async |reports| {
        sleep(Duration::from_secs(5)).await;
        assert_eq!(api.with(|state| state.writes), 0, "there was no report yet");
        reports.send_replace(Some(report(1)));
        api.until("a report", |state| has(state, 1, "uid-1")).await;
        reports.send_replace(Some(report(1)));
        sleep(Duration::from_secs(300)).await;
        assert_eq!(api.with(|state| state.writes), 1);
        reports.send_replace(Some(report(2)));
        api.until("another", |state| has(state, 2, "uid-1")).await;
    })
    .await;
    counts(&metrics, "written", 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again_until_it_is_taken() {
    let api = Api::new();
    let metrics = beside(&api, async |reports| {
        api.with(|state| state.mood = Mood::Refuses);
        reports.send_replace(Some(report(1)));
        api.until("three tries", |state| state.writes == 3).await;
        api.with(|state| state.mood = Mood::IsSilent);
        api.until("a fourth", |state| state.writes == 4).await;
        api.with(|state| state.mood = Mood::Takes);
        api.until("a report", |state| has(state, 1, "uid-1")).await;
    })
    .await;
    counts(&metrics, "written", 1);
    counts(&metrics, "failed", 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_has_its_report_again() {
    let api = Api::new();
    beside(&api, async |reports| {
        reports.send_replace(Some(report(1)));
        api.until("a report", |state| has(state, 1, "uid-1")).await;
        api.with(|state| {
            state.node = None;
            state.report = None;
        });
        // Without the Node there is nobody whose report it would be.
        sleep(Duration::from_secs(200)).await;
        assert!(api.with(|state| state.report.is_none()));
        api.with(|state| state.node = Some("uid-2".to_owned()));
        soon(api.until("its report", |state| has(state, 1, "uid-2"))).await;
    })
    .await;
}

/// The Node is another one before its report was collected, and new reports keep coming.
#[tokio::test(start_paused = true)]
async fn a_report_follows_its_node_however_often_there_are_new_ones() {
    let api = Api::new();
    beside(&api, async |reports| {
        reports.send_replace(Some(report(1)));
        api.until("a report", |state| has(state, 1, "uid-1")).await;
        api.with(|state| state.node = Some("uid-2".to_owned()));
        let changes = async {
            loop {
                sleep(Duration::from_millis(700)).await;
                // Nothing that would be written.
                reports.send_replace(Some(report(1)));
            }
        };
        tokio::select! {
            () = changes => {}
            () = soon(api.until("its report", |state| has(state, 1, "uid-2"))) => {}
        }
        api.with(|state| state.node = Some("uid-3".to_owned()));
        reports.send_replace(Some(report(3)));
        api.until("of the Node that is there", |state| has(state, 3, "uid-3"))
            .await;
        assert_eq!(api.with(|state| state.writes), 3, "never for another one");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_report_that_somebody_changed_is_written_anew() {
    let api = Api::new();
    beside(&api, async |reports| {
        reports.send_replace(Some(report(1)));
        api.until("a report", |state| has(state, 1, "uid-1")).await;
        let changes: [fn(&mut Value); 3] = [
            |report| {
                report["spec"] = json!({"count": 9});
                report["metadata"]["generation"] = json!(99);
            },
            |report| report["metadata"]["ownerReferences"] = json!(null),
            |report| {
                report["spec"] = json!("not a report");
                report["metadata"]["uid"] = json!("another");
            },
        ];
        for change in changes {
            api.with(|state| change(state.report.as_mut().unwrap()));
            api.until("the right one", |state| has(state, 1, "uid-1"))
                .await;
        }
    })
    .await;
}
