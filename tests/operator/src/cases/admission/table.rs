//! The table of what decides: fields, annotations and rules, of pods and of containers.

use serde_json::{Value, json};

/// A row of the table: what the pod says, and what comes of it.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) pod_annotation: &'static str,
    pub(super) pod_field: &'static str,
    pub(super) annotation: &'static str,
    pub(super) field: &'static str,
    /// The field of the pod and that of its container, as in an annotation.
    pub(super) wanted: (&'static str, &'static str),
}

const fn row(
    what: &'static str,
    [pod_annotation, pod_field, annotation, field]: [&'static str; 4],
    wanted: (&'static str, &'static str),
) -> Row {
    Row {
        what,
        pod_annotation,
        pod_field,
        annotation,
        field,
        wanted,
    }
}

/// Without any rule.
const FREE: [Row; 11] = [
    row("nothing", ["", "", "", ""], ("", "")),
    row(
        "pod annotation",
        ["localhost/a", "", "", ""],
        ("localhost/a", ""),
    ),
    row(
        "its old word",
        ["docker/default", "", "", ""],
        ("runtime/default", ""),
    ),
    row(
        "a path like it",
        ["", "", "localhost/docker/default", ""],
        ("", "localhost/docker/default"),
    ),
    row(
        "unconfined is no field",
        ["unconfined", "", "unconfined", ""],
        ("", ""),
    ),
    row(
        "container annotation",
        ["", "", "localhost/b", ""],
        ("", "localhost/b"),
    ),
    row(
        "both annotations",
        ["localhost/a", "", "localhost/b", ""],
        ("localhost/a", "localhost/b"),
    ),
    row(
        "field over pod annotation",
        ["localhost/a", "", "", "localhost/c"],
        ("localhost/a", "localhost/c"),
    ),
    row(
        "annotation over pod field",
        ["", "localhost/a", "localhost/b", ""],
        ("localhost/a", "localhost/b"),
    ),
    row(
        "equal ones",
        ["localhost/a", "localhost/a", "localhost/b", "localhost/b"],
        ("localhost/a", "localhost/b"),
    ),
    row(
        "fields",
        ["", "unconfined", "", "runtime/default"],
        ("unconfined", "runtime/default"),
    ),
];

/// With a rule of the mode `default` that gives `localhost/operator/web.json`.
const DEFAULT: [Row; 5] = [
    row("nothing", ["", "", "", ""], ("", WEB)),
    row(
        "pod annotation",
        ["localhost/a", "", "", ""],
        ("localhost/a", ""),
    ),
    row(
        "unconfined is a choice",
        ["unconfined", "", "", ""],
        ("", ""),
    ),
    row(
        "container annotation",
        ["", "", "runtime/default", ""],
        ("", "runtime/default"),
    ),
    row("fields", ["", "unconfined", "", ""], ("unconfined", "")),
];

/// With one of the mode `enforce`.
const ENFORCE: [Row; 6] = [
    row("nothing", ["", "", "", ""], ("", WEB)),
    row("the same", ["", WEB, "", ""], (WEB, "")),
    row("the same by annotation", ["", "", WEB, ""], ("", WEB)),
    row(
        "unconfined by annotations",
        ["unconfined", "", "unconfined", ""],
        ("", WEB),
    ),
    row(
        "unconfined by the pod's field",
        ["", "unconfined", "", ""],
        ("unconfined", WEB),
    ),
    row(
        "unconfined by the container's field",
        ["", "", "", "unconfined"],
        ("", WEB),
    ),
];

/// The rows that hold in each of these namespaces: one without rules, two with annotations of their
/// own, and two with a binding.
pub(super) const TABLES: [(&str, &[Row]); 5] = [
    ("free", &FREE),
    ("by-default", &DEFAULT),
    ("bound", &DEFAULT),
    ("by-force", &ENFORCE),
    ("bound-by-force", &ENFORCE),
];

/// The profile that rules of cases give.
pub(super) const WEB: &str = "localhost/operator/web.json";

/// A profile's field from its word in an annotation.
pub(super) fn field(word: &str) -> Value {
    match word.strip_prefix("localhost/") {
        Some(path) => json!({ "type": "Localhost", "localhostProfile": path }),
        None if word == "runtime/default" => json!({ "type": "RuntimeDefault" }),
        None => json!({ "type": "Unconfined" }),
    }
}

/// The word for a profile's field.
pub(super) fn words(field: &Value) -> String {
    match field["type"].as_str() {
        Some("Localhost") => format!(
            "localhost/{}",
            field["localhostProfile"].as_str().unwrap_or_default()
        ),
        Some("RuntimeDefault") => "runtime/default".to_owned(),
        Some(_) => "unconfined".to_owned(),
        None => String::new(),
    }
}
