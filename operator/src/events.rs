//! Kubernetes events: created once for what is new, counted up where it comes again.

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

/// How long the same counts as coming again.
const AGAIN: Duration = Duration::from_secs(360);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;
/// The longest part of an object's name in an event's: 253 without a dot and 16 digits.
const MAX_NAME: usize = 230;

/// Something to be said about an object.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The object. One without a namespace gets its events in `default`.
    pub about: ObjectReference,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one word of a fixed set.
    pub reason: &'static str,
    /// What was being done, in one word.
    pub action: &'static str,
    /// In words.
    pub note: String,
}

/// Why an event could not be said.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The API server said no.
    #[error("an event about {name}: {source}")]
    Refused {
        /// The object.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The API server said nothing.
    #[error("an event about {name}: no answer within {PATIENCE:?}")]
    Late {
        /// The object.
        name: String,
    },
}

type Key = (ObjectReferenceKey, &'static str, String);
type ObjectReferenceKey = (Option<String>, Option<String>, Option<String>);

#[derive(Debug)]
struct Seen {
    event: String,
    count: i32,
    last: Instant,
}

/// Says events under one component's name.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    component: &'static str,
    instance: String,
}

/// What was said, so that the same is counted up. Whoever says events limits their rate, which
/// bounds its memory too.
#[derive(Debug, Default)]
pub struct History(HashMap<Key, Seen>);

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

    /// Counts what is not said now, so that it is in the count that is said next.
    pub fn hold(&mut self, notice: &Notice) {
        if let Some(seen) = self.0.get_mut(&History::key(notice)) {
            seen.count = seen.count.saturating_add(1);
        }
    }
}

impl Publisher {
    /// For a component, `portcullis.dev/agent` for example, on a node or in a pod.
    pub fn new(client: Client, component: &'static str, instance: &str) -> Publisher {
        Publisher {
            client,
            component,
            instance: cut(instance, 128).to_owned(),
        }
    }

    /// Creates an event, or counts the one up that says the same.
    ///
    /// # Errors
    /// [`EventError`] where the API server does not take it in time.
    pub async fn publish(&self, notice: &Notice, history: &mut History) -> Result<(), EventError> {
        let name = notice.about.name.clone().unwrap_or_default();
        match tokio::time::timeout(PATIENCE, self.say(notice, history)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(EventError::Refused {
                name,
                source: Box::new(source),
            }),
            Err(_) => Err(EventError::Late { name }),
        }
    }

    async fn say(&self, notice: &Notice, history: &mut History) -> Result<(), kube::Error> {
        let now = Instant::now();
        history
            .0
            .retain(|_, seen| now.saturating_duration_since(seen.last) < AGAIN);
        let namespace = notice.about.namespace.as_deref().unwrap_or("default");
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        let key = History::key(notice);
        if let Some(seen) = history.0.get_mut(&key) {
            seen.count = seen.count.saturating_add(1);
            seen.last = now;
            let series = json!({"series": {"count": seen.count,
                "lastObservedTime": MicroTime(Timestamp::now())}});
            let parameters = PatchParams::default();
            match api
                .patch(&seen.event, &parameters, &Patch::Merge(&series))
                .await
            {
                // Events expire; then it is new.
                Err(kube::Error::Api(error)) if error.code == 404 => {}
                other => return other.map(|_| ()),
            }
        }
        let event = self.event(notice, namespace, Timestamp::now());
        api.create(&PostParams::default(), &event).await?;
        let seen = Seen {
            event: event.metadata.name.unwrap_or_default(),
            count: 1,
            last: now,
        };
        history.0.insert(key, seen);
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
            type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(notice.reason.to_owned()),
            action: Some(notice.action.to_owned()),
            note: Some(cut(&notice.note, MAX_NOTE).to_owned()),
            reporting_controller: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// A text's beginning of at most so many bytes.
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
