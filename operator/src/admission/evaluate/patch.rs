//! What is changed of a pod, as operations of a JSON patch.

use super::Annotations;
use crate::admission::{review::SecurityContext, rules::CHANGED_BY};
use serde_json::{Value, json};

pub(super) fn add_field(at: &str, context: Option<&SecurityContext>, profile: &str) -> Value {
    let field = match profile.strip_prefix("localhost/") {
        Some(path) => json!({"type": "Localhost", "localhostProfile": path}),
        None => json!({"type": "RuntimeDefault"}),
    };
    match context {
        Some(_) => {
            json!({"op": "add", "path": format!("{at}/securityContext/seccompProfile"), "value": field})
        }
        None => {
            json!({"op": "add", "path": format!("{at}/securityContext"), "value": {"seccompProfile": field}})
        }
    }
}

pub(super) fn remove(annotation: &str) -> Value {
    let key = annotation.replace('~', "~0").replace('/', "~1");
    json!({"op": "remove", "path": format!("/metadata/annotations/{key}")})
}

pub(super) fn changed_by(annotations: Option<&Annotations>, why: &str) -> Value {
    match annotations {
        Some(annotations) => {
            let before = annotations
                .get(CHANGED_BY)
                .map(|before| format!("{before}, "));
            let value = format!("{}{why}", before.unwrap_or_default());
            json!({"op": "add", "path": "/metadata/annotations/portcullis.dev~1changed-by", "value": value})
        }
        None => json!({"op": "add", "path": "/metadata/annotations", "value": {CHANGED_BY: why}}),
    }
}
