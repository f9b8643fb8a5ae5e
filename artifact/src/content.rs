//! The profile in an artifact: a manifest of a `SeccompProfile`, or an OCI runtime-spec document.

use crate::{Base, ReferenceError};
use portcullis_profile::{
    Arch, Document, DocumentError, Filter, filter::errno, parse_unconditional,
};
use serde_json::{Map, Value, json};

/// The API groups whose `SeccompProfile` is accepted: ours, and the Security Profiles Operator's.
const GROUPS: [&str; 2] = ["portcullis.dev", "security-profiles-operator.x-k8s.io"];

/// The fields of a specification that describe its filter, the same in both groups.
const FIELDS: [&str; 10] = [
    "allow",
    "architectures",
    "baseProfileName",
    "defaultAction",
    "defaultErrnoRet",
    "flags",
    "listenerMetadata",
    "listenerPath",
    "runtimeBase",
    "syscalls",
];
/// Those that say how a cluster uses the profile, which is not the artifact's business.
const LEFT_OUT: [&str; 3] = ["disabled", "offeredTo", "state"];

/// Why the profile in an artifact can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It is neither YAML nor JSON.
    #[error("the profile is neither YAML nor JSON: {0}")]
    Syntax(String),
    /// It is something else.
    #[error("the profile is neither a SeccompProfile nor a runtime-spec document: {0}")]
    Kind(String),
    /// A field that nothing knows.
    #[error("the profile: spec.{0}: unknown field")]
    Field(String),
    /// The name of an errno that nothing knows.
    #[error("the profile: {field}: unknown errno {value}")]
    Errno {
        /// The field.
        field: String,
        /// What it says.
        value: String,
    },
    /// The document is not valid.
    #[error("the profile: {0}")]
    Document(DocumentError),
    /// Its base is in a registry, and not well named.
    #[error("the profile: spec.baseProfileName: {0}")]
    Base(ReferenceError),
}

/// A profile that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    is_document: bool,
    spec: Map<String, Value>,
}

impl Content {
    /// Reads and checks a profile: a manifest in YAML or JSON, or a runtime-spec document in JSON.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn read(bytes: &[u8]) -> Result<Content, ContentError> {
        let value: Value = serde_json::from_slice(bytes)
            .or_else(|_| serde_saphyr::from_slice(bytes))
            .map_err(|error| {
                let text = error.to_string();
                ContentError::Syntax(text.lines().next().unwrap_or_default().to_owned())
            })?;
        let Value::Object(mut object) = value else {
            return Err(ContentError::Kind("it is not an object".to_owned()));
        };
        if !object.contains_key("kind") && object.contains_key("defaultAction") {
            let filter = parse_unconditional(bytes).map_err(ContentError::Document)?;
            return Ok(Content {
                is_document: true,
                spec: spec_of(&filter),
            });
        }
        check_kind(&object)?;
        let spec = match object.remove("spec") {
            Some(Value::Object(spec)) => spec,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(ContentError::Kind("spec is not an object".to_owned())),
        };
        let content = Content {
            is_document: false,
            spec: described(spec)?,
        };
        if let Some(base) = content.spec.get("baseProfileName")
            && let Some(Err(error)) = base.as_str().and_then(Base::parse)
        {
            return Err(ContentError::Base(error));
        }
        let document = document(&content.spec)?.to_string();
        Document::parse(document.as_bytes()).map_err(ContentError::Document)?;
        Ok(content)
    }

    /// Whether it is a runtime-spec document.
    pub fn is_document(&self) -> bool {
        self.is_document
    }

    /// The specification of a `SeccompProfile` with this filter.
    pub fn spec(&self) -> &Map<String, Value> {
        &self.spec
    }
}

/// The specification with exactly the rules of a document: nothing is added to it.
fn spec_of(filter: &Filter) -> Map<String, Value> {
    let Ok(Value::Object(mut spec)) = serde_json::to_value(filter) else {
        return Map::new();
    };
    if !filter.default_action.lets_through() {
        spec.insert("runtimeBase".to_owned(), json!("Omit"));
    }
    spec
}

fn check_kind(object: &Map<String, Value>) -> Result<(), ContentError> {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, version) = (text("kind"), text("apiVersion"));
    let group = version.split('/').next().unwrap_or_default();
    if kind == "SeccompProfile" && GROUPS.contains(&group) {
        Ok(())
    } else {
        Err(ContentError::Kind(format!(
            "it is of kind {kind:?}, apiVersion {version:?}"
        )))
    }
}

fn described(spec: Map<String, Value>) -> Result<Map<String, Value>, ContentError> {
    let mut kept = Map::new();
    for (field, value) in spec {
        if FIELDS.contains(&field.as_str()) {
            if !value.is_null() {
                kept.insert(field, value);
            }
        } else if !LEFT_OUT.contains(&field.as_str()) {
            return Err(ContentError::Field(field));
        }
    }
    Ok(kept)
}

/// A specification as the document that the validator reads.
fn document(spec: &Map<String, Value>) -> Result<Value, ContentError> {
    let mut document = spec.clone();
    for field in ["baseProfileName", "runtimeBase"] {
        document.remove(field);
    }
    document
        .entry("defaultAction")
        .or_insert_with(|| json!("SCMP_ACT_ERRNO"));
    if let Some(value) = document.get_mut("defaultErrnoRet") {
        number("spec.defaultErrnoRet", value)?;
    }
    let allow = document.remove("allow");
    let syscalls = document.entry("syscalls").or_insert_with(|| json!([]));
    if let Value::Array(syscalls) = syscalls {
        for (index, rule) in syscalls.iter_mut().enumerate() {
            if let Some(value) = rule.get_mut("errnoRet") {
                number(&format!("spec.syscalls[{index}].errnoRet"), value)?;
            }
        }
        if let Some(names) = allow {
            syscalls.push(json!({"names": names, "action": "SCMP_ACT_ALLOW"}));
        }
    }
    Ok(Value::Object(document))
}

/// Replaces the name of an errno by its number.
fn number(field: &str, value: &mut Value) -> Result<(), ContentError> {
    let Some(text) = value.as_str() else {
        return Ok(());
    };
    let found = text
        .parse()
        .ok()
        .or_else(|| errno::number(text, Arch::HOST));
    let Some(found) = found else {
        return Err(ContentError::Errno {
            field: field.to_owned(),
            value: text.to_owned(),
        });
    };
    *value = json!(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(text: &str, with: &str) {
        let error = Content::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(with), "{error}");
    }

    #[test]
    fn a_manifest_of_either_group_is_read_and_what_is_the_clusters_business_is_left_out() {
        for version in [
            "portcullis.dev/v1alpha1",
            "security-profiles-operator.x-k8s.io/v1beta1",
        ] {
            let text = format!(
                "apiVersion: {version}\nkind: SeccompProfile\nmetadata:\n  name: web\nspec:\n  \
                 defaultAction: SCMP_ACT_ERRNO\n  state: Disabled\n  syscalls:\n  - action: \
                 SCMP_ACT_ERRNO\n    errnoRet: ENODATA\n    names: [mkdir]\n"
            );
            let content = Content::read(text.as_bytes()).unwrap();
            assert!(!content.is_document());
            let fields: Vec<&String> = content.spec().keys().collect();
            assert_eq!(fields, ["defaultAction", "syscalls"]);
        }
    }

    #[test]
    fn a_document_becomes_a_specification_that_adds_nothing() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let content = Content::read(text.as_bytes()).unwrap();
        assert!(content.is_document());
        assert_eq!(content.spec()["runtimeBase"], "Omit");
        assert_eq!(content.spec()["syscalls"][0]["names"], json!(["read"]));
    }

    #[test]
    fn what_is_not_a_valid_profile_is_refused_with_the_place() {
        let manifest = |spec: &str| {
            format!(
                r#"{{"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile", "spec": {spec}}}"#
            )
        };
        refuses("[", "neither YAML nor JSON");
        refuses("text", "it is not an object");
        refuses(r#"{"kind": "SelinuxProfile"}"#, "SelinuxProfile");
        refuses(
            r#"{"kind": "SeccompProfile", "apiVersion": "other/v1"}"#,
            "other/v1",
        );
        refuses(&manifest(r#"{"alow": []}"#), "spec.alow: unknown field");
        refuses(
            &manifest(r#"{"defaultAction": "SCMP_ACT_ALOW"}"#),
            "defaultAction",
        );
        refuses(
            &manifest(r#"{"defaultErrnoRet": "ENOTHING"}"#),
            "spec.defaultErrnoRet: unknown errno",
        );
        refuses(&manifest(r#"{"allow": "text"}"#), "syscalls[0].names");
        refuses(
            &manifest(r#"{"baseProfileName": "oci://ghcr.io/web:1"}"#),
            "pin it",
        );
        let conditional = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
        refuses(conditional, "includes");
    }
}
