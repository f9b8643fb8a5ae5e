//! The objects of one kind, watched once and shared by everything that needs them.
//!
//! Unlike the reflector of kube's runtime, a store keeps only the needed parts of each object and
//! drops objects that nobody needs, because a cluster has many pods, and they are large.

use super::{
    follow::{Watchers, follow},
    metrics::{ControllerMetrics, WatchLabels, Watched},
};
use futures::{Stream, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::watcher::{self, Config, Event},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug, sync::Arc};
use tokio::sync::watch;

/// What is kept of the objects of one kind, by key: `name`, or `namespace/name`.
pub type Items<T> = BTreeMap<String, T>;

#[derive(Debug)]
struct State<T> {
    items: Arc<Items<T>>,
    complete: bool,
    /// Whether the watch has failed before the store was complete.
    failed: bool,
}

/// A store. Readers take snapshots, so they never block the watch.
#[derive(Debug)]
pub struct Store<T> {
    state: watch::Sender<State<T>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        let state = State {
            items: Arc::new(Items::new()),
            complete: false,
            failed: false,
        };
        Store {
            state: watch::Sender::new(state),
        }
    }
}

impl<T: Clone + PartialEq> Store<T> {
    /// A snapshot of the store.
    pub fn snapshot(&self) -> Arc<Items<T>> {
        Arc::clone(&self.state.borrow().items)
    }

    /// Whether the store is complete: all existing objects have been listed.
    pub fn is_complete(&self) -> bool {
        self.state.borrow().complete
    }

    /// Whether it can't be filled, at least for the moment.
    pub fn has_failed(&self) -> bool {
        self.state.borrow().failed
    }

    /// Subscribes to changes from now on.
    pub fn changes(&self) -> Changes<T> {
        Changes(self.state.subscribe())
    }

    /// Applies an event of a watch. `keep` returns the key for an object, and what to keep of it.
    fn apply<K: ResourceExt>(
        &self,
        event: Event<K>,
        listing: &mut Items<T>,
        keep: &mut impl FnMut(K) -> Option<(String, T)>,
    ) {
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(object) => listing.extend(keep(object)),
            Event::InitDone => {
                let items = Arc::new(std::mem::take(listing));
                self.state.send_modify(|state| {
                    state.items = items;
                    state.complete = true;
                    state.failed = false;
                });
            }
            Event::Apply(object) => {
                let key = key(&object);
                let kept = keep(object);
                self.change(|items| match kept {
                    Some((_, item)) if items.get(&key) == Some(&item) => false,
                    Some((key, item)) => items.insert(key, item).is_none_or(|_| true),
                    None => items.remove(&key).is_some(),
                });
            }
            Event::Delete(object) => {
                let key = key(&object);
                self.change(|items| items.remove(&key).is_some());
            }
        }
    }

    /// Sets or removes an item of a store that is filled by other means than a watch.
    pub fn put(&self, key: &str, item: Option<T>) {
        self.change(|items| match item {
            Some(item) if items.get(key) == Some(&item) => false,
            Some(item) => items.insert(key.to_owned(), item).is_none_or(|_| true),
            None => items.remove(key).is_some(),
        });
    }

    /// Changes the items. They are copied only while somebody holds a snapshot.
    fn change(&self, change: impl FnOnce(&mut Items<T>) -> bool) {
        self.state
            .send_if_modified(|state| change(Arc::make_mut(&mut state.items)));
    }

    /// Watches the objects of a kind until the future is dropped. A failure is logged and counted, and the watch restarts after a delay.
    pub async fn watch<K>(
        &self,
        api: Api<K>,
        config: Config,
        kind: Watched,
        metrics: &ControllerMetrics,
        keep: impl FnMut(K) -> Option<(String, T)>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let events = follow(api, config, Watchers::Few);
        self.follow(events, kind, metrics, keep).await;
    }

    async fn follow<K: ResourceExt>(
        &self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
        kind: Watched,
        metrics: &ControllerMetrics,
        mut keep: impl FnMut(K) -> Option<(String, T)>,
    ) {
        let mut events = std::pin::pin!(events);
        let mut listing = Items::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.apply(event, &mut listing, &mut keep),
                Err(error) => {
                    tracing::warn!("the watch of {kind}: {error}");
                    metrics
                        .watch_errors
                        .get_or_create(&WatchLabels { kind })
                        .inc();
                    self.state.send_if_modified(|state| {
                        let is_news = !state.complete && !state.failed;
                        state.failed |= is_news;
                        is_news
                    });
                }
            }
        }
    }
}

/// A subscription to changes of a store. Any number of changes is reported once.
#[derive(Debug)]
pub struct Changes<T>(watch::Receiver<State<T>>);

impl<T> Changes<T> {
    /// Waits until the store has changed; forever if nobody can change it any more.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            futures::future::pending::<()>().await;
        }
    }
}

/// The key of an object: `name`, or `namespace/name`.
pub fn key<K: ResourceExt>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Filling a store without an API server.

    use super::*;

    impl<T: Clone + PartialEq> Store<T> {
        /// The store has exactly these items, and is complete.
        pub(crate) fn fill(&self, items: impl IntoIterator<Item = (String, T)>) {
            let items = Arc::new(items.into_iter().collect());
            self.state.send_modify(|state| {
                state.items = items;
                state.complete = true;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use prometheus_client::registry::Registry;

    fn object(name: &str, value: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("n".to_owned());
        object.data = Some([("value".to_owned(), value.to_owned())].into());
        object
    }

    /// Keeps the value, and drops objects without one.
    fn keep(object: ConfigMap) -> Option<(String, String)> {
        let key = key(&object);
        let value = object.data?.remove("value")?;
        (!value.is_empty()).then_some((key, value))
    }

    async fn follow(
        store: &Store<String>,
        events: impl IntoIterator<Item = Result<Event<ConfigMap>, watcher::Error>>,
    ) -> ControllerMetrics {
        let metrics = ControllerMetrics::register(&mut Registry::default());
        let events = stream::iter(events);
        store.follow(events, Watched::Pods, &metrics, keep).await;
        metrics
    }

    fn items(store: &Store<String>) -> Vec<(String, String)> {
        let snapshot = store.snapshot();
        let items = snapshot.iter();
        items
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn a_list_replaces_everything_once_it_is_whole() {
        let store = Store::default();
        follow(
            &store,
            [Ok(Event::Init), Ok(Event::InitApply(object("a", "1")))],
        )
        .await;
        assert!(!store.is_complete() && items(&store).is_empty());
        let whole = [
            Ok(Event::Init),
            Ok(Event::InitApply(object("b", "2"))),
            Ok(Event::InitApply(object("nothing", ""))),
            Ok(Event::InitDone),
        ];
        follow(&store, whole).await;
        assert!(store.is_complete());
        assert_eq!(items(&store), [pair("n/b", "2")]);
        let restarted = [Ok(Event::Init), Ok(Event::InitApply(object("c", "3")))];
        follow(&store, restarted).await;
        assert_eq!(items(&store), [pair("n/b", "2")], "half of a list");
    }

    #[tokio::test]
    async fn changes_are_told_once_and_what_is_not_kept_is_no_change() {
        let store = Store::default();
        let mut changes = store.changes();
        let snapshot = store.snapshot();
        let events = [object("a", "1"), object("b", "2")].map(|object| Ok(Event::Apply(object)));
        follow(&store, events).await;
        assert_eq!(items(&store), [pair("n/a", "1"), pair("n/b", "2")]);
        assert!(snapshot.is_empty(), "a snapshot stays as it is");
        assert!(changes.next().now_or_never().is_some());
        assert!(changes.next().now_or_never().is_none());
        follow(&store, [Ok(Event::Apply(object("c", "")))]).await;
        assert!(changes.next().now_or_never().is_none());
        follow(&store, [Ok(Event::Apply(object("a", "")))]).await;
        assert_eq!(
            items(&store),
            [pair("n/b", "2")],
            "nothing of it is needed any more"
        );
        follow(&store, [Ok(Event::Delete(object("b", "2")))]).await;
        assert!(items(&store).is_empty());
    }

    #[tokio::test]
    async fn a_failed_watch_is_counted_and_loses_nothing() {
        let store = Store::default();
        let failure = watcher::Error::NoResourceVersion;
        let events = [Ok(Event::Apply(object("a", "1"))), Err(failure)];
        let metrics = follow(&store, events).await;
        let labels = WatchLabels {
            kind: Watched::Pods,
        };
        assert_eq!(metrics.watch_errors.get_or_create(&labels).get(), 1);
        assert_eq!(items(&store), [pair("n/a", "1")]);
    }
}
