//! `ConfigMap` objects as a way in and out. In: makes `SeccompProfile` objects of those in the operator's
//! namespace that have a label, and keeps them as they say. Out: publishes the files of profiles. Both
//! are off by default.

mod events;
mod plan;
mod publish;
mod source;
mod writer;

use super::Settings;
use crate::kube::{
    config_maps::{LABEL, PAUSE},
    events::Publisher,
    health::{HEARTBEAT, Health},
    metrics::{ControllerMetrics, KeyLabels, KeyState, Watched},
    schedule::Schedule,
    store::{Store, key},
    stores::Stores,
};
use events::{About, Events};
use futures::future::OptionFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, runtime::watcher::Config};
use plan::{Plan, plan};
use source::SourceMap;
use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};
use tokio::time::{Instant, interval};
use writer::Writer;

/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// How many objects are listed at a time: each may be as large as a megabyte.
const PAGE: u32 = 5;

/// What `ConfigMap` objects are used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMaps {
    /// Whether profiles are made of those in the operator's namespace.
    pub read: bool,
    /// The namespace to publish the profiles' files in.
    pub publish: Option<String>,
}

/// Does what is asked for until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    client: Client,
    publisher: Publisher,
    settings: Settings,
    health: Health,
    metrics: ControllerMetrics,
) {
    let Settings {
        namespace,
        config_maps,
        limits,
        ..
    } = settings;
    let publishing = config_maps.publish.as_ref().map(|to| {
        let client = client.clone();
        publish::run(&stores, client, to, limits, &health, &metrics)
    });
    let reading = config_maps.read.then(|| {
        let client = client.clone();
        read(&stores, client, publisher, &namespace, &health, &metrics)
    });
    tokio::join!(OptionFuture::from(publishing), OptionFuture::from(reading));
    // The controller ends with its first task.
    pending::<()>().await;
}

/// Keeps the profiles of `ConfigMap` objects as they say.
async fn read(
    stores: &Stores,
    client: Client,
    publisher: Publisher,
    namespace: &str,
    health: &Health,
    metrics: &ControllerMetrics,
) {
    let maps = Store::default();
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let labelled = Config::default()
        .labels(&format!("{LABEL} in (true,{PAUSE})"))
        .page_size(PAGE);
    let watch = maps.watch(api, labelled, Watched::ConfigMaps, metrics, |map| {
        Some((key(&map), Arc::new(SourceMap::new(&map))))
    });
    let mut reader = Reader {
        maps: &maps,
        writer: Writer::new(client, metrics.clone()),
        events: Events::new(publisher, metrics.clone()),
        metrics,
    };
    let working = follow(&mut reader, stores, &maps, health);
    tokio::join!(watch, working);
}

/// What is brought up to date with profiles and `ConfigMap` objects.
trait Work {
    /// Its name, for the heartbeat.
    const NAME: &'static str;
    /// How long changes are collected before a pass.
    const DEBOUNCE: Duration;

    /// Brings it up to date. Returns when to try again, if necessary.
    async fn pass(&mut self, stores: &Stores) -> Option<Instant>;

    /// Waits until something else has changed that it depends on.
    async fn changed(&mut self, _stores: &Stores) {
        pending::<()>().await;
    }
}

/// Brings something up to date soon after each change, until the future is dropped.
async fn follow<W: Work, T: Clone + PartialEq>(
    work: &mut W,
    stores: &Stores,
    maps: &Store<T>,
    health: &Health,
) {
    let mut profiles = stores.profiles.changes();
    let mut changes = maps.changes();
    let heartbeat = health.heartbeat(W::NAME);
    let mut idle = interval(HEARTBEAT);
    let mut schedule = Schedule::after(W::DEBOUNCE);
    loop {
        heartbeat.beat();
        // Nothing is removed before everything is known.
        let is_complete = stores.profiles.is_complete() && maps.is_complete();
        tokio::select! {
            () = profiles.next() => {}
            () = changes.next() => {}
            () = work.changed(stores) => {}
            () = schedule.reached(), if is_complete => {
                let due = work.pass(stores).await;
                schedule.set(due);
                continue;
            }
            _ = idle.tick() => continue,
        }
        schedule.bring_forward(W::DEBOUNCE);
    }
}

struct Reader<'a> {
    maps: &'a Store<Arc<SourceMap>>,
    writer: Writer,
    events: Events,
    metrics: &'a ControllerMetrics,
}

impl Work for Reader<'_> {
    const NAME: &'static str = "config-maps";
    const DEBOUNCE: Duration = Duration::from_millis(300);

    /// Writes what differs. A profile that can't be written does not keep the others from it. Returns
    /// when to try again, if necessary.
    async fn pass(&mut self, stores: &Stores) -> Option<Instant> {
        let (maps, profiles) = (self.maps.snapshot(), stores.profiles.snapshot());
        if let Some(pause) = maps.values().find(|map| map.is_pause) {
            tracing::info!("no ConfigMap is read as long as there is {}", pause.name);
            return None;
        }
        let Plan {
            steps,
            applied,
            mut said,
        } = plan(&maps, &profiles);
        let (mut next, mut written) = (None, 0);
        for step in &steps {
            match self.writer.take(step).await {
                Ok(()) => written += 1,
                // The watch will tell of what has changed meanwhile.
                Err(error) if error.is_outdated() => {}
                Err(error) => {
                    next = Some(Instant::now() + RETRY);
                    self.metrics.errors.inc();
                    tracing::warn!("{step} can't be written: {error}");
                    if !error.is_about_the_object() {
                        break;
                    }
                    said.extend(About::refused(step, &error));
                }
            }
        }
        let mut counts: BTreeMap<KeyState, u64> =
            KeyState::ALL.iter().map(|state| (*state, 0)).collect();
        counts.insert(KeyState::Applied, applied + written);
        for about in &said {
            *counts.entry(about.state).or_default() += 1;
        }
        for (state, count) in counts {
            let labels = KeyLabels { state };
            self.metrics
                .config_map_keys
                .get_or_create(&labels)
                .set(count);
        }
        self.events.say(&maps, &said).await;
        next
    }
}
