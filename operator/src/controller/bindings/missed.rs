//! Pods that miss the rule of their namespace's annotation: the API server asks the webhook only about
//! namespaces that its configuration names, so that a pod may be created between the annotation and
//! that. It is reported, and never changed. A binding says itself, with `Live`, from when on it holds.

use super::lookup::rules_of;
use crate::{
    admission::{
        evaluate::{Surroundings, mutate},
        review::{Metadata, Pod, PodSpec, Verdict},
        rules::Configuration,
    },
    kube::{
        events::{EventReason, Notice, PodEvents, Publisher},
        metrics::{ControllerMetrics, EventResult},
        request::{RequestError, request},
        stores::{Stores, namespace::Namespace},
    },
};
use k8s_openapi::{
    api::core::v1::{ObjectReference, Pod as Object},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// When to look for pods after a configuration was written: API servers need about a second until it is
/// effective, and the last one to notice may be slow.
const LOOKS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// When to look again after a failure, and how often.
const RETRY: Duration = Duration::from_secs(5);
const RETRIES: u32 = 60;
/// When to try an event again that there was no room for.
const EVENT_RETRY: Duration = Duration::from_secs(1);
/// How many pods are listed at a time.
const PAGE: u32 = 100;

/// How long a controller may need to take the place of another one, that of a lost node included.
const SUCCESSION: SignedDuration = SignedDuration::from_mins(10);

/// Whether a namespace got its annotations so recently that the controller before may have ended without
/// a look at it. What that one reported is reported again.
pub(super) fn is_recent(namespace: &Namespace) -> bool {
    let since = namespace.annotated;
    since.is_some_and(|since| Timestamp::now().duration_since(since) < SUCCESSION)
}

/// A namespace to be looked at.
struct Look {
    namespace: String,
    at: Instant,
    /// The looks that follow.
    then: VecDeque<Instant>,
    /// The UIDs of the pods that were reported.
    reported: BTreeSet<String>,
    retries: u32,
}

/// Looks for such pods, and reports each once.
pub(super) struct Missed<'a> {
    stores: &'a Stores,
    client: Client,
    configuration: Configuration,
    metrics: ControllerMetrics,
    events: PodEvents,
    looks: Vec<Look>,
    /// The events to publish, with their pods, and when to go on with them.
    notices: VecDeque<(String, Notice)>,
    next_notice: Instant,
}

impl<'a> Missed<'a> {
    pub(super) fn new(
        stores: &'a Stores,
        client: Client,
        configuration: Configuration,
        publisher: Publisher,
        metrics: ControllerMetrics,
    ) -> Missed<'a> {
        Missed {
            stores,
            client,
            configuration,
            metrics,
            events: PodEvents::new(Some(publisher)),
            looks: Vec::new(),
            notices: VecDeque::new(),
            next_notice: Instant::now(),
        }
    }

    /// Looks at namespaces that the API server has just been told to ask about, until the future is
    /// dropped.
    pub(super) async fn run(mut self, mut told: mpsc::UnboundedReceiver<String>) {
        loop {
            let look_at = self.looks.iter().map(|look| look.at).min();
            let now = Instant::now();
            tokio::select! {
                Some(namespace) = told.recv() => self.add(namespace),
                () = sleep_until(look_at.unwrap_or(now)), if look_at.is_some() => self.look().await,
                () = sleep_until(self.next_notice), if !self.notices.is_empty() => self.publish().await,
            }
        }
    }

    fn add(&mut self, namespace: String) {
        let now = Instant::now();
        let [first, then @ ..] = LOOKS.map(|after| now + after);
        // What was reported stays so if its rule comes and goes.
        let same = |look: &Look| look.namespace == namespace;
        let before = self.looks.iter().position(same);
        let before = before.map(|index| self.looks.swap_remove(index));
        self.looks.push(Look {
            namespace,
            at: first,
            then: then.into(),
            reported: before.map(|look| look.reported).unwrap_or_default(),
            retries: 0,
        });
    }

    /// Looks at the namespaces whose time has come.
    async fn look(&mut self) {
        let now = Instant::now();
        let due = self.looks.extract_if(.., |look| look.at <= now);
        for mut look in due.collect::<Vec<_>>() {
            match self.find(&mut look).await {
                Ok(()) => {
                    if let Some(at) = look.then.pop_front() {
                        look.at = at;
                        self.looks.push(look);
                    }
                }
                Err(error) => {
                    let name = &look.namespace;
                    tracing::warn!("no pod of {name} is looked at for its rule: {error}");
                    self.metrics.errors.inc();
                    look.retries += 1;
                    if look.retries <= RETRIES {
                        look.at = Instant::now() + RETRY;
                        self.looks.push(look);
                    }
                }
            }
        }
    }

    /// Finds the pods of a namespace that were created since it has its annotation, and miss its rule.
    async fn find(&mut self, look: &mut Look) -> Result<(), RequestError> {
        let name = look.namespace.as_str();
        let kind = ApiResource::erase::<Object>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), name, &kind);
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = request(api.list(&parameters)).await?;
            let namespaces = self.stores.namespaces.snapshot();
            // The annotation may be gone again, and then there is nothing to miss.
            let Some(namespace) = namespaces.get(name) else {
                return Ok(());
            };
            let Some(since) = namespace.annotated else {
                return Ok(());
            };
            let around = Surroundings {
                namespace: name,
                annotations: &namespace.annotations,
                rules: &rules_of(name, namespace, self.stores, &self.configuration),
            };
            for object in page.items {
                let uid = object.uid().unwrap_or_default();
                if look.reported.contains(&uid) {
                    continue;
                }
                if let Some(note) = misses(&object, since, around) {
                    look.reported.insert(uid);
                    self.metrics.admission.missed.inc();
                    let pod = format!("{name}/{}", object.name_any());
                    self.notices.push_back((pod, notice(name, &object, note)));
                }
            }
            match page.metadata.continue_ {
                Some(more) if !more.is_empty() => parameters = parameters.continue_token(&more),
                _ => return Ok(()),
            }
        }
    }

    /// Publishes the next event. Where there are too many, it waits for its turn.
    async fn publish(&mut self) {
        let Some((pod, notice)) = self.notices.front() else {
            return;
        };
        let log = || tracing::warn!("pod {pod}: {}", notice.note);
        let result = self.events.publish(pod, Some(notice), log).await;
        if result == Some(EventResult::RateLimited) {
            self.next_notice = Instant::now() + EVENT_RETRY;
            return;
        }
        if let Some(result) = result {
            self.metrics.count_event(result);
        }
        self.notices.pop_front();
    }
}

/// What a pod misses, if it was created since then. One that the webhook was asked about would not be
/// changed again.
fn misses(object: &DynamicObject, since: Timestamp, around: Surroundings<'_>) -> Option<String> {
    let created = object.creation_timestamp()?.0;
    if created < since {
        return None;
    }
    let spec: PodSpec = serde_json::from_value(object.data["spec"].clone()).ok()?;
    let metadata = Metadata {
        labels: object.metadata.labels.clone(),
        annotations: object.metadata.annotations.clone(),
    };
    let pod = Pod { metadata, spec };
    what(&pod, &mutate(&pod, None, around), around.namespace)
}

/// In words, what the webhook would have done. The policy portcullis-events knows how that begins.
fn what(pod: &Pod, verdict: &Verdict, namespace: &str) -> Option<String> {
    let because = format!("it was created before the API server asked about namespace {namespace}");
    if let Some(why) = &verdict.refusal {
        let first = pod.spec.containers.iter().flatten().next();
        let first = first.map_or("", |container| container.name.as_str());
        let why = match why.strip_prefix("container ") {
            Some(_) => why.clone(),
            None => format!("container {first}: {why}"),
        };
        return Some(format!("{why}; the pod was not refused, because {because}"));
    }
    let mut lacking = verdict.patches.iter().filter_map(|patch| {
        let path = patch["path"].as_str()?.strip_prefix("/spec/")?;
        let (part, rest) = path.split_once('/')?;
        let all = match part {
            "containers" => &pod.spec.containers,
            "initContainers" => &pod.spec.init_containers,
            _ => return None,
        };
        let (index, _) = rest.split_once('/')?;
        let container = all.as_ref()?.get(index.parse::<usize>().ok()?)?;
        let value = &patch["value"];
        let field = value.get("seccompProfile").unwrap_or(value);
        Some((container.name.as_str(), profile(field)))
    });
    let (name, profile) = lacking.next()?;
    let more = match lacking.count() {
        0 => String::new(),
        more => format!(" (like {more} more)"),
    };
    Some(format!(
        "container {name}{more} misses the rule that gives it {profile}: {because}; create the pod again"
    ))
}

/// A field, as an annotation would say it.
fn profile(field: &Value) -> String {
    match field["localhostProfile"].as_str() {
        Some(path) => format!("localhost/{path}"),
        None => "runtime/default".to_owned(),
    }
}

fn notice(namespace: &str, pod: &DynamicObject, note: String) -> Notice {
    Notice {
        about: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
            ..ObjectReference::default()
        },
        reason: EventReason::SeccompRuleMissed,
        note,
    }
}

#[cfg(test)]
mod tests;
