//! The controller: one task for each kind of object, which keeps its objects up to date.
//!
//! All tasks share the same [`Stores`]. They are independent, so that a bad object of one kind
//! never blocks another kind. A new kind gets a folder beside [`profiles`], and its task a line in
//! [`work`].

mod gate;
mod profiles;

use crate::kube::{
    events::Publisher,
    health::Health,
    lease::{self, Lease, Lost},
    metrics::ControllerMetrics,
    stores::Stores,
};
use kube::Client;
use std::{panic::resume_unwind, sync::Arc};
use tokio::task::JoinSet;

/// The name under which the controller publishes events.
const COMPONENT: &str = "portcullis.dev/controller";

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Another controller leads, or may soon.
    #[error("the lease is lost: {0}")]
    LeaseLost(#[from] Lost),
}

/// Runs until `ended` completes, or until another controller may lead. Without a lease there is no
/// leader election. `namespace` is the one in which the agents run.
///
/// # Errors
/// [`ControllerError::LeaseLost`].
pub async fn run(
    client: Client,
    namespace: &str,
    lease: Option<lease::Settings>,
    health: &Health,
    metrics: &ControllerMetrics,
    ended: impl Future<Output = ()>,
) -> Result<(), ControllerError> {
    let identity = lease::identity();
    let Some(settings) = lease else {
        tokio::select! {
            () = work(client, namespace, &identity, health, metrics) => {}
            () = ended => {}
        }
        return Ok(());
    };
    let mut lease = Lease::new(client.clone(), &settings, &identity);
    let result = tokio::select! {
        result = lead(&mut lease, client, namespace, &identity, health, metrics) => result,
        () = ended => Ok(()),
    };
    lease.release().await;
    result
}

/// Waits until it leads, then works until it no longer does.
async fn lead(
    lease: &mut Lease,
    client: Client,
    namespace: &str,
    identity: &str,
    health: &Health,
    metrics: &ControllerMetrics,
) -> Result<(), ControllerError> {
    lease.acquire(health).await;
    metrics.elected.inc();
    tokio::select! {
        biased;
        lost = lease.keep(metrics) => Err(lost.into()),
        () = work(client, namespace, identity, health, metrics) => Ok(()),
    }
}

/// Runs every task. None of them ends.
async fn work(
    client: Client,
    namespace: &str,
    identity: &str,
    health: &Health,
    metrics: &ControllerMetrics,
) {
    let stores = Arc::new(Stores::default());
    let publisher = Publisher::new(client.clone(), COMPONENT, identity);
    let mut tasks = JoinSet::new();
    tasks.spawn(profiles::run(
        Arc::clone(&stores),
        client.clone(),
        publisher.clone(),
        health.clone(),
        metrics.clone(),
    ));
    tasks.spawn(gate::run(
        Arc::clone(&stores),
        publisher,
        health.clone(),
        metrics.clone(),
    ));
    let (metrics, namespace) = (metrics.clone(), namespace.to_owned());
    tasks.spawn(async move { Box::pin(stores.watch(&client, &namespace, &metrics)).await });
    if let Some(Err(error)) = tasks.join_next().await
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}
