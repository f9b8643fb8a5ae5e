//! From one specification to the document that it is, and to its filter; and back from a place in
//! that document to the field that it comes from.

use super::ResolveError;
use crate::crd::{SeccompProfileSpec, profile::Syscall};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_profile::{
    Arch, Context, Document, DocumentError, Engine, Filter, document::kernel::KernelVersion,
    filter::errno,
};
use serde_json::{Map, Value, json};

/// The filter of a specification, without its bases. Adds its warnings.
pub(super) fn filter(
    of: &str,
    spec: &SeccompProfileSpec,
    warnings: &mut Vec<String>,
) -> Result<Filter, ResolveError> {
    let wrong = |error: DocumentError| ResolveError::Document {
        field: field(of, spec, &error.place),
        problem: error.problem,
    };
    let text = serde_json::to_vec(&document(of, spec)?)
        .map_err(|error| ResolveError::Json(error.to_string()))?;
    let context = Context {
        engine: Engine::Containerd,
        native: Arch::HOST,
        bounding: None,
        kernel: KernelVersion {
            version: 6,
            revision: 0,
        },
    };
    let document = Document::parse(&text).map_err(wrong)?;
    let remarks = document.warnings_in(&context);
    warnings.extend(
        remarks
            .iter()
            .map(|warning| format!("{}: {}", field(of, spec, &warning.place), warning.remark)),
    );
    document.resolve(&context).map_err(wrong)
}

/// The field of the specification that a place in the document comes from. `allow` is the last
/// entry of `syscalls` there.
fn field(of: &str, spec: &SeccompProfileSpec, place: &str) -> String {
    let of_allow = format!("syscalls[{}]", spec.syscalls.len());
    match place.strip_prefix(&of_allow) {
        Some(rest) => format!("{of}.allow{}", rest.strip_prefix(".names").unwrap_or("")),
        None if place.is_empty() => of.to_owned(),
        None => format!("{of}.{place}"),
    }
}

/// A specification as a document in the OCI form.
fn document(of: &str, spec: &SeccompProfileSpec) -> Result<Value, ResolveError> {
    let mut document = Map::new();
    document.insert("defaultAction".into(), json!(spec.default_action));
    if let Some(value) = &spec.default_errno_ret {
        let number = errno_number(&format!("{of}.defaultErrnoRet"), value)?;
        document.insert("defaultErrnoRet".into(), number);
    }
    if !spec.architectures.is_empty() {
        document.insert("architectures".into(), json!(spec.architectures));
    }
    if let Some(flags) = &spec.flags {
        document.insert("flags".into(), json!(flags));
    }
    if let Some(path) = &spec.listener_path {
        document.insert("listenerPath".into(), json!(path));
    }
    if let Some(data) = &spec.listener_metadata {
        document.insert("listenerMetadata".into(), json!(data));
    }
    let mut syscalls = Vec::with_capacity(spec.syscalls.len() + 1);
    for (index, entry) in spec.syscalls.iter().enumerate() {
        syscalls.push(rule(of, index, entry)?);
    }
    if !spec.allow.is_empty() {
        syscalls.push(json!({"names": spec.allow, "action": "SCMP_ACT_ALLOW"}));
    }
    document.insert("syscalls".into(), Value::Array(syscalls));
    Ok(Value::Object(document))
}

fn rule(of: &str, index: usize, entry: &Syscall) -> Result<Value, ResolveError> {
    let mut rule = json!({"names": entry.names, "action": entry.action});
    if let Some(value) = &entry.errno_ret {
        rule["errnoRet"] = errno_number(&format!("{of}.syscalls[{index}].errnoRet"), value)?;
    }
    if !entry.args.is_empty() {
        rule["args"] = json!(entry.args);
    }
    Ok(rule)
}

/// Translates the name of an errno to its number. A number stays as it is; the document checks its
/// range.
fn errno_number(field: &str, value: &IntOrString) -> Result<Value, ResolveError> {
    match value {
        IntOrString::Int(number) => Ok(json!(number)),
        IntOrString::String(text) => text
            .parse::<u16>()
            .ok()
            .or_else(|| errno::number(text, Arch::HOST))
            .map(|number| json!(number))
            .ok_or_else(|| ResolveError::Errno {
                field: field.to_owned(),
                value: text.clone(),
            }),
    }
}
