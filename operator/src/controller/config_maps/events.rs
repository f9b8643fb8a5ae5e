//! Events about `ConfigMap` objects: which of their keys give no profile, and why.

use super::{plan::Step, source::SourceMap};
use crate::kube::{
    events::{ALL_EVENTS, EventReason, History, Notice, Publisher},
    metrics::{ControllerMetrics, KeyState},
    rate_limit::{Limiter, Rate},
    request::RequestError,
    store::Items,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// The limit on events about one object.
const EACH: Rate = Rate {
    burst: 20,
    every: Duration::from_secs(30),
};

/// What is wrong with a `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct About {
    /// Its key in the store.
    pub(super) map: String,
    pub(super) state: KeyState,
    pub(super) note: String,
}

impl About {
    /// A step that the API server refuses; `None` if it is of no `ConfigMap` that there is.
    pub(super) fn refused(step: &Step, error: &RequestError) -> Option<About> {
        let (Step::Create(given) | Step::Replace(given)) = step else {
            return None;
        };
        Some(About {
            map: given.map.to_owned(),
            state: KeyState::Failed,
            note: format!("{step} can't be written: {error}"),
        })
    }

    const fn reason(&self) -> EventReason {
        match self.state {
            KeyState::NameTaken => EventReason::NameTaken,
            KeyState::Failed => EventReason::NotApplied,
            KeyState::Applied | KeyState::Invalid => EventReason::Invalid,
        }
    }
}

/// Publishes them, within limits.
pub(super) struct Events {
    publisher: Publisher,
    history: History,
    limiter: Limiter,
    metrics: ControllerMetrics,
    /// What was said already.
    said: BTreeSet<About>,
}

impl Events {
    pub(super) fn new(publisher: Publisher, metrics: ControllerMetrics) -> Events {
        Events {
            publisher,
            history: History::default(),
            limiter: Limiter::new(ALL_EVENTS, EACH, Instant::now()),
            metrics,
            said: BTreeSet::new(),
        }
    }

    /// Says what is wrong now, each thing once as long as it lasts.
    pub(super) async fn say(&mut self, maps: &Items<Arc<SourceMap>>, wrong: &[About]) {
        self.said.retain(|about| wrong.contains(about));
        for about in wrong {
            let Some(map) = maps.get(&about.map) else {
                continue;
            };
            if self.said.contains(about) || !self.limiter.allows(&about.map, Instant::now()) {
                continue;
            }
            self.said.insert(about.clone());
            tracing::warn!("ConfigMap {}: {}", about.map, about.note);
            let notice = Notice {
                about: map.reference.clone(),
                reason: about.reason(),
                note: about.note.clone(),
            };
            let publishing = self.publisher.try_publish(&notice, &mut self.history);
            self.metrics.count_event(publishing.await);
        }
    }
}
