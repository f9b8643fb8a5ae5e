//! Writes profiles: their status and the controller's finalizer.

use crate::{
    crd::SeccompProfileStatus,
    kube::{
        metrics::{ControllerMetrics, ProfileWrite, WriteLabels},
        request::{RequestError, request},
        stored::StoredProfile,
        stores::profile::{FINALIZER, Profile},
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use std::time::Instant;

/// The field manager of what the controller writes.
const FIELD_MANAGER: &str = "portcullis-controller";

/// Writes profiles.
pub(super) struct Writer {
    profiles: Api<StoredProfile>,
    metrics: ControllerMetrics,
}

impl Writer {
    pub(super) fn new(client: Client, metrics: ControllerMetrics) -> Writer {
        Writer {
            profiles: Api::all(client),
            metrics,
        }
    }

    pub(super) async fn status(
        &self,
        profile: &Profile,
        status: &SeccompProfileStatus,
    ) -> Result<(), RequestError> {
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = parameters();
        let api = &self.profiles;
        let write = api.patch_status(&profile.name, &parameters, &patch);
        self.count(ProfileWrite::Status, write).await
    }

    /// Adds our finalizer.
    pub(super) async fn hold(&self, profile: &Profile) -> Result<(), RequestError> {
        let finalizers: Vec<&str> = others(profile).chain([FINALIZER]).collect();
        self.metadata(profile, &finalizers_patch(profile, &finalizers))
            .await
    }

    /// Removes our finalizer, so that a profile whose deletion was requested can be deleted.
    pub(super) async fn release(&self, profile: &Profile) -> Result<(), RequestError> {
        let mut patch = finalizers_patch(profile, &others(profile).collect::<Vec<_>>());
        match self.metadata(profile, &patch).await {
            // A profile that was stored under a laxer schema must first conform to the current one.
            Err(error) if error.code() == Some(422) => {
                let name = &profile.name;
                tracing::warn!(
                    name,
                    "emptied, because it can't be deleted as it is: {error}"
                );
                patch["spec"] = emptied(&profile.spec);
                self.metadata(profile, &patch).await
            }
            other => other,
        }
    }

    async fn metadata(&self, profile: &Profile, patch: &Value) -> Result<(), RequestError> {
        let parameters = parameters();
        let patch = Patch::Merge(patch);
        let api = &self.profiles;
        let write = api.patch_metadata(&profile.name, &parameters, &patch);
        self.count(ProfileWrite::Finalizer, write).await
    }

    async fn count<T>(
        &self,
        what: ProfileWrite,
        write: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<(), RequestError> {
        let begin = Instant::now();
        request(write).await?;
        let duration = begin.elapsed().as_secs_f64();
        let labels = WriteLabels { what };
        self.metrics.write.get_or_create(&labels).observe(duration);
        self.metrics.writes.inc();
        Ok(())
    }
}

/// Whose fields the written ones are.
fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Foreign finalizers.
fn others(profile: &Profile) -> impl Iterator<Item = &str> {
    let finalizers = profile.finalizers.iter().map(String::as_str);
    finalizers.filter(|finalizer| *finalizer != FINALIZER)
}

/// A merge patch for the finalizers, which fails if the profile has changed meanwhile.
fn finalizers_patch(profile: &Profile, finalizers: &[&str]) -> Value {
    json!({"metadata": {"finalizers": finalizers, "resourceVersion": profile.resource_version}})
}

/// A merge patch that removes everything from a specification.
fn emptied(spec: &str) -> Value {
    let mut fields: serde_json::Map<_, _> = serde_json::from_str(spec).unwrap_or_default();
    fields.values_mut().for_each(|value| *value = json!(null));
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizers_of_others_stay() {
        let mut profile = Profile::of("a", &json!({}));
        profile.finalizers = ["x/1", FINALIZER, "x/2"].map(str::to_owned).into();
        profile.resource_version = Some("7".to_owned());
        let patch = finalizers_patch(&profile, &others(&profile).collect::<Vec<_>>());
        let wanted = json!({"metadata": {"finalizers": ["x/1", "x/2"], "resourceVersion": "7"}});
        assert_eq!(patch, wanted);
    }

    #[test]
    fn an_emptied_specification_has_no_field_left() {
        let patch = emptied(r#"{"allow": "text", "syscalls": [{}]}"#);
        assert_eq!(patch, json!({"allow": null, "syscalls": null}));
        assert_eq!(emptied("null"), json!({}));
    }
}
