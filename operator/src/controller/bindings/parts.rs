//! The objects of a carrier on the API server: each kind's object of the name [`NAME`] is watched and
//! written.

use super::{
    carrier::{CarrierError, Overwritten},
    written::{Content, Writer},
};
use crate::{
    admission::policies::{NAME, VERSION},
    kube::{
        metrics::{ControllerMetrics, Watched},
        store::{Changes, Store},
    },
};
use futures::future::{join_all, select_all};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::Config,
};
use std::sync::Arc;

/// A kind, and its plural.
type Kind = (&'static str, &'static str);

/// The objects of a carrier.
pub(super) struct Parts {
    client: Client,
    metrics: ControllerMetrics,
    watched: Watched,
    stores: Vec<(Kind, Store<Arc<DynamicObject>>)>,
    writer: Writer,
}

/// A subscription to changes of the objects.
pub(super) struct PartsChanges(Vec<Changes<Arc<DynamicObject>>>);

impl PartsChanges {
    /// Waits until somebody has changed one.
    pub(super) async fn next(&mut self) {
        let parts = self.0.iter_mut().map(|part| Box::pin(part.next()));
        select_all(parts).await;
    }
}

impl Parts {
    /// One object of each of these kinds.
    pub(super) fn new(
        client: Client,
        metrics: ControllerMetrics,
        watched: Watched,
        kinds: impl IntoIterator<Item = Kind>,
    ) -> Parts {
        let stores = kinds.into_iter().map(|kind| (kind, Store::default()));
        Parts {
            client,
            writer: Writer::new(metrics.clone()),
            metrics,
            watched,
            stores: stores.collect(),
        }
    }

    pub(super) fn changes(&self) -> PartsChanges {
        PartsChanges(
            self.stores
                .iter()
                .map(|(_, store)| store.changes())
                .collect(),
        )
    }

    /// Whether it is known which ones there are, or that they can't be watched.
    pub(super) fn are_known(&self) -> bool {
        let mut stores = self.stores.iter();
        stores.all(|(_, store)| store.is_complete() || store.has_failed())
    }

    /// Whether it is known which ones there are.
    pub(super) fn are_complete(&self) -> bool {
        self.stores.iter().all(|(_, store)| store.is_complete())
    }

    /// The kinds of which there is none.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let stores = self.stores.iter();
        let missing = stores.filter(|(_, store)| !store.snapshot().contains_key(NAME));
        missing.map(|((kind, _), _)| *kind).collect()
    }

    /// The object of a kind.
    pub(super) fn get(&self, kind: &str) -> Option<Arc<DynamicObject>> {
        let found = self.stores.iter().find(|((each, _), _)| *each == kind);
        found.and_then(|(_, store)| store.snapshot().get(NAME).cloned())
    }

    /// Watches them until the future is dropped.
    pub(super) async fn watch(&self) {
        let watches = self.stores.iter().map(|(kind, store)| {
            let config = Config::default().fields(&format!("metadata.name={NAME}"));
            let keep = |object: DynamicObject| Some((object.name_any(), Arc::new(object)));
            store.watch(self.api(*kind), config, self.watched, &self.metrics, keep)
        });
        join_all(watches).await;
    }

    /// Writes one, if it is there and not as wanted. Returns it if somebody else had changed it.
    ///
    /// # Errors
    /// [`CarrierError::Refused`].
    pub(super) async fn write(
        &self,
        kind: Kind,
        content: &Content<'_>,
    ) -> Result<Option<Overwritten>, CarrierError> {
        let Some(seen) = self.get(kind.0) else {
            return Ok(None);
        };
        self.writer
            .write(&self.api(kind), kind.0, &seen, content)
            .await
    }

    fn api(&self, (kind, plural): Kind) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(VERSION.0, VERSION.1, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::all_with(self.client.clone(), &resource)
    }
}
