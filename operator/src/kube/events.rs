//! Kubernetes events: a new one is created; a repeated one is counted up.

use super::{
    metrics::EventResult,
    rate_limit::{Limiter, Rate},
    request::{RequestError, request},
};
use crate::words::words;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The limit on the events of one publisher together.
pub const ALL_EVENTS: Rate = Rate {
    burst: 50,
    every: Duration::from_secs(1),
};
/// Its limit on events about one pod.
const POD_EVENTS: Rate = Rate {
    burst: 5,
    every: Duration::from_secs(30),
};

/// For how long repetitions of an event count it up.
const SERIES: Duration = Duration::from_secs(360);
/// The longest note that the API server accepts, in bytes.
const MAX_NOTE: usize = 1024;
/// How many bytes of an object's name go into its event's name. A name has at most 253 bytes, of
/// which a dot and 16 digits are needed.
const MAX_NAME: usize = 230;

words! {
    /// The reason of an event, as shown by `kubectl describe`.
    pub enum EventReason {
        /// On a pod: the gate refused one of its containers.
        SeccompRefused = "SeccompRefused",
        /// On a pod: a container started although the gate would refuse it (`mode = "warn"`).
        SeccompWarning = "SeccompWarning",
        /// On a pod: a container runs, and no decision of the gate about it is known.
        SeccompUnchecked = "SeccompUnchecked",
        /// On a pod: it was created before the webhook was asked about its namespace, and misses a rule.
        SeccompRuleMissed = "SeccompRuleMissed",
        /// On a profile: its specification is not valid. On a `ConfigMap`: one of its keys gives no profile.
        Invalid = "Invalid",
        /// On a profile: a node does not have its file.
        NotReady = "NotReady",
        /// On a profile: a node's report is full and leaves it out.
        NodeReportFull = "NodeReportFull",
        /// On a profile: its deletion waits for pods.
        InUse = "InUse",
        /// On a binding: it does not apply, or another one may come before it.
        NotLive = "NotLive",
        /// On a `ConfigMap`: a profile of a name that it gives is somebody else's.
        NameTaken = "NameTaken",
        /// On a `ConfigMap`: a profile that it gives can't be written.
        NotApplied = "NotApplied",
        /// On an admission policy or its binding: somebody else had changed it.
        Overwritten = "Overwritten",
        /// On the mutating admission policy: the cluster's default names a profile that is missing or not valid.
        DefaultUnusable = "DefaultUnusable",
    }
}

impl EventReason {
    /// The type of its events.
    pub const fn event_type(self) -> &'static str {
        match self {
            EventReason::InUse => "Normal",
            _ => "Warning",
        }
    }

    /// The action that led to it.
    const fn action(self) -> &'static str {
        match self {
            EventReason::SeccompRefused
            | EventReason::SeccompWarning
            | EventReason::SeccompUnchecked => "StartContainer",
            EventReason::SeccompRuleMissed => "CreatePod",
            EventReason::Invalid
            | EventReason::NotReady
            | EventReason::NodeReportFull
            | EventReason::InUse
            | EventReason::NotLive
            | EventReason::NameTaken
            | EventReason::NotApplied
            | EventReason::Overwritten
            | EventReason::DefaultUnusable => "Reconcile",
        }
    }
}

/// What an event says.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The object. Events about objects without a namespace are in the namespace `default`.
    pub about: ObjectReference,
    /// The reason.
    pub reason: EventReason,
    /// The message.
    pub note: String,
}

/// An event that could not be published.
#[derive(Debug, thiserror::Error)]
#[error("an event about {name}: {source}")]
pub struct EventError {
    name: String,
    source: RequestError,
}

type Key = (ObjectKey, EventReason, String);
/// Namespace, name and UID.
type ObjectKey = (Option<String>, Option<String>, Option<String>);

/// An event that was published.
#[derive(Debug)]
struct Published {
    event: String,
    count: i32,
    last: Instant,
}

/// Publishes events for one component.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    component: &'static str,
    instance: String,
}

/// The published events, so that repetitions can be counted up. Callers limit the rate of events,
/// which also bounds the size of this history.
#[derive(Debug, Default)]
pub struct History(HashMap<Key, Published>);

impl History {
    fn key(notice: &Notice) -> Key {
        let about = &notice.about;
        (
            (
                about.namespace.clone(),
                about.name.clone(),
                about.uid.clone(),
            ),
            notice.reason,
            notice.note.clone(),
        )
    }

    /// Counts an event without publishing it. The next published one includes it in its count.
    fn count_only(&mut self, notice: &Notice) {
        if let Some(published) = self.0.get_mut(&History::key(notice)) {
            published.count = published.count.saturating_add(1);
        }
    }
}

impl Publisher {
    /// A publisher for a component, for example `portcullis.dev/agent`. The instance is the node or
    /// pod that it runs on.
    pub fn new(client: Client, component: &'static str, instance: &str) -> Publisher {
        Publisher {
            client,
            component,
            instance: cut(instance, 128).to_owned(),
        }
    }

    /// Creates an event, or counts up an identical one.
    ///
    /// # Errors
    /// [`EventError`], if the API server does not accept it.
    pub async fn publish(&self, notice: &Notice, history: &mut History) -> Result<(), EventError> {
        self.create_or_count(notice, history)
            .await
            .map_err(|source| EventError {
                name: notice.about.name.clone().unwrap_or_default(),
                source,
            })
    }

    /// The same, for callers that go on if it fails: then it is logged.
    pub async fn try_publish(&self, notice: &Notice, history: &mut History) -> EventResult {
        match self.publish(notice, history).await {
            Ok(()) => EventResult::Published,
            Err(error) => {
                tracing::warn!("{error}");
                EventResult::Failed
            }
        }
    }

    async fn create_or_count(
        &self,
        notice: &Notice,
        history: &mut History,
    ) -> Result<(), RequestError> {
        let now = Instant::now();
        history
            .0
            .retain(|_, published| now.saturating_duration_since(published.last) < SERIES);
        let namespace = notice.about.namespace.as_deref().unwrap_or("default");
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        let key = History::key(notice);
        if let Some(published) = history.0.get_mut(&key) {
            published.count = published.count.saturating_add(1);
            published.last = now;
            let series = json!({"series": {"count": published.count,
                "lastObservedTime": MicroTime(Timestamp::now())}});
            let parameters = PatchParams::default();
            let patch = Patch::Merge(&series);
            match request(api.patch(&published.event, &parameters, &patch)).await {
                // Events expire; then a new one is created.
                Err(error) if error.code() == Some(404) => {}
                other => return other.map(|_| ()),
            }
        }
        let event = self.event(notice, namespace, Timestamp::now());
        request(api.create(&PostParams::default(), &event)).await?;
        let published = Published {
            event: event.metadata.name.unwrap_or_default(),
            count: 1,
            last: now,
        };
        history.0.insert(key, published);
        Ok(())
    }

    fn event(&self, notice: &Notice, namespace: &str, now: Timestamp) -> Event {
        let name = notice.about.name.as_deref().unwrap_or("unknown");
        let name = cut(name, MAX_NAME).trim_end_matches(['-', '.']);
        let name = format!("{name}.{:x}", now.as_nanosecond());
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            regarding: Some(notice.about.clone()),
            type_: Some(notice.reason.event_type().to_owned()),
            reason: Some(notice.reason.to_string()),
            action: Some(notice.reason.action().to_owned()),
            note: Some(cut(&notice.note, MAX_NOTE).to_owned()),
            reporting_controller: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// Publishes events about pods, within limits.
pub struct PodEvents {
    /// Without a cluster there is none.
    publisher: Option<Publisher>,
    limiter: Limiter,
    history: History,
}

impl PodEvents {
    /// Uses a publisher, if there is one.
    pub fn new(publisher: Option<Publisher>) -> PodEvents {
        PodEvents {
            publisher,
            limiter: Limiter::new(ALL_EVENTS, POD_EVENTS, Instant::now()),
            history: History::default(),
        }
    }

    /// Publishes an event about the pod `namespace/name`, if it is known well enough for one, and
    /// logs it beforehand by `log`. Beyond the limits both are left out. Returns what happened to
    /// the event, unless there is none.
    pub async fn publish(
        &mut self,
        pod: &str,
        notice: Option<&Notice>,
        log: impl FnOnce(),
    ) -> Option<EventResult> {
        if !self.limiter.allows(pod, Instant::now()) {
            if let Some(notice) = notice {
                self.history.count_only(notice);
            }
            return Some(EventResult::RateLimited);
        }
        log();
        let (publisher, notice) = (self.publisher.as_ref()?, notice?);
        Some(publisher.try_publish(notice, &mut self.history).await)
    }
}

/// The beginning of a text: whole characters, at most this many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aéb", 2), "a");
        assert_eq!(cut("aéb", 3), "aé");
        assert_eq!(cut("ab", 9), "ab");
    }
}
