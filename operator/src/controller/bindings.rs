//! Admission: makes rules of `SeccompBinding` objects, of profiles' offers and of the operator's
//! configuration, keeps them in the carrier that the API server applies them with, and says on each
//! binding how it is.

mod carrier;
mod changeover;
mod cluster_default;
mod configurations;
mod events;
mod lookup;
mod missed;
mod parts;
mod proof;
mod status;
mod verdicts;
mod written;

use super::webhook::Webhook;
use crate::{
    admission::rules::Configuration,
    kube::{
        events::Publisher,
        health::{HEARTBEAT, Health},
        metrics::{
            ControllerMetrics,
            admission::{AdmissionWrite, Carrier},
        },
        request::{RequestError, request},
        schedule::Schedule,
        stored::StoredBinding,
        stores::{Stores, binding::Binding},
    },
};
use carrier::Carriers;
use changeover::{Changeover, Wanted};
use configurations::Configurations;
use events::Events;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
pub(super) use lookup::{rules_of, validity};
use missed::Missed;
use proof::{Finding, Proof};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, interval},
};
use verdicts::Verdicts;

/// The field manager of what the controller writes.
const FIELD_MANAGER: &str = "portcullis-controller";
/// How long changes of rules are collected before they are written.
const DEBOUNCE: Duration = Duration::from_millis(150);
/// The same for changes that only concern statuses.
const SLOW_DEBOUNCE: Duration = Duration::from_secs(2);
/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// How many statuses are written before looking whether a rule has changed.
const STATUSES: usize = 50;

/// What admission needs besides what is watched.
pub(super) struct Settings {
    /// The operator's own namespace.
    pub(super) namespace: String,
    /// What applies in the whole cluster.
    pub(super) configuration: Configuration,
    /// The webhook, if one is served.
    pub(super) webhook: Option<Arc<Webhook>>,
    /// The carrier to take where both are installed.
    pub(super) prefer: Carrier,
}

/// Keeps admission up to date until the future is dropped.
pub(super) async fn run(
    stores: Arc<Stores>,
    client: Client,
    publisher: Publisher,
    settings: Settings,
    health: Health,
    metrics: ControllerMetrics,
) {
    let policies = Carriers::new(client.clone(), metrics.clone());
    let webhook = Configurations::new(client.clone(), settings.webhook, metrics.clone());
    let (new, told) = mpsc::unbounded_channel();
    let missed = Missed::new(
        &stores,
        client.clone(),
        settings.configuration.clone(),
        publisher.clone(),
        metrics.clone(),
    );
    let mut admission = Admission {
        proof: Proof::new(client.clone()),
        unapplied: None,
        bindings: client,
        carriers: Changeover::new(&policies, &webhook, settings.prefer),
        events: Events::new(publisher.clone(), metrics.clone()),
        new,
        is_new_itself: true,
        configuration: settings.configuration,
        exempt: exempt(settings.namespace),
        metrics,
    };
    tokio::join!(
        policies.watch(),
        webhook.watch(),
        missed.run(told),
        admission.follow(&stores, &health)
    );
}

/// The namespaces that always stay out. `namespace` is the operator's own.
pub(super) fn exempt(namespace: String) -> [String; 2] {
    ["kube-system".to_owned(), namespace]
}

struct Admission<'a> {
    bindings: Client,
    carriers: Changeover<'a>,
    proof: Proof,
    /// Why the API server does not apply the policies, as it was logged last.
    unapplied: Option<String>,
    events: Events,
    /// Takes the namespaces that the API server asks the webhook about only from now on.
    new: mpsc::UnboundedSender<String>,
    /// Whether this controller has not written the webhook's namespaces yet.
    is_new_itself: bool,
    configuration: Configuration,
    exempt: [String; 2],
    metrics: ControllerMetrics,
}

impl Admission<'_> {
    async fn follow(&mut self, stores: &Stores, health: &Health) {
        let mut profiles = stores.profiles.changes();
        let mut bindings = stores.bindings.changes();
        let mut namespaces = stores.namespaces.changes();
        let mut pods = stores.pods.changes();
        let mut policies = self.carriers.policies.changes();
        let mut webhooks = self.carriers.webhook.changes();
        let heartbeat = health.heartbeat("admission");
        let mut idle = interval(HEARTBEAT);
        let mut schedule = Schedule::after(DEBOUNCE);
        loop {
            heartbeat.beat();
            let delay = tokio::select! {
                () = profiles.next() => DEBOUNCE,
                () = bindings.next() => DEBOUNCE,
                () = namespaces.next() => DEBOUNCE,
                () = policies.next() => DEBOUNCE,
                () = webhooks.next() => DEBOUNCE,
                () = pods.next() => SLOW_DEBOUNCE,
                () = schedule.reached(), if is_complete(stores) && self.carriers.is_known() => {
                    let due = self.pass(stores).await;
                    schedule.set(due);
                    continue;
                }
                _ = idle.tick() => continue,
            };
            schedule.bring_forward(delay);
        }
    }

    /// Brings carrier and statuses up to date. Returns when the next pass is due, if something is
    /// left to do.
    async fn pass(&mut self, stores: &Stores) -> Option<Instant> {
        let mut verdicts = Verdicts::of(stores, &self.configuration, &self.exempt);
        let exempt: Vec<&str> = self.exempt.iter().map(String::as_str).collect();
        let (state, problem) =
            cluster_default::judge(&self.configuration, &stores.profiles.snapshot());
        self.metrics.admission.set_cluster_default(state);
        self.events.cluster_default(problem).await;
        let namespaces = stores.namespaces.snapshot();
        let annotated = namespaces
            .iter()
            .filter(|(_, it)| !it.annotations.is_empty());
        let annotated: BTreeSet<String> = annotated.map(|(name, _)| name.clone()).collect();
        let wanted = Wanted {
            rules: &verdicts.rules,
            annotated: &annotated,
            exempt: &exempt,
        };
        let outcome = self.carriers.write(wanted).await;
        let (mut written, mut next) = (outcome.written, outcome.due);
        if let Some(error) = outcome.failure {
            tracing::warn!("admission's rules can't be written: {error}");
            self.metrics.admission.count(AdmissionWrite::Failed);
            next = Some(Instant::now() + RETRY);
        }
        if outcome.live == Carrier::Webhook {
            let mut new = std::mem::take(&mut written.new);
            if std::mem::take(&mut self.is_new_itself) {
                // The controller before may have ended between writing and looking.
                let recent = namespaces.iter().filter(|(_, it)| missed::is_recent(it));
                new.extend(recent.map(|(name, _)| name.clone()));
            }
            for namespace in new {
                // The receiver lives as long as this.
                let _ = self.new.send(namespace);
            }
        }
        for part in &written.overwritten {
            self.events.overwritten(part).await;
        }
        if outcome.live != Carrier::Policies || !written.overwritten.is_empty() {
            self.proof.forget();
        }
        self.carriers.applied = false;
        if outcome.live == Carrier::Policies {
            let renew = Instant::now() + proof::RENEW;
            next = Some(next.map_or(renew, |next| next.min(renew)));
            let any = verdicts.applying().next();
            let problem = match self.proof.of(&written.version, any).await {
                Finding::Applied => None,
                // Until then the statuses stay as they are.
                Finding::Pending(delay) => return Some(Instant::now() + delay),
                Finding::Unapplied(problem) => {
                    next = Some(Instant::now() + RETRY);
                    Some(problem)
                }
            };
            self.carriers.applied = problem.is_none();
            if let Some(problem) = &problem
                && self.unapplied.as_ref() != Some(problem)
            {
                tracing::warn!("{problem}");
            }
            self.unapplied.clone_from(&problem);
            written.unapplied = problem;
        }
        let live = if written.is_live() {
            outcome.live
        } else {
            Carrier::None
        };
        self.metrics.admission.set_carrier(live);
        verdicts.apply(&written);
        verdicts.count(&self.metrics);
        self.events.keep_only(&stores.bindings.snapshot());
        let mut left = STATUSES;
        for (binding, status) in verdicts.statuses(&stores.pods.snapshot()) {
            self.events.observe(binding, &status).await;
            if binding.status.as_ref() == Some(&status) {
                continue;
            }
            if left == 0 {
                return Some(Instant::now());
            }
            left -= 1;
            if let Err(error) = self.write_status(binding, &status).await
                && !error.is_outdated()
            {
                let (namespace, name) = (&binding.namespace, &binding.name);
                tracing::warn!("the status of SeccompBinding {namespace}/{name}: {error}");
                self.metrics.admission.count(AdmissionWrite::Failed);
                next = Some(Instant::now() + RETRY);
                if !error.is_about_the_object() {
                    break;
                }
            }
        }
        next
    }

    async fn write_status(
        &self,
        binding: &Binding,
        status: &crate::crd::SeccompBindingStatus,
    ) -> Result<(), RequestError> {
        let api = Api::<StoredBinding>::namespaced(self.bindings.clone(), &binding.namespace);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // What is empty is left out, so that it has to be taken away.
        let mut patch = json!({"status": status});
        if status.ties.is_empty() {
            patch["status"]["ties"] = json!(null);
        }
        let patch = Patch::Merge(patch);
        request(api.patch_status(&binding.name, &parameters, &patch)).await?;
        self.metrics.admission.count(AdmissionWrite::Status);
        Ok(())
    }
}

/// Whether everything that a rule depends on is known: a part of the rules is never written.
fn is_complete(stores: &Stores) -> bool {
    stores.have_rules() && stores.pods.is_complete()
}
