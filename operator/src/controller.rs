//! The controller: one task for each kind of object, which keeps its objects up to date.
//!
//! All tasks share the same [`Stores`]. They are independent, so that a bad object of one kind
//! never blocks another kind. A new kind gets a folder beside [`profiles`], and its task a line in
//! `Work::run`.

pub mod artifacts;
mod bindings;
pub mod config_maps;
mod gate;
mod profiles;
mod startup_taint;
pub mod webhook;

use crate::admission::rules::Configuration;
use crate::kube::{
    events::Publisher,
    health::Health,
    lease::{self, Lease, Lost},
    metrics::{ControllerMetrics, ServerMetrics, admission::Carrier},
    stores::Stores,
};
use config_maps::ConfigMaps;
use kube::Client;
use portcullis_profile::program::Limits;
use std::{io, panic::resume_unwind, sync::Arc};
use tokio::task::JoinSet;
use webhook::Webhook;

/// The name under which the controller publishes events.
const COMPONENT: &str = "portcullis.dev/controller";

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Another controller leads, or may soon.
    #[error("the lease is lost: {0}")]
    LeaseLost(#[from] Lost),
    /// The webhook can't be served.
    #[error("the webhook: {0}")]
    Webhook(#[from] io::Error),
}

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace in which the agents run.
    pub namespace: String,
    /// What admission does in the whole cluster.
    pub admission: Configuration,
    /// What to apply its rules with where the API server has both.
    pub carrier: Carrier,
    /// How the webhook is served, if it is.
    pub webhook: Option<webhook::Settings>,
    /// Where artifacts may come from.
    pub artifacts: artifacts::Settings,
    /// What `ConfigMap` objects are used for.
    pub config_maps: ConfigMaps,
    /// The operator's rules for profiles.
    pub limits: Limits,
    /// Whether nodes lose the startup taint once they have their profiles.
    pub startup_taint: bool,
    /// The lease; without one there is no leader election.
    pub lease: Option<lease::Settings>,
}

/// Runs until `ended` completes, or until another controller may lead. The webhook's server, if there
/// is one, counts in `server`.
///
/// # Errors
/// [`ControllerError`].
pub async fn run(
    client: Client,
    settings: Settings,
    health: &Health,
    metrics: &ControllerMetrics,
    server: ServerMetrics,
    ended: impl Future<Output = ()>,
) -> Result<(), ControllerError> {
    let identity = lease::identity();
    let stores = Arc::new(Stores::default());
    let mut tasks = JoinSet::new();
    let mut serving = None;
    if let Some(webhook) = &settings.webhook {
        let exempt = bindings::exempt(settings.namespace.clone()).to_vec();
        let answers = webhook::answers::Answers::new(
            Arc::clone(&stores),
            settings.admission.clone(),
            exempt,
            settings.limits.clone(),
        );
        let (webhook, server) = webhook::start(webhook, answers, server).await?;
        tasks.spawn(watch_rules(&stores, &client, metrics));
        let (kept, client) = (Arc::clone(&webhook), client.clone());
        let namespace = settings.namespace.clone();
        tasks.spawn(async move { kept.keep(client, &namespace).await });
        serving = Some((webhook, server));
    }
    let webhook = serving.as_ref().map(|(webhook, _)| Arc::clone(webhook));
    let work = Work {
        client: client.clone(),
        identity: identity.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        stores,
        webhook,
        settings,
    };
    let result = match &work.settings.lease {
        None => {
            tokio::select! {
                () = work.run() => {}
                () = ended_or_panicked(ended, &mut tasks) => {}
            }
            Ok(())
        }
        Some(settings) => {
            let mut lease = Lease::new(client, settings, &identity);
            let result = tokio::select! {
                result = work.lead(&mut lease) => result,
                () = ended_or_panicked(ended, &mut tasks) => Ok(()),
            };
            lease.release().await;
            result
        }
    };
    if let Some((_, server)) = serving {
        webhook::end(server).await;
    }
    result
}

/// Waits until `ended` completes. The tasks never end; a panic of theirs is passed on.
async fn ended_or_panicked(ended: impl Future<Output = ()>, tasks: &mut JoinSet<()>) {
    let panicked = async {
        match tasks.join_next().await {
            Some(Err(error)) => error.try_into_panic().ok(),
            _ => None,
        }
    };
    tokio::select! {
        () = ended => {}
        Some(panic) = panicked => resume_unwind(panic),
        else => {}
    }
}

/// Watches what rules are made of.
fn watch_rules(
    stores: &Arc<Stores>,
    client: &Client,
    metrics: &ControllerMetrics,
) -> impl Future<Output = ()> + use<> {
    let (stores, client, metrics) = (Arc::clone(stores), client.clone(), metrics.clone());
    async move { Box::pin(stores.watch_rules(&client, &metrics)).await }
}

/// What every task works with.
struct Work {
    client: Client,
    settings: Settings,
    identity: String,
    health: Health,
    metrics: ControllerMetrics,
    stores: Arc<Stores>,
    webhook: Option<Arc<Webhook>>,
}

impl Work {
    /// Waits until it leads, then works until it no longer does.
    async fn lead(&self, lease: &mut Lease) -> Result<(), ControllerError> {
        if let Some(webhook) = &self.webhook {
            // A controller that waits for the lease is ready, and asked.
            webhook.until_ready(&self.stores).await;
        }
        lease.acquire(&self.health).await;
        self.metrics.elected.inc();
        tokio::select! {
            biased;
            lost = lease.keep(&self.metrics) => Err(lost.into()),
            () = self.run() => Ok(()),
        }
    }

    /// Runs every task. None of them ends.
    async fn run(&self) {
        let (stores, health, metrics) = (&self.stores, &self.health, &self.metrics);
        let publisher = Publisher::new(self.client.clone(), COMPONENT, &self.identity);
        let mut tasks = JoinSet::new();
        match &self.webhook {
            Some(webhook) => webhook.lead(),
            None => drop(tasks.spawn(watch_rules(stores, &self.client, metrics))),
        }
        tasks.spawn(profiles::run(
            Arc::clone(stores),
            self.client.clone(),
            publisher.clone(),
            self.settings.limits.clone(),
            health.clone(),
            metrics.clone(),
        ));
        let settings = bindings::Settings {
            namespace: self.settings.namespace.clone(),
            configuration: self.settings.admission.clone(),
            webhook: self.webhook.clone(),
            prefer: self.settings.carrier,
        };
        tasks.spawn(bindings::run(
            Arc::clone(stores),
            self.client.clone(),
            publisher.clone(),
            settings,
            health.clone(),
            metrics.clone(),
        ));
        tasks.spawn(config_maps::run(
            Arc::clone(stores),
            self.client.clone(),
            publisher.clone(),
            self.settings.clone(),
            health.clone(),
            metrics.clone(),
        ));
        tasks.spawn(artifacts::run(
            Arc::clone(stores),
            self.client.clone(),
            self.settings.artifacts.clone(),
            health.clone(),
            metrics.clone(),
        ));
        if self.settings.startup_taint {
            tasks.spawn(startup_taint::run(
                Arc::clone(stores),
                self.client.clone(),
                health.clone(),
            ));
        }
        tasks.spawn(gate::run(
            Arc::clone(stores),
            publisher,
            health.clone(),
            metrics.clone(),
        ));
        let (stores, client) = (Arc::clone(stores), self.client.clone());
        let (metrics, namespace) = (metrics.clone(), self.settings.namespace.clone());
        tasks.spawn(async move { Box::pin(stores.watch(&client, &namespace, &metrics)).await });
        if let Some(Err(error)) = tasks.join_next().await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
    }
}
