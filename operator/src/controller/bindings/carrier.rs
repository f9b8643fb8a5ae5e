//! The admission policies on the API server: finds out whether they are there, writes the rules into
//! them, binds them, and overwrites what somebody else has changed.

use super::{
    parts::{Parts, PartsChanges},
    written::{Content, live},
};
use crate::{
    admission::{
        policies::{Cut, LIVE_ANNOTATION, NAME, Part, Policies, TemplateError, VERSION},
        rules::RuleSet,
    },
    kube::{
        metrics::{ControllerMetrics, Watched},
        request::{RequestError, request},
    },
};
use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::APIResourceList,
};
use kube::{Client, ResourceExt};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How often to ask whether the API server serves the policies, as long as it does not.
const ASK: Duration = Duration::from_secs(60);
/// How often after a failure.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Why the policies can't be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarrierError {
    #[error("{kind} {NAME}: {source}")]
    Refused {
        kind: &'static str,
        source: RequestError,
    },
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What became of a rule set.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Why the rules are not live, if they are not.
    pub(super) problem: Option<String>,
    /// Why the API server does not apply the rules, although it has accepted them.
    pub(super) unapplied: Option<String>,
    /// Which rules these are, as the mutating policy says when it is asked.
    pub(super) version: String,
    /// The rules that found no place, by namespace and name.
    pub(super) cut: BTreeMap<String, BTreeMap<String, Cut>>,
    /// What was written because somebody else had changed it.
    pub(super) overwritten: Vec<Overwritten>,
    /// The namespaces with annotations that the API server asks the webhook about only from now on.
    pub(super) new: Vec<String>,
}

impl Written {
    /// Nothing was, for this reason.
    pub(super) fn nothing(problem: String) -> Written {
        Written {
            problem: Some(problem),
            ..Written::default()
        }
    }

    /// Whether the API server applies the rules.
    pub(super) fn is_live(&self) -> bool {
        self.problem.is_none() && self.unapplied.is_none()
    }
}

/// A part that somebody else had changed.
#[derive(Debug)]
pub(super) struct Overwritten {
    pub(super) reference: ObjectReference,
    pub(super) note: String,
}

/// Whether the API server serves the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Unknown,
    No,
    Yes,
}

/// The policies and their bindings.
pub(super) struct Carriers {
    client: Client,
    served: watch::Sender<Served>,
    parts: Parts,
}

/// A subscription to changes of the policies.
pub(super) struct PoliciesChanges {
    served: watch::Receiver<Served>,
    parts: PartsChanges,
}

impl PoliciesChanges {
    /// Waits until somebody has changed one, or it is known whether they are served.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = self.parts.next() => {}
            Ok(()) = self.served.changed() => {}
        }
    }
}

impl Carriers {
    pub(super) fn new(client: Client, metrics: ControllerMetrics) -> Carriers {
        let kinds = Part::ALL.map(Part::kind);
        Carriers {
            parts: Parts::new(client.clone(), metrics, Watched::Policies, kinds),
            client,
            served: watch::Sender::new(Served::Unknown),
        }
    }

    pub(super) fn changes(&self) -> PoliciesChanges {
        PoliciesChanges {
            served: self.served.subscribe(),
            parts: self.parts.changes(),
        }
    }

    /// Whether it is known what the API server has.
    pub(super) fn is_known(&self) -> bool {
        match *self.served.borrow() {
            Served::Unknown => false,
            Served::No => true,
            Served::Yes => self.parts.are_known(),
        }
    }

    /// Watches the parts until the future is dropped, once the API server serves them.
    pub(super) async fn watch(&self) {
        loop {
            let version = format!("{}/{}", VERSION.0, VERSION.1);
            let delay = match request(self.client.list_api_group_resources(&version)).await {
                Ok(list) if serves_all(&list) => break,
                Ok(_) => {
                    self.served.send_replace(Served::No);
                    ASK
                }
                Err(error) => {
                    tracing::warn!("whether {version} has admission policies: {error}");
                    ASK_AGAIN
                }
            };
            sleep(delay).await;
        }
        self.served.send_replace(Served::Yes);
        self.parts.watch().await;
    }

    /// Why the policies can't carry rules.
    pub(super) fn obstacle(&self) -> Option<String> {
        if !self.are_served() {
            let problem = "the API server does not serve MutatingAdmissionPolicy in admissionregistration.k8s.io/v1, as Kubernetes 1.36 and later do";
            return Some(problem.to_owned());
        }
        if !self.parts.are_complete() {
            return Some(format!(
                "the admission policies can't be watched; the rights are in packaging/manifests/admission.yaml, and the controller's log says more ({NAME})"
            ));
        }
        let missing = self.parts.missing();
        (!missing.is_empty()).then(|| {
            format!(
                "the admission policies are not installed, or were removed: there is no {} {NAME} (packaging/admission)",
                missing.join(", ")
            )
        })
    }

    /// Whether the API server serves them, installed or not.
    pub(super) fn are_served(&self) -> bool {
        *self.served.borrow() == Served::Yes
    }

    /// Whether they carry rules.
    pub(super) fn are_live(&self) -> bool {
        Part::ALL.iter().any(|part| {
            let found = self.parts.get(part.kind().0);
            found.is_some_and(|object| object.annotations().contains_key(LIVE_ANNOTATION))
        })
    }

    /// Writes the rules into the policies and binds them; or else, takes both out again.
    ///
    /// # Errors
    /// [`CarrierError`]. What was written by then stays.
    pub(super) async fn write(
        &self,
        rules: &RuleSet,
        exempt: &[&str],
        is_live: bool,
    ) -> Result<Written, CarrierError> {
        let policies = if is_live {
            Policies::of(rules, exempt)?
        } else {
            Policies::installed()?
        };
        for profile in &policies.cut_offers {
            tracing::warn!(
                profile,
                "annotations of namespaces can't name it: more profiles are offered than policies can hold"
            );
        }
        let mut written = Written {
            version: policies.version,
            cut: policies.cut,
            ..Written::default()
        };
        let mut order = Part::ALL;
        // First nothing changes pods any more, then nothing refuses them.
        if !is_live {
            order.reverse();
        }
        for part in order {
            let Some(wanted) = policies.specs.get(&part) else {
                continue;
            };
            let says_live = [live(is_live)];
            let content = Content {
                field: "spec",
                value: wanted,
                annotations: if part == Part::MutatingBinding {
                    &says_live
                } else {
                    &[]
                },
            };
            let found = self.parts.write(part.kind(), &content).await?;
            written.overwritten.extend(found);
        }
        Ok(written)
    }
}

/// A reference to a part, for events.
pub(super) fn reference(part: Part) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{}/{}", VERSION.0, VERSION.1)),
        kind: Some(part.kind().0.to_owned()),
        name: Some(NAME.to_owned()),
        ..ObjectReference::default()
    }
}

/// Whether a group has every kind of the policies.
fn serves_all(list: &APIResourceList) -> bool {
    Part::ALL.iter().all(|part| {
        let (_, plural) = part.kind();
        list.resources.iter().any(|served| served.name == plural)
    })
}
