//! Tests of documents, by what they are about.

mod as_engines_read;
mod condition;
mod config;
mod default_profile;
mod engines;
mod messages;
mod properties;
mod validation;

use super::{Context, Document};
use crate::{Arch, Engine, Filter, document::kernel::KernelVersion};
use serde_json::{Value, json};

/// What `serde_json::json!` makes, as the text of a document.
fn text(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// A document of one entry: `read` with these members besides.
fn entry(members: &Value) -> Value {
    let mut entry = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO"});
    for (key, value) in members.as_object().expect("an object") {
        entry[key] = value.clone();
    }
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})
}

/// The context of a container under Podman on x86-64 whose configuration has no capabilities.
fn podman() -> Context<'static> {
    Context {
        engine: Engine::Podman,
        native: Arch::X86_64,
        bounding: None,
        kernel: KernelVersion {
            version: 6,
            revision: 1,
        },
    }
}

/// The filter that Podman makes of a document that must be valid.
fn resolved(document: &Value) -> Filter {
    let document = Document::parse(&text(document)).expect("a valid document");
    document.resolve(&podman()).expect("a filter")
}

/// Asserts that a document is valid without warnings.
fn accepts(document: &Value) {
    match Document::parse(&text(document)) {
        Ok(parsed) => assert_eq!(parsed.warnings(), [], "{document}"),
        Err(error) => panic!("{document}: {error}"),
    }
}

/// Asserts that a document is refused with exactly this line and no other problem.
fn rejects(document: impl AsRef<[u8]>, line: &str) {
    let document = document.as_ref();
    let shown = String::from_utf8_lossy(document);
    let error = Document::parse(document).expect_err(&shown);
    assert_eq!(error.to_string(), line, "{shown}");
    assert_eq!(Document::problems(document), [error], "{shown}");
}

/// Asserts that a document is valid with exactly these warnings.
fn warns(document: &Value, lines: &[&str]) {
    let parsed = Document::parse(&text(document)).expect("a valid document");
    let warnings: Vec<String> = parsed.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, lines, "{document}");
}
