//! Writes the profiles that keys give. Only such profiles are changed or deleted: the annotation is
//! looked at again in what is replaced, and a deletion fails if the profile has changed meanwhile.

use super::plan::{Given, Step};
use crate::{
    crd::SeccompProfile,
    kube::{
        metrics::ControllerMetrics,
        request::{RequestError, request, unless_changed},
        stored::CONFIG_MAP,
        stores::profile::CONFIG_MAP_DIGEST,
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::Value;

/// The field manager of what the controller writes here.
const FIELD_MANAGER: &str = "portcullis-config-maps";
/// The label of every profile that a key gave.
const FROM: (&str, &str) = ("portcullis.dev/from", "config-map");

/// Writes profiles.
pub(super) struct Writer {
    profiles: Api<DynamicObject>,
    kind: ApiResource,
    metrics: ControllerMetrics,
}

impl Writer {
    pub(super) fn new(client: Client, metrics: ControllerMetrics) -> Writer {
        let kind = ApiResource::erase::<SeccompProfile>(&());
        Writer {
            profiles: Api::all_with(client, &kind),
            kind,
            metrics,
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// If the API server refuses it or does not answer.
    pub(super) async fn take(&self, step: &Step<'_>) -> Result<(), RequestError> {
        match step {
            Step::Create(given) => {
                let mut profile = DynamicObject::new(&given.profile.name, &self.kind);
                become_as(&mut profile, given);
                request(self.profiles.create(&parameters(), &profile)).await?;
            }
            Step::Replace(given) => {
                let name = &given.profile.name;
                let mut profile = request(self.profiles.get(name)).await?;
                if !profile.annotations().contains_key(CONFIG_MAP) {
                    return Ok(()); // Somebody has taken it over; the watch will tell.
                }
                become_as(&mut profile, given);
                request(self.profiles.replace(name, &parameters(), &profile)).await?;
            }
            Step::Delete(profile) => {
                let version = profile.resource_version.clone();
                let parameters = unless_changed(profile.uid.clone(), version);
                request(self.profiles.delete(&profile.name, &parameters)).await?;
            }
        }
        self.metrics.writes.inc();
        Ok(())
    }
}

fn become_as(profile: &mut DynamicObject, given: &Given) {
    let says = given.profile;
    profile.labels_mut().extend(says.labels.clone());
    let from = (FROM.0.to_owned(), FROM.1.to_owned());
    profile.labels_mut().extend([from]);
    profile.annotations_mut().extend(says.annotations.clone());
    profile.annotations_mut().extend([
        (CONFIG_MAP.to_owned(), given.origin.clone()),
        (CONFIG_MAP_DIGEST.to_owned(), given.digest.clone()),
    ]);
    let spec = serde_json::from_str::<Value>(&says.spec).unwrap_or_default();
    profile.data["spec"] = spec;
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
