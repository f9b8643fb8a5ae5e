//! From a profile's specification to the file on a node: bases, validation, stacking.
//!
//! It is pure: the caller supplies the bases. Only `portcullis-profile` decides what is valid: it
//! parses the document that the specification becomes.

use crate::{
    crd::{
        SeccompProfileSpec,
        profile::{RuntimeBase, State, Syscall},
    },
    file_name::file_name,
    kube::stored::{self, Unreadable},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_profile::{
    Arch, Context, Document, DocumentError, Engine, Filter,
    compose::base::runtime_base,
    compose::inert::with_inert_rule,
    compose::stack::stack,
    document::Problem,
    document::kernel::KernelVersion,
    filter::digest::{FilterDigest, hex},
    filter::errno,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How many levels of bases a profile may have.
pub const MAX_DEPTH: usize = 16;
/// The longest name of a profile, in bytes.
pub const MAX_NAME: usize = 250;

/// The maximum size of a file, in bytes: the gate's default limit (`max_profile_bytes` in
/// hook.toml).
pub const MAX_BYTES: usize = 1024 * 1024;

/// The file that a profile becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its text.
    pub text: Vec<u8>,
    /// The digest of its filter ([`FilterDigest::short`]).
    pub digest: String,
    /// The SHA-256 of its text.
    pub sum: [u8; 32],
    /// Warnings about the profile and its bases: probable mistakes that allow nothing more.
    pub warnings: Vec<String>,
    /// The filter in that text.
    pub filter: Filter,
    /// Where its rules come from.
    pub place: Place,
}

/// Where the rules of a file come from: first those of the profile itself, then those of its bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many entries `spec.syscalls` has.
    pub own: usize,
    /// Whether they are followed by a rule from `spec.allow`.
    pub has_allow: bool,
}

impl Place {
    /// The field that a rule comes from.
    pub fn of_rule(self, rule: usize) -> String {
        match rule {
            rule if rule < self.own => format!("spec.syscalls[{rule}]"),
            rule if rule == self.own && self.has_allow => "spec.allow".to_owned(),
            rule => format!("syscalls[{rule}] of the file (from a base)"),
        }
    }
}

/// Why a profile has no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name can't be the name of a file.
    #[error(
        "metadata.name: {0:?} is not a valid name: use at most {MAX_NAME} lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part between dots"
    )]
    Name(String),
    /// An older profile has the file.
    #[error(
        "metadata.name: the file {} belongs to the older SeccompProfile {by:?}; choose another name",
        file_name(by)
    )]
    FileNameTaken {
        /// The other profile.
        by: String,
    },
    /// The stored specification can't be parsed.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The same of a base.
    #[error("base {base}: {error}")]
    UnreadableBase {
        /// The base.
        base: String,
        /// Why.
        error: Unreadable,
    },
    /// The document that it would become is not valid.
    #[error("{field}: {problem}")]
    Document {
        /// The field as its author wrote it, in `spec` or in the base that is named.
        field: String,
        /// What is wrong.
        problem: Problem,
    },
    /// The rules of a base are valid under the base's own default action and listener, but not
    /// under the profile's.
    #[error(
        "spec.baseProfileName: the rules of {base} can't be used under this profile's defaultAction \
         and listenerPath: {error}"
    )]
    Stacked {
        /// The profile's base; the rule may be one of a base of its own.
        base: String,
        /// What is wrong, with its place in the file.
        error: DocumentError,
    },
    /// The file would be larger than the gate reads.
    #[error(
        "spec: the file would have {0} bytes, and the gate reads at most {MAX_BYTES}: shorten it, \
         or what it is based on"
    )]
    TooLarge(usize),
    /// A name that is not the name of an errno.
    #[error("{field}: unknown errno {value:?}")]
    Errno {
        /// The field.
        field: String,
        /// What was written.
        value: String,
    },
    /// A base that does not exist.
    #[error("spec.baseProfileName: there is no SeccompProfile {0:?}")]
    MissingBase(String),
    /// A base of a form that is not supported.
    #[error("spec.baseProfileName: {0:?} is in an image registry, which is not supported yet")]
    RegistryBase(String),
    /// The bases form a cycle.
    #[error("spec.baseProfileName: the bases are a cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// More bases than [`MAX_DEPTH`].
    #[error("spec.baseProfileName: there are more than {MAX_DEPTH} levels of bases")]
    TooDeep,
    /// The document can't be serialized.
    #[error("spec: {0}")]
    Json(String),
}

/// Checks that a profile's name can be used for a file. The API server checks names too, but
/// profiles also come from other sources.
///
/// # Errors
/// [`ResolveError::Name`].
pub fn check_name(name: &str) -> Result<(), ResolveError> {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
    };
    if name.len() <= MAX_NAME && name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(ResolveError::Name(name.to_owned()))
    }
}

/// The file of a profile with this specification, as JSON; `None` if the profile is disabled.
/// `find` returns the specifications of other profiles, by name.
///
/// # Errors
/// [`ResolveError`], which names the field.
pub fn resolve<'a>(
    name: &str,
    text: &str,
    find: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<Option<Resolved>, ResolveError> {
    check_name(name)?;
    let spec: SeccompProfileSpec = stored::spec(text)?;
    let mut warnings = Vec::new();
    let own = filter("spec", &spec, &mut warnings)?;
    let mut chain = vec![name.to_owned()];
    let mut bases = Vec::new();
    let mut next = spec.base_profile_name.clone();
    while let Some(base) = next {
        if base.starts_with("oci://") {
            return Err(ResolveError::RegistryBase(base));
        }
        let again = chain.contains(&base);
        chain.push(base.clone());
        if again {
            return Err(ResolveError::Cycle(chain));
        }
        if chain.len() > MAX_DEPTH + 1 {
            return Err(ResolveError::TooDeep);
        }
        let Some(found) = find(&base) else {
            return Err(ResolveError::MissingBase(base));
        };
        let found: SeccompProfileSpec =
            stored::spec(found).map_err(|error| ResolveError::UnreadableBase {
                base: base.clone(),
                error,
            })?;
        bases.push(filter(&format!("base {base}"), &found, &mut warnings)?);
        next = found.base_profile_name;
    }
    if spec.runtime_base == RuntimeBase::Include && !own.default_action.lets_through() {
        bases.push(runtime_base());
    }
    let stacked = stack(&own, &bases.iter().collect::<Vec<_>>());
    if spec.state == State::Disabled {
        return Ok(None);
    }
    let mut text = serde_json::to_vec(&with_inert_rule(&stacked))
        .map_err(|error| ResolveError::Json(error.to_string()))?;
    text.push(b'\n');
    if text.len() > MAX_BYTES {
        return Err(ResolveError::TooLarge(text.len()));
    }
    if let Some(base) = &spec.base_profile_name {
        Document::parse(&text).map_err(|error| ResolveError::Stacked {
            base: base.clone(),
            error,
        })?;
    }
    let has_allow = !spec.allow.is_empty();
    Ok(Some(Resolved {
        digest: FilterDigest::of(&stacked).short(),
        sum: Sha256::digest(&text).into(),
        text,
        warnings,
        filter: stacked,
        place: Place {
            // Leave out an inert rule that was copied from a file of ours.
            own: own.syscalls.len().saturating_sub(usize::from(has_allow)),
            has_allow,
        },
    }))
}

/// The base that a specification names, also one that can't be parsed otherwise. Changes to that
/// profile, or to its own bases, may change the file.
pub fn base_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peek {
        base_profile_name: Option<Value>,
    }
    let peek: Peek = serde_json::from_str(text).ok()?;
    peek.base_profile_name?.as_str().map(str::to_owned)
}

/// The digest of a text: the first 16 hexadecimal digits of its SHA-256.
pub fn digest(text: &[u8]) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// The filter of a specification, without its bases. Adds its warnings.
fn filter(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(value: &Value) -> Result<Value, ResolveError> {
        let bases = |name: &str| match name {
            "a" => Some(r#"{"baseProfileName": "b", "allow": ["mkdir"]}"#),
            "b" => Some(r#"{"baseProfileName": "a"}"#),
            "good" => {
                Some(r#"{"syscalls": [{"names": ["mkdir", "rmdir"], "action": "SCMP_ACT_LOG"}]}"#)
            }
            "bad" => Some(r#"{"allow": "text"}"#),
            _ => None,
        };
        let resolved = resolve("p", &value.to_string(), &bases)?.unwrap();
        let mut file: Value = serde_json::from_slice(&resolved.text).unwrap();
        let inert = file["syscalls"].as_array_mut().unwrap().pop().unwrap();
        let name = inert["names"][0].as_str().unwrap();
        assert!(name.starts_with("portcullis-1-"), "{name}");
        Ok(file)
    }

    fn rejects(value: &Value, with: &str) {
        let said = file(value).unwrap_err().to_string();
        assert!(said.contains(with), "{said}");
    }

    #[test]
    fn a_list_of_names_is_a_profile_with_the_runtimes_base() {
        let file = file(&json!({"allow": ["mkdir"]})).unwrap();
        assert_eq!(file["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(file["syscalls"][0]["names"], json!(["mkdir"]));
        let base = file["syscalls"][1]["names"].as_array().unwrap();
        assert!(base.contains(&json!("execve")));
    }

    #[test]
    fn the_base_is_left_out_where_it_is_omitted_or_the_default_allows() {
        for value in [
            json!({"allow": ["mkdir"], "runtimeBase": "Omit"}),
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": "EXDEV"}]}),
        ] {
            let file = file(&value).unwrap();
            assert_eq!(file["syscalls"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn own_rules_win_over_those_of_a_base() {
        let file = file(&json!({"baseProfileName": "good", "runtimeBase": "Omit",
            "allow": ["mkdir"]}));
        assert_eq!(
            file.unwrap()["syscalls"],
            json!([{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["rmdir"], "action": "SCMP_ACT_LOG"}])
        );
    }

    #[test]
    fn the_digest_is_the_filters_and_a_file_has_one_rule_without_effect() {
        let of = |value: &Value| {
            let resolved = resolve("p", &value.to_string(), &|name| {
                (name == "base").then_some(r#"{"allow": ["read"]}"#)
            });
            resolved.unwrap().unwrap()
        };
        let written = json!({"allow": ["mkdir"], "runtimeBase": "Omit"});
        let first = of(&written);
        let file: Value = serde_json::from_slice(&first.text).unwrap();
        // Whoever copies a file of ours, or takes it for a base, gets no second such rule.
        let mut copied = file.clone();
        copied["runtimeBase"] = json!("Omit");
        let again = of(&copied);
        assert_eq!((&again.text, &again.digest), (&first.text, &first.digest));
        copied["baseProfileName"] = json!("base");
        copied["syscalls"][0]["names"] = json!(["rmdir"]);
        let other = of(&copied);
        assert_ne!(other.digest, first.digest);
        let text = String::from_utf8(other.text).unwrap();
        assert_eq!(text.matches("portcullis-1-").count(), 1, "{text}");
        // The digest is that of the effect: this default errno is the default.
        let mut spelled = written;
        spelled["defaultErrnoRet"] = json!(1);
        assert_eq!(of(&spelled).digest, first.digest);
        assert_ne!(of(&spelled).text, first.text);
    }

    #[test]
    fn cycles_missing_bases_and_wrong_values_are_named() {
        rejects(&json!({"baseProfileName": "a"}), "p → a → b → a");
        rejects(&json!({"baseProfileName": "none"}), "\"none\"");
        rejects(&json!({"baseProfileName": "oci://x"}), "not supported");
        rejects(&json!({"baseProfileName": "p"}), "p → p");
        rejects(&json!({"defaultAction": "SCMP_ACT_NO"}), "SCMP_ACT_NO");
        rejects(
            &json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_ERRNO"}]}),
            "mkdri",
        );
        rejects(
            &json!({"baseProfileName": "bad"}),
            "base bad: the stored spec can't be parsed: invalid type: string",
        );
        rejects(
            &json!({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": "EWHAT"}]}),
            "spec.syscalls[0].errnoRet",
        );
    }

    #[test]
    fn an_unknown_name_that_allows_nothing_more_is_a_warning() {
        let text = r#"{"baseProfileName": "base", "allow": ["mkdri"]}"#;
        let base = |_: &str| Some(r#"{"allow": ["rmdri"]}"#);
        let warnings = resolve("p", text, &base).unwrap().unwrap().warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("spec.allow[0]: ") && warnings[0].contains("mkdri"));
        assert!(warnings[1].starts_with("base base.allow[0]: ") && warnings[1].contains("rmdri"));
    }

    #[test]
    fn a_stored_specification_that_can_not_be_understood_has_no_file() {
        for value in [
            json!(null),
            json!("text"),
            json!({"allow": "text"}),
            json!({"defaultErrnoRet": 99_999_999_999_u64}),
            json!({"syscalls": [{"names": ["mkdir"]}]}),
        ] {
            rejects(&value, "the stored spec can't be parsed: ");
        }
    }

    #[test]
    fn a_message_names_the_field_as_its_author_wrote_it() {
        let one = json!({"names": ["mkdir"], "action": "SCMP_ACT_LOG"});
        let nul = "mkdir\u{0}";
        for before in 0..3 {
            let syscalls = vec![one.clone(); before];
            rejects(
                &json!({"syscalls": syscalls, "allow": ["read", nul]}),
                "spec.allow[1]: \"mkdir\\0\" contains a NUL",
            );
            let resolved = resolve(
                "p",
                &json!({"syscalls": syscalls, "allow": ["opem"]}).to_string(),
                &|_| None,
            );
            let warning = &resolved.unwrap().unwrap().warnings[0];
            assert!(
                warning.starts_with("spec.allow[0]: unknown system call \"opem\""),
                "{warning}"
            );
        }
        rejects(
            &json!({"syscalls": [one, {"names": ["read", nul], "action": "SCMP_ACT_LOG"}]}),
            "spec.syscalls[1].names[1]: ",
        );
        rejects(
            &json!({"defaultAction": "SCMP_ACT_NO"}),
            "spec.defaultAction: ",
        );
    }

    #[test]
    fn what_a_base_adds_is_held_to_this_profiles_header() {
        let with = |own: Value, base: Value| {
            let base = base.to_string();
            resolve("p", &own.to_string(), &|_| Some(&base))
        };
        let rule = |name: &str, action: &str| json!([{"names": [name], "action": action}]);
        let tomorrow = json!({"defaultAction": "SCMP_ACT_KILL",
            "syscalls": rule("call_of_tomorrow", "SCMP_ACT_ERRNO")});
        let own = |default: &str| json!({"baseProfileName": "b", "defaultAction": default});
        // Looser than the base's default and so a warning there, it would silently protect nothing.
        let error = with(own("SCMP_ACT_ALLOW"), tomorrow.clone()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("spec.baseProfileName: the rules of b can't be used under")
                && said.contains("unknown system call \"call_of_tomorrow\""),
            "{said}"
        );
        assert!(with(own("SCMP_ACT_KILL"), tomorrow).is_ok());
        let notifies =
            json!({"listenerPath": "/run/s", "syscalls": rule("mkdir", "SCMP_ACT_NOTIFY")});
        let said = with(own("SCMP_ACT_ERRNO"), notifies.clone())
            .unwrap_err()
            .to_string();
        assert!(said.contains("needs a `listenerPath`"), "{said}");
        let mut listens = own("SCMP_ACT_ERRNO");
        listens["listenerPath"] = json!("/run/own");
        assert!(with(listens, notifies).is_ok());
    }

    #[test]
    fn a_file_that_the_gate_would_not_read_is_refused() {
        let names: Vec<String> = (0..40_000)
            .map(|number| format!("a_call_of_tomorrow_{number}"))
            .collect();
        rejects(&json!({"allow": names}), "the gate reads at most 1048576");
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [
            "", "..", "a/b", "../a", "A", ".a", "a..b", "-a", "a.-b", "a-.b", "a.", "a_b",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"a".repeat(250)).is_ok());
        assert!(check_name(&"a".repeat(251)).is_err());
    }
}
