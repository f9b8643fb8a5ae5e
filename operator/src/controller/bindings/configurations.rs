//! The webhook configurations on the API server: finds out whether they are there, and writes into
//! them what the API server has to ask the webhook about.

use super::{
    carrier::{CarrierError, Written},
    parts::{Parts, PartsChanges},
    written::{Content, live},
};
use crate::{
    admission::{
        configurations::{Part, Scope, bundle_in, not_asked_about, webhooks},
        policies::NAME,
    },
    controller::webhook::{Held, Webhook},
    kube::metrics::{ControllerMetrics, Watched},
};
use kube::Client;
use std::sync::Arc;
use tokio::sync::watch;

/// The annotation of the live configuration that names a carrier which could be installed too.
const COULD_INSTALL: &str = "portcullis.dev/could-install";

/// The webhook configurations.
pub(super) struct Configurations {
    /// `None` if this controller serves no webhook.
    webhook: Option<Arc<Webhook>>,
    parts: Parts,
}

/// A subscription to changes of the configurations, and of the certificates.
pub(super) struct ConfigurationsChanges {
    parts: PartsChanges,
    held: Option<watch::Receiver<Held>>,
}

impl ConfigurationsChanges {
    /// Waits for one; forever if no webhook is served.
    pub(super) async fn next(&mut self) {
        let Some(held) = &mut self.held else {
            return futures::future::pending().await;
        };
        tokio::select! {
            () = self.parts.next() => {}
            Ok(()) = held.changed() => {}
        }
    }
}

impl Configurations {
    pub(super) fn new(
        client: Client,
        webhook: Option<Arc<Webhook>>,
        metrics: ControllerMetrics,
    ) -> Configurations {
        let kinds = Part::ALL.map(Part::kind);
        Configurations {
            webhook,
            parts: Parts::new(client, metrics, Watched::Webhooks, kinds),
        }
    }

    pub(super) fn changes(&self) -> ConfigurationsChanges {
        ConfigurationsChanges {
            parts: self.parts.changes(),
            held: self.webhook.as_ref().map(|webhook| webhook.held()),
        }
    }

    /// Whether it is known what the API server has, and whether there is a certificate.
    pub(super) fn is_known(&self) -> bool {
        let Some(webhook) = &self.webhook else {
            return true;
        };
        *webhook.held().borrow() != Held::Unknown && self.parts.are_known()
    }

    /// Watches the parts until the future is dropped.
    pub(super) async fn watch(&self) {
        if self.webhook.is_some() {
            self.parts.watch().await;
        }
    }

    /// Why the webhook can't carry rules.
    pub(super) fn obstacle(&self) -> Option<String> {
        let Some(webhook) = &self.webhook else {
            return Some("no webhook is served (--webhook-listen)".to_owned());
        };
        if !self.parts.are_complete() {
            return Some(format!(
                "the webhook configurations can't be watched; the rights are in packaging/manifests/admission.yaml, and the controller's log says more ({NAME})"
            ));
        }
        let missing = self.parts.missing();
        if !missing.is_empty() {
            return Some(format!(
                "the webhook is not installed, or was removed: there is no {} {NAME} (packaging/admission/webhooks.yaml)",
                missing.join(", ")
            ));
        }
        match &*webhook.held().borrow() {
            Held::Served(_) => {
                self.awaits_bundle().then(|| {
                    let (kind, _) = Part::Validating.kind();
                    format!("the certificate's Secret has no ca.crt, and nobody has put a caBundle into {kind} {NAME} yet, as cert-manager's cainjector does")
                })
            }
            Held::Missing(why) => Some(format!("the webhook has no certificate: {why}")),
            Held::Unknown => Some("the webhook has no certificate yet".to_owned()),
        }
    }

    /// Whether somebody else has to tell the API server the CAs, and has not yet.
    pub(super) fn awaits_bundle(&self) -> bool {
        let Some(webhook) = &self.webhook else {
            return false;
        };
        let leaves = match &*webhook.held().borrow() {
            Held::Served(certificates) => certificates.bundle().is_none(),
            Held::Missing(_) | Held::Unknown => false,
        };
        leaves && self.injected(Part::Validating).is_none()
    }

    /// The CAs that somebody else has put into a part, or else into the other one.
    fn injected(&self, part: Part) -> Option<String> {
        let other = Part::ALL.into_iter().filter(|other| *other != part);
        let mut order = [part].into_iter().chain(other);
        order.find_map(|part| bundle_in(self.parts.get(part.kind().0)?.data.get("webhooks")?))
    }

    /// Whether the API server is told to ask about pods.
    pub(super) fn are_live(&self) -> bool {
        let found = self.parts.get(Part::Mutating.kind().0);
        let webhooks = found
            .as_ref()
            .and_then(|it| it.data.get("webhooks")?.as_array());
        webhooks.is_some_and(|webhooks| !webhooks.is_empty())
    }

    /// Has the API server ask about these pods, or about none; and about our own kinds.
    /// `could_install` names another carrier that the API server could have.
    ///
    /// # Errors
    /// [`CarrierError`]. What was written by then stays.
    pub(super) async fn write(
        &self,
        pods: Option<Scope<'_>>,
        could_install: Option<&'static str>,
    ) -> Result<Written, CarrierError> {
        let mut written = Written::default();
        let Some(webhook) = &self.webhook else {
            return Ok(written);
        };
        let held = webhook.held().borrow().clone();
        let Held::Served(certificates) = held else {
            return Ok(written);
        };
        let bundle = certificates.bundle();
        let mut order = Part::ALL;
        // First nothing changes pods any more, then nothing refuses them.
        if pods.is_none() {
            order.reverse();
        }
        if let Some(pods) = pods {
            let found = self.parts.get(Part::Mutating.kind().0);
            let found = found.as_ref().map(|it| &it.data["webhooks"]);
            written.new = found.map_or_else(Vec::new, |found| not_asked_about(found, pods));
        }
        for part in order {
            let injected = || self.injected(part).unwrap_or_default();
            let told = bundle.clone().unwrap_or_else(injected);
            let value = webhooks(part, webhook.address(), &told, pods);
            let annotations = [live(pods.is_some()), (COULD_INSTALL, could_install)];
            let content = Content {
                field: "webhooks",
                value: &value,
                annotations: if part == Part::Mutating {
                    &annotations
                } else {
                    &[]
                },
            };
            let found = self.parts.write(part.kind(), &content).await?;
            written.overwritten.extend(found);
        }
        webhook.tell(&bundle.unwrap_or_default());
        Ok(written)
    }
}
