//! Events about bindings that do not apply, and about policies that somebody else had changed.

use super::carrier::{Overwritten, reference};
use crate::{
    admission::policies::Part,
    crd::{
        SeccompBindingStatus,
        binding::{BindingValidReason, LiveReason},
        condition::{Reason, find},
    },
    kube::{
        events::{ALL_EVENTS, EventReason, History, Notice, Publisher},
        metrics::{ControllerMetrics, EventResult},
        rate_limit::{Limiter, Rate},
        store::Items,
        stores::binding::Binding,
    },
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The limit on events about one object.
const EACH: Rate = Rate {
    burst: 6,
    every: Duration::from_secs(60),
};

/// Publishes them, within limits.
pub(super) struct Events {
    publisher: Publisher,
    history: History,
    limiter: Limiter,
    metrics: ControllerMetrics,
    /// What was last said about each binding.
    said: BTreeMap<String, String>,
    /// What was last said about the cluster's default.
    said_default: Option<String>,
}

impl Events {
    pub(super) fn new(publisher: Publisher, metrics: ControllerMetrics) -> Events {
        Events {
            publisher,
            history: History::default(),
            limiter: Limiter::new(ALL_EVENTS, EACH, Instant::now()),
            metrics,
            said: BTreeMap::new(),
            said_default: None,
        }
    }

    /// Forgets the bindings that are gone.
    pub(super) fn keep_only(&mut self, bindings: &Items<Arc<Binding>>) {
        self.said.retain(|key, _| bindings.contains_key(key));
    }

    /// Says once why a binding does not apply.
    pub(super) async fn observe(&mut self, binding: &Binding, status: &SeccompBindingStatus) {
        let key = format!("{}/{}", binding.namespace, binding.name);
        let live = LiveReason::of(&status.conditions);
        let is_valid =
            BindingValidReason::of(&status.conditions) == Some(BindingValidReason::Valid);
        if matches!(live, Some(LiveReason::Live)) && is_valid {
            self.said.remove(&key);
            return;
        }
        let Some(condition) = find(&status.conditions, LiveReason::TYPE) else {
            return;
        };
        let note = condition.message.clone();
        if self.said.get(&key) == Some(&note) {
            return;
        }
        let notice = Notice {
            about: binding.reference(),
            reason: EventReason::NotLive,
            note: note.clone(),
        };
        if self.publish(&key, &notice).await {
            self.said.insert(key, note);
        }
    }

    /// Says that a policy was written because somebody else had changed it.
    pub(super) async fn overwritten(&mut self, part: &Overwritten) {
        let notice = Notice {
            about: part.reference.clone(),
            reason: EventReason::Overwritten,
            note: part.note.clone(),
        };
        tracing::warn!("{}", notice.note);
        self.publish("policies", &notice).await;
    }

    /// Says once what is wrong with the cluster's default.
    pub(super) async fn cluster_default(&mut self, problem: Option<String>) {
        if problem == self.said_default {
            return;
        }
        if let Some(note) = &problem {
            tracing::warn!("{note}");
            let notice = Notice {
                about: reference(Part::Mutating),
                reason: EventReason::DefaultUnusable,
                note: note.clone(),
            };
            self.publish("default", &notice).await;
        }
        self.said_default = problem;
    }

    async fn publish(&mut self, key: &str, notice: &Notice) -> bool {
        let result = if self.limiter.allows(key, Instant::now()) {
            self.publisher.try_publish(notice, &mut self.history).await
        } else {
            EventResult::RateLimited
        };
        self.metrics.count_event(result);
        result == EventResult::Published
    }
}
