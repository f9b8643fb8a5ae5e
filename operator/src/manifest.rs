//! Manifests: YAML documents or JSON objects, read as kubectl and the API server read them.

mod json;
pub mod object;
mod scalar;
mod schema;
mod yaml;

use object::ManifestProfile;
use portcullis_profile::gate::decision::plain;
use serde_json::Value;

/// The contents of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its valid profiles, in their order.
    pub profiles: Vec<ManifestProfile>,
    /// Its problems, one line each.
    pub problems: Vec<String>,
}

/// Parses a manifest: YAML documents or JSON objects, as accepted by kubectl.
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let text = match std::str::from_utf8(text) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let problem = format!("byte {} is not UTF-8", error.valid_up_to() + 1);
            parsed.problems.push(problem);
            return parsed;
        }
    };
    let documents = yaml::documents(text);
    if documents.is_empty() {
        // It may be just being written. kubectl refuses it, too.
        let problem = "contains no objects; to remove its profiles, delete the file";
        parsed.problems.push(problem.to_owned());
    }
    for document in documents {
        match document {
            Ok(value) => object::take(value, &mut parsed.profiles, &mut parsed.problems),
            Err(error) => parsed.problems.push(error.to_string()),
        }
    }
    for problem in &mut parsed.problems {
        *problem = plain(problem);
    }
    parsed
}

/// The only document of a text, if it is an object that does not say what it is: it has no
/// `apiVersion`, `kind` or `items`. So the specification alone is often kept.
pub fn nameless(text: &str) -> Option<Value> {
    let mut documents = yaml::documents(text);
    let Some(Ok(value)) = documents.pop() else {
        return None;
    };
    let is_bare = value.as_object().is_some_and(|object| {
        let keys = ["apiVersion", "kind", "items"];
        !keys.iter().any(|key| object.contains_key(*key))
    });
    (documents.is_empty() && is_bare).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_object_that_does_not_say_what_it_is_has_no_name() {
        assert_eq!(
            nameless("allow: [mkdir]"),
            Some(serde_json::json!({"allow": ["mkdir"]}))
        );
        for other in [
            "",
            "- a",
            "a: [",
            "kind: x",
            "apiVersion: x",
            "items: []",
            "a: 1\n---\na: 2",
        ] {
            assert_eq!(nameless(other), None, "{other:?}");
        }
    }
}
