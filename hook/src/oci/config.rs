//! A container's `config.json`: what the gate reads of it, and the exchange of `linux.seccomp`
//! within its text.
//!
//! Typed round trips lose unknown fields and order, so the one object is exchanged in the text;
//! every other byte stays as it is.

use portcullis_profile::{Filter, gate::Code, select::identity::Annotations};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The largest `config.json` or state that is read, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why a `config.json` or a state can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than [`MAX_BYTES`].
    #[error("{what} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// What was read.
        what: &'static str,
    },
    /// It is not what the runtime specification says.
    #[error("{what}: {source}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
}

impl OciError {
    /// The exit code that goes with it.
    pub const fn code(&self) -> Code {
        match self {
            OciError::Write { .. } => Code::Output,
            OciError::Read { .. } | OciError::TooLarge { .. } | OciError::Invalid { .. } => {
                Code::Input
            }
        }
    }
}

/// What the gate reads of a `config.json`.
#[derive(Debug)]
pub struct OciConfig<'a> {
    text: &'a str,
    view: View<'a>,
    linux: Option<Linux<'a>>,
    annotations: Annotations,
}

#[derive(Debug, Deserialize)]
struct View<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    annotations: Option<&'a RawValue>,
    #[serde(default, borrow)]
    hooks: Option<&'a RawValue>,
    #[serde(default)]
    process: Option<Process>,
    #[serde(default, borrow, deserialize_with = "present")]
    linux: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Process {
    #[serde(default)]
    capabilities: Option<Capabilities>,
}

#[derive(Debug, Deserialize)]
struct Capabilities {
    #[serde(default)]
    bounding: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hooks {
    prestart: Option<Vec<Hook>>,
    create_runtime: Option<Vec<Hook>>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    path: PathBuf,
    #[serde(default)]
    args: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Linux<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    seccomp: Option<&'a RawValue>,
}

/// A field that is there, be it `null`: its place in the text is what counts.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

/// Parses an object; an array would do for serde too.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_start().starts_with('[') {
        return Err(serde::de::Error::custom("an array where an object must be"));
    }
    serde_json::from_str(text)
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

impl<'a> OciConfig<'a> {
    /// Reads what is needed.
    ///
    /// # Errors
    /// It is not JSON of that form, or names a field twice.
    pub fn parse(text: &'a str) -> Result<OciConfig<'a>, OciError> {
        let invalid = |source| OciError::Invalid {
            what: "config.json",
            source,
        };
        let view: View<'a> = object(text).map_err(invalid)?;
        let linux = match view.linux.filter(|raw| !is_null(raw)) {
            Some(raw) => Some(object(raw.get()).map_err(invalid)?),
            None => None,
        };
        let annotations = match view.annotations.filter(|raw| !is_null(raw)) {
            Some(raw) => object(raw.get()).map_err(invalid)?,
            None => Annotations::default(),
        };
        Ok(OciConfig {
            text,
            view,
            linux,
            annotations,
        })
    }

    /// The annotations; none where there are none.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// Whether the runtime will call our hook to record the container, and none of ours to verify
    /// it before (`hooks` of the runtime-spec, in the order in which they run).
    pub fn is_recorded_before_it_is_verified(&self) -> bool {
        let hooks: Hooks = self
            .view
            .hooks
            .and_then(|raw| object(raw.get()).ok())
            .unwrap_or_default();
        let all = [hooks.prestart, hooks.create_runtime];
        let first = all
            .into_iter()
            .flatten()
            .flatten()
            .filter(|hook| is_our_hook(&hook.path))
            .find_map(|hook| {
                let verb = hook.args?.into_iter().nth(1)?;
                (verb == "record" || verb == "verify").then_some(verb)
            });
        first.as_deref() == Some("record")
    }

    /// `process.capabilities.bounding`; `None` where there are no capabilities at all.
    pub fn bounding(&self) -> Option<&[String]> {
        let capabilities = self.view.process.as_ref()?.capabilities.as_ref()?;
        Some(capabilities.bounding.as_deref().unwrap_or_default())
    }

    /// The text of `linux.seccomp`, if there is one.
    pub fn seccomp(&self) -> Option<&'a str> {
        self.linux
            .as_ref()?
            .seccomp
            .filter(|raw| !is_null(raw))
            .map(RawValue::get)
    }

    /// The whole text with `linux.seccomp` exchanged for the given JSON, or added.
    fn with_seccomp(&self, seccomp: &str) -> String {
        let member = format!("\"seccomp\":{seccomp}");
        match (self.view.linux, &self.linux) {
            (_, Some(Linux { seccomp: Some(old) })) => self.exchanged(old, seccomp),
            (Some(linux), Some(_)) => self.with_first_member(linux.get(), &member),
            (Some(null), None) => self.exchanged(null, &format!("{{{member}}}")),
            (None, _) => self.with_first_member(self.text, &format!("\"linux\":{{{member}}}")),
        }
    }

    /// The whole text with this filter as `linux.seccomp`.
    ///
    /// # Errors
    /// The filter can't be written as JSON.
    pub fn with_filter(&self, filter: &Filter) -> Result<String, OciError> {
        let json = serde_json::to_string(filter).map_err(|source| OciError::Invalid {
            what: "the filter",
            source,
        })?;
        Ok(self.with_seccomp(&json))
    }

    /// The whole text with this annotation, and no other of its name.
    ///
    /// # Errors
    /// The annotations can't be written as JSON.
    pub fn with_annotation(&self, key: &str, value: &str) -> Result<String, OciError> {
        let mut all = self.annotations.clone();
        all.insert(key.to_owned(), value.to_owned());
        let json = serde_json::to_string(&all).map_err(|source| OciError::Invalid {
            what: "the annotations",
            source,
        })?;
        Ok(match self.view.annotations {
            Some(old) => self.exchanged(old, &json),
            None => self.with_first_member(self.text, &format!("\"annotations\":{json}")),
        })
    }

    /// Where a part of the text begins.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.text.as_ptr() as usize
    }

    fn exchanged(&self, old: &RawValue, new: &str) -> String {
        let start = self.offset(old.get());
        let end = start + old.get().len();
        [&self.text[..start], new, &self.text[end..]].concat()
    }

    /// The text with a member added at the start of an object in it.
    fn with_first_member(&self, object: &str, member: &str) -> String {
        let inside = object.find('{').map_or(0, |brace| brace + 1);
        let empty = object[inside..].trim_start().starts_with('}');
        let at = self.offset(object) + inside;
        let comma = if empty { "" } else { "," };
        [&self.text[..at], member, comma, &self.text[at..]].concat()
    }
}

/// Whether a hook's file is this program, by its name: the node's owner writes hooks, not the pod's
/// author.
pub fn is_our_hook(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("portcullis-hook"))
}

/// Reads a text whole, up to [`MAX_BYTES`].
///
/// # Errors
/// It can't be read, is not UTF-8 or is too large.
pub fn read_text(
    mut source: impl Read,
    what: &'static str,
    path: &Path,
) -> Result<String, OciError> {
    let mut text = String::new();
    source
        .by_ref()
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| OciError::Read {
            path: path.to_owned(),
            source,
        })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(OciError::TooLarge { what });
    }
    Ok(text)
}

/// Reads a bundle's `config.json`.
///
/// # Errors
/// As [`read_text`].
pub fn read_bundle(bundle: &Path) -> Result<String, OciError> {
    let path = bundle.join("config.json");
    let file = File::open(&path).map_err(|source| OciError::Read {
        path: path.clone(),
        source,
    })?;
    read_text(file, "config.json", &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn becomes(text: &str, changed: &str) {
        assert_eq!(OciConfig::parse(text).unwrap().with_seccomp("{N}"), changed);
    }

    #[test]
    fn only_the_seccomp_object_changes() {
        becomes(
            "{ \"x-new\": 1.50,\"linux\": {\"a\":1, \"seccomp\" : {\"o\":[1]} , \"b\":2}, \"z\":0 }\n",
            "{ \"x-new\": 1.50,\"linux\": {\"a\":1, \"seccomp\" : {N} , \"b\":2}, \"z\":0 }\n",
        );
        becomes(r#"{"linux":{"a":1}}"#, r#"{"linux":{"seccomp":{N},"a":1}}"#);
        becomes(r#"{"linux":{ }}"#, r#"{"linux":{"seccomp":{N} }}"#);
        becomes(
            r#"{"linux":{"seccomp":null}}"#,
            r#"{"linux":{"seccomp":{N}}}"#,
        );
        becomes(r#"{"linux":null}"#, r#"{"linux":{"seccomp":{N}}}"#);
        becomes(r#" {"a":1}"#, r#" {"linux":{"seccomp":{N}},"a":1}"#);
        becomes("{}", r#"{"linux":{"seccomp":{N}}}"#);
    }

    #[test]
    fn an_annotation_is_added_once_and_nothing_else_changes() {
        let becomes = |text: &str, changed: &str| {
            let config = OciConfig::parse(text).unwrap();
            assert_eq!(config.with_annotation("m", "1").unwrap(), changed);
        };
        becomes("{}", r#"{"annotations":{"m":"1"}}"#);
        becomes(
            r#"{"x":1,"annotations":null}"#,
            r#"{"x":1,"annotations":{"m":"1"}}"#,
        );
        // crun reads the first of two of one name, Go's parser the last.
        becomes(
            r#"{"annotations": {"m":"forged","a":"\u00e9\n","m":"2"} , "x":1.50}"#,
            r#"{"annotations": {"a":"é\n","m":"1"} , "x":1.50}"#,
        );
    }

    #[test]
    fn only_our_own_hooks_in_the_right_order_record() {
        let records = |hooks: &str| {
            let text = format!("{{\"hooks\":{hooks}}}");
            let config = OciConfig::parse(&text).unwrap();
            config.is_recorded_before_it_is_verified()
        };
        let hook = |path: &str, verb: &str| format!(r#"{{"path":"{path}","args":["x","{verb}"]}}"#);
        let record = hook("/usr/libexec/portcullis/portcullis-hook", "record");
        let verify = hook("/usr/libexec/portcullis/portcullis-hook", "verify");
        let foreign = hook("/usr/bin/other", "record");
        assert!(records(&format!(
            r#"{{"createRuntime":[{record},{verify}]}}"#
        )));
        assert!(records(&format!(
            r#"{{"createRuntime":[{foreign},{record}]}}"#
        )));
        assert!(records(&format!(
            r#"{{"createRuntime":[{verify}],"prestart":[{record}]}}"#
        )));
        for hooks in [
            "null".to_owned(),
            "{}".to_owned(),
            r#"{"createRuntime":null}"#.to_owned(),
            r#"{"createRuntime":[{"path":"/x/portcullis-hook"}]}"#.to_owned(),
            format!(r#"{{"createRuntime":[{foreign},{verify}]}}"#),
            format!(r#"{{"createRuntime":[{verify},{record}]}}"#),
            format!(r#"{{"createRuntime":[{record}],"prestart":[{verify}]}}"#),
            format!(r#"{{"poststop":[{record}]}}"#),
            format!(r#"{{"createRuntime":[{record},3]}}"#),
        ] {
            assert!(!records(&hooks), "{hooks}");
        }
    }

    #[test]
    fn what_is_not_a_configuration_is_refused() {
        for text in [
            "",
            "[]",
            "{\"linux\":{},\"linux\":{}}",
            "{\"linux\":[]}",
            "{\"linux\":{\"seccomp\":{},\"seccomp\":{}}}",
            "{\"annotations\":{\"a\":1}}",
            "{} x",
        ] {
            assert!(OciConfig::parse(text).is_err(), "{text}");
        }
    }

    fn some_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![
                Just("seccomp".to_owned()),
                Just("linux".to_owned()),
                ".{0,6}"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        /// Whatever surrounds it: the filter is what is read back, and nothing else changed.
        #[test]
        fn any_configuration_changes_in_its_filter_alone(
            surroundings in some_json(),
            linux in prop::option::of(some_json()),
            pretty in any::<bool>(),
        ) {
            let mut whole = json!({ "x-unknown": surroundings, "ociVersion": "1.0.2" });
            if let Some(linux) = linux {
                whole["linux"] = linux;
            }
            let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
            if let Ok(config) = OciConfig::parse(&text) {
                let filter = Filter::new(portcullis_profile::Action::Allow);
                let changed = config.with_filter(&filter).unwrap();
                let mut expected = whole.clone();
                if !expected["linux"].is_object() {
                    expected["linux"] = json!({});
                }
                expected["linux"]["seccomp"] = serde_json::to_value(&filter).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value>(&changed).unwrap(), expected);
            } else {
                prop_assert!(!whole["linux"].is_object() && !whole["linux"].is_null());
            }
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC*", cut in 0_usize..200) {
            let _ = OciConfig::parse(&text);
            let _ = crate::oci::state::HookState::parse(&text);
            let state = r#"{"ociVersion":"1.0.2","id":"x","status":"creating","pid":7,"bundle":"/b","annotations":{"a":"b"}}"#;
            let cut = cut.min(state.len());
            let broken = format!("{}{text}{}", &state[..cut], &state[cut..]);
            if let Ok(told) = crate::oci::state::HookState::parse(&broken) {
                prop_assert!(told.pid.is_none_or(|pid| i32::try_from(pid).is_ok()));
            }
        }
    }
}
