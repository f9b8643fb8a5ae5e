//! What a `ConfigMap` says: each key gives profiles, or the reason why it gives none.
//!
//! A key that ends in `.json` has a profile as runtimes read it, one that ends in `.yaml` or `.yml` the
//! specification of a `SeccompProfile`. Both are called like the key without its ending. Either may have
//! whole manifests instead, which say their names.

use crate::{
    kube::config_maps::{LABEL, PAUSE},
    manifest::{nameless, object::ManifestProfile, parse},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, ObjectReference},
    jiff::Timestamp,
};
use kube::{Resource, ResourceExt};
use portcullis_artifact::is_profile_name;
use portcullis_profile::parse_unconditional;
use serde_json::Value;
use std::collections::BTreeMap;

/// How many problems of a key are said.
const MAX_SAID: usize = 3;

/// What is kept of a `ConfigMap`.
#[derive(Debug, PartialEq)]
pub(super) struct SourceMap {
    pub(super) name: String,
    pub(super) created: Option<Timestamp>,
    /// For events.
    pub(super) reference: ObjectReference,
    /// Whether nothing is written as long as it is there: the operator is being removed.
    pub(super) is_pause: bool,
    /// What each key gives, or why it gives nothing.
    pub(super) keys: BTreeMap<String, Result<Vec<ManifestProfile>, String>>,
}

impl SourceMap {
    /// What is kept of this one.
    pub(super) fn new(map: &ConfigMap) -> SourceMap {
        let texts = map.data.iter().flatten();
        let binaries = map.binary_data.iter().flatten();
        let unread = |key: &String| {
            let problem = "it is binary (binaryData), and only text (data) is read";
            (key.clone(), Err(problem.to_owned()))
        };
        SourceMap {
            is_pause: map.labels().get(LABEL).is_some_and(|value| value == PAUSE),
            name: map.name_any(),
            created: map.creation_timestamp().map(|time| time.0),
            reference: ObjectReference {
                // What changes with each edit would make each event another one.
                resource_version: None,
                ..map.object_ref(&())
            },
            keys: texts
                .map(|(key, text)| (key.clone(), read(key, text)))
                .chain(binaries.map(|(key, _)| unread(key)))
                .collect(),
        }
    }
}

/// The profiles of a key, none of which has a name that says what its content is.
fn read(key: &str, text: &str) -> Result<Vec<ManifestProfile>, String> {
    let profiles = profiles(key, text)?;
    match profiles.iter().find(|it| is_profile_name(&it.name)) {
        Some(reserved) => Err(format!(
            "{:?}: profiles named oci-DIGEST are made of artifacts, and of nothing else",
            reserved.name
        )),
        None => Ok(profiles),
    }
}

fn profiles(key: &str, text: &str) -> Result<Vec<ManifestProfile>, String> {
    let (name, is_json) = match key.rsplit_once('.') {
        Some((name, "json")) => (name, true),
        Some((name, "yaml" | "yml")) => (name, false),
        _ => return Err("its name ends in neither .json nor .yaml nor .yml".to_owned()),
    };
    let Some(bare) = nameless(text) else {
        let parsed = parse(text.as_bytes());
        return match parsed.problems {
            problems if !problems.is_empty() => Err(said(&problems)),
            _ if parsed.profiles.is_empty() => Err("it has no SeccompProfile".to_owned()),
            _ => Ok(parsed.profiles),
        };
    };
    let spec = if is_json { of_document(text)? } else { bare };
    let profile = ManifestProfile::of(name, &spec).map_err(|problems| said(&problems))?;
    Ok(vec![profile])
}

/// The specification with exactly the rules of a document.
fn of_document(text: &str) -> Result<Value, String> {
    let filter = parse_unconditional(text.as_bytes()).map_err(|error| error.to_string())?;
    let mut spec = serde_json::to_value(&filter).map_err(|error| error.to_string())?;
    if !filter.default_action.lets_through() {
        // It names what the runtime needs by itself.
        spec["runtimeBase"] = "Omit".into();
    }
    Ok(spec)
}

fn said(problems: &[String]) -> String {
    let said = problems[..problems.len().min(MAX_SAID)].join("; ");
    match problems.len().checked_sub(MAX_SAID) {
        Some(more @ 1..) => format!("{said}; and {more} more problems"),
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gives(key: &str, text: &str) -> Vec<(String, String)> {
        let profiles = read(key, text).unwrap().into_iter();
        profiles.map(|it| (it.name, it.spec.into())).collect()
    }

    fn refuses(key: &str, text: &str, with: &str) {
        let problem = read(key, text).unwrap_err();
        assert!(problem.contains(with), "{key}: {problem}");
    }

    fn pair(name: &str, spec: &str) -> (String, String) {
        (name.to_owned(), spec.to_owned())
    }

    #[test]
    fn no_key_gives_a_profile_whose_name_says_that_it_is_an_artifact() {
        let name = format!("oci-{}", "a".repeat(64));
        refuses(
            &format!("{name}.yaml"),
            "allow: [read]",
            "are made of artifacts",
        );
        let manifest = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata: {{name: {name}}}\nspec: {{allow: [read]}}\n"
        );
        refuses("a.yaml", &manifest, "are made of artifacts");
        assert_eq!(gives("oci-web.yaml", "allow: [read]").len(), 1);
    }

    #[test]
    fn a_document_is_exactly_its_rules_under_the_name_of_its_key() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
            [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let spec = r#"{"defaultAction":"SCMP_ACT_ERRNO","runtimeBase":"Omit","syscalls":[{"action":"SCMP_ACT_ALLOW","names":["read"]}]}"#;
        assert_eq!(gives("web-1.2.json", text), [pair("web-1.2", spec)]);
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(
            gives("log.json", text),
            [pair("log", &text.replace(' ', ""))]
        );
    }

    #[test]
    fn a_specification_is_called_like_its_key_and_a_manifest_as_it_says() {
        let spec = pair("web", r#"{"allow":["read"]}"#);
        assert_eq!(
            gives("web.yaml", "allow: [read]"),
            std::slice::from_ref(&spec)
        );
        let manifest = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\n\
            metadata: {name: web, labels: {a: b}}\nspec: {allow: [read]}\n";
        assert_eq!(gives("x.yml", manifest), [spec]);
        let two = format!("{manifest}---\n{}", manifest.replace("web", "other"));
        assert_eq!(gives("x.yml", &two).len(), 2);
        let profiles = read("x.yml", manifest).unwrap();
        assert_eq!(profiles[0].labels["a"], "b");
    }

    #[test]
    fn what_gives_no_profile_says_why() {
        refuses("web", "allow: [read]", "ends in neither .json");
        refuses("Web.yaml", "allow: [read]", "Web");
        refuses("web.yaml", "alow: [read]", "spec.alow: unknown field");
        refuses("web.yaml", "a: [", "");
        refuses("web.yaml", "", "contains no objects");
        refuses("web.yaml", "kind: Pod\napiVersion: v1", "no SeccompProfile");
        refuses("web.json", "{}", "defaultAction");
        refuses(
            "web.json",
            r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#,
            "SCMP_ACT_MAYBE",
        );
        let conditional = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
            [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}]}"#;
        refuses("web.json", conditional, "includes");
    }

    #[test]
    fn a_bad_key_does_not_keep_the_others_from_being_read() {
        let map: ConfigMap = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "m", "namespace": "n", "uid": "u", "resourceVersion": "7"},
            "data": {"a.yaml": "allow: [read]", "b.yaml": "alow: [read]"},
            "binaryData": {"c.json": "AA=="},
        }))
        .unwrap();
        let map = SourceMap::new(&map);
        let good: Vec<bool> = map.keys.values().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, false]);
        assert_eq!(map.reference.name.as_deref(), Some("m"));
    }
}
