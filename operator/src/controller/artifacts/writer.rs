//! Writes the profiles of artifacts.

use crate::{
    crd::{SeccompProfile, SeccompProfileSpec},
    kube::{
        request::{RequestError, request, unless_changed},
        stored::{self, ARTIFACT},
        stores::profile::Profile,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_artifact::Base;
use serde_json::{Map, Value, json};

/// The field manager of what the controller writes.
const FIELD_MANAGER: &str = "portcullis-controller";
/// The label of what the controller has made of artifacts.
const SOURCE: (&str, &str) = ("portcullis.dev/source", "oci");

/// Writes the profiles of artifacts.
pub(super) struct Writer {
    profiles: Api<SeccompProfile>,
}

impl Writer {
    pub(super) fn new(client: Client) -> Writer {
        Writer {
            profiles: Api::all(client),
        }
    }

    /// Makes the profile of an artifact, or makes it again what the artifact says. The digest in its
    /// name says what it has to be, whoever has made or edited it.
    pub(super) async fn keep(
        &self,
        base: &Base,
        spec: &SeccompProfileSpec,
        existing: Option<&Profile>,
    ) -> Result<(), RequestError> {
        let Some(existing) = existing else {
            return self.create(base, spec).await;
        };
        let is: Option<SeccompProfileSpec> = stored::spec(&existing.spec).ok();
        if is.as_ref() == Some(spec) {
            return Ok(());
        }
        tracing::warn!(
            name = existing.name,
            "overwritten, because it was not what its artifact says"
        );
        let patch = json!({
            "metadata": {"resourceVersion": existing.resource_version},
            "spec": replacement(&existing.spec, spec),
        });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        request(self.profiles.patch(&existing.name, &parameters, &patch)).await?;
        Ok(())
    }

    async fn create(&self, base: &Base, spec: &SeccompProfileSpec) -> Result<(), RequestError> {
        let mut profile = SeccompProfile::new(&base.profile_name(), spec.clone());
        let (key, value) = SOURCE;
        profile.metadata.labels = Some([(key.to_owned(), value.to_owned())].into());
        let artifact = base.reference().to_string();
        profile.metadata.annotations = Some([(ARTIFACT.to_owned(), artifact)].into());
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        request(self.profiles.create(&parameters, &profile)).await?;
        Ok(())
    }

    /// Removes a profile, unless it has changed meanwhile.
    pub(super) async fn remove(&self, profile: &Profile) -> Result<(), RequestError> {
        let version = profile.resource_version.clone();
        let parameters = unless_changed(profile.uid.clone(), version);
        request(self.profiles.delete(&profile.name, &parameters)).await?;
        Ok(())
    }
}

/// A merge patch that makes a stored specification this one.
fn replacement(stored: &str, spec: &SeccompProfileSpec) -> Value {
    let stored: Map<String, Value> = serde_json::from_str(stored).unwrap_or_default();
    let mut patch: Map<String, Value> = stored
        .into_iter()
        .map(|(field, _)| (field, Value::Null))
        .collect();
    if let Ok(Value::Object(wanted)) = serde_json::to_value(spec) {
        patch.extend(wanted);
    }
    patch.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_leaves_nothing_of_what_was_there() {
        let spec: SeccompProfileSpec = serde_json::from_str(r#"{"allow": ["read"]}"#).unwrap();
        let patch = replacement(r#"{"allow": ["mkdir"], "flags": []}"#, &spec);
        assert_eq!(patch["flags"], Value::Null);
        assert_eq!(patch["allow"], json!(["read"]));
        assert_eq!(patch["defaultAction"], "SCMP_ACT_ERRNO");
    }
}
