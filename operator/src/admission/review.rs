//! `AdmissionReview`: what the API server asks a webhook, and what it is told.
//!
//! Only what admission looks at is read of an object. Everything else is skipped while it is parsed,
//! so that a review takes no more memory than its text.

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use std::collections::BTreeMap;

/// The only version that there is.
const VERSION: &str = "admission.k8s.io/v1";

/// Why a text is no review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It can't be parsed.
    #[error("not an AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is something else.
    #[error("not an AdmissionReview of {VERSION}")]
    Other,
    /// Its object can't be parsed.
    #[error("the {part} of the AdmissionReview: {error}")]
    Object {
        /// `object` or `oldObject`.
        part: &'static str,
        /// Why.
        error: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

/// What the API server asks about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    uid: String,
    /// The resource of the request.
    pub resource: Resource,
    /// The subresource; empty if there is none.
    #[serde(default)]
    pub sub_resource: String,
    /// `CREATE` or `UPDATE`.
    pub operation: String,
    /// The object's name, if it has one already.
    #[serde(default)]
    pub name: String,
    /// Its namespace; empty if it has none.
    #[serde(default)]
    pub namespace: String,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

/// A resource.
#[derive(Debug, Deserialize)]
pub struct Resource {
    /// Its group; empty for the core's.
    pub group: String,
    /// Its plural name.
    pub resource: String,
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub fn parse(text: &'a [u8]) -> Result<Request<'a>, ReviewError> {
        let wire: Wire<'a> = serde_json::from_slice(text)?;
        match wire.request {
            Some(request) if wire.api_version == VERSION && wire.kind == "AdmissionReview" => {
                Ok(request)
            }
            _ => Err(ReviewError::Other),
        }
    }

    /// The object as it would be.
    ///
    /// # Errors
    /// [`ReviewError::Object`].
    pub fn object<T: DeserializeOwned + Default>(&self) -> Result<T, ReviewError> {
        read("object", self.object)
    }

    /// The object as it is; on creation, an empty one.
    ///
    /// # Errors
    /// [`ReviewError::Object`].
    pub fn old_object<T: DeserializeOwned + Default>(&self) -> Result<T, ReviewError> {
        read("oldObject", self.old_object)
    }

    /// The review with the answer.
    pub fn answer(&self, verdict: &Verdict) -> Value {
        let mut response = json!({"uid": self.uid, "allowed": verdict.refusal.is_none()});
        if let Some(refusal) = &verdict.refusal {
            response["status"] = json!({"code": 403, "reason": "Forbidden", "message": refusal});
        } else if !verdict.patches.is_empty() {
            let patches = Value::from(verdict.patches.clone()).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(patches.into_bytes()));
        }
        if !verdict.warnings.is_empty() {
            response["warnings"] = json!(verdict.warnings);
        }
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response})
    }
}

fn read<T: DeserializeOwned + Default>(
    part: &'static str,
    object: Option<&RawValue>,
) -> Result<T, ReviewError> {
    let object: Option<Option<T>> = object
        .map(|text| serde_json::from_str(text.get()))
        .transpose()
        .map_err(|error| ReviewError::Object { part, error })?;
    Ok(object.flatten().unwrap_or_default())
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Why it is refused.
    pub refusal: Option<String>,
    /// What is changed: operations of a JSON patch.
    pub patches: Vec<Value>,
    /// What the user is told.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// A refusal.
    pub fn refused(why: String) -> Verdict {
        Verdict {
            refusal: Some(why),
            ..Verdict::default()
        }
    }
}

/// A pod, as far as admission looks at it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Pod {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its specification.
    pub spec: PodSpec,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Metadata {
    /// The labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What a pod runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Its operating system.
    pub os: Option<Os>,
    /// What applies to all containers.
    pub security_context: Option<SecurityContext>,
    /// The containers.
    pub containers: Option<Vec<Container>>,
    /// The init containers.
    pub init_containers: Option<Vec<Container>>,
    /// The ephemeral containers.
    pub ephemeral_containers: Option<Vec<Container>>,
}

/// An operating system.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Os {
    /// `linux` or `windows`.
    pub name: String,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: Option<String>,
    /// Its security context.
    pub security_context: Option<SecurityContext>,
}

/// A security context.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityContext {
    /// Whether it is privileged.
    pub privileged: Option<bool>,
    /// The profile.
    pub seccomp_profile: Option<SeccompField>,
}

/// The field `securityContext.seccompProfile`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SeccompField {
    /// `Localhost`, `RuntimeDefault` or `Unconfined`.
    pub r#type: String,
    /// The path below the seccomp root.
    pub localhost_profile: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_review_is_taken_and_the_answer_has_its_uid() {
        let review = json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "operation": "CREATE",
            "namespace": "n", "object": {"metadata": null, "spec": {"containers": [{"name": "c"}]}}}});
        let text = review.to_string().replace("\"metadata\":null,", "");
        let request = Request::parse(text.as_bytes()).unwrap();
        let pod: Pod = request.object().unwrap();
        assert_eq!(pod.spec.containers.unwrap()[0].name, "c");
        assert!(request.old_object::<Pod>().unwrap().spec.os.is_none());
        let refused = request.answer(&Verdict::refused("no".to_owned()));
        assert_eq!(refused["response"]["uid"], "u");
        assert_eq!(refused["response"]["status"]["message"], "no");
        let changed = request.answer(&Verdict {
            patches: vec![json!({"op": "remove", "path": "/a"})],
            warnings: vec!["careful".to_owned()],
            refusal: None,
        });
        assert_eq!(
            changed["response"]["patch"],
            "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0="
        );
        assert_eq!(changed["response"]["warnings"], json!(["careful"]));
        let mut other = review.clone();
        other["kind"] = json!("TokenReview");
        let mut none = review;
        none["request"] = Value::Null;
        for wrong in [
            String::new(),
            "null".to_owned(),
            other.to_string(),
            none.to_string(),
        ] {
            assert!(Request::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
