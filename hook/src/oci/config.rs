//! A container's `config.json`: what the gate reads from it, and replacing `linux.seccomp` in its
//! text.
//!
//! Parsing and rewriting the whole file would lose unknown fields and their order. So only that one
//! object is replaced in the text; every other byte stays as it is.

use super::members::members;
use portcullis_profile::{
    Arch, Context, Engine, Filter,
    document::kernel::KernelVersion,
    gate::Code,
    root::{ReadError, read_named},
    select::identity::Annotations,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    ffi::OsStr,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The largest `config.json` or state that is read, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Enough room for most files, so that one read suffices.
const USUAL_BYTES: usize = 16 * 1024;

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
    /// A fault in crun: it gives its working directory as the bundle, and that is `/` by then.
    #[error(
        "the runtime says that the bundle is \"/\", as crun wrongly does for a container with a \
         user namespace and a device, and its command line has no absolute --bundle for this \
         container; give it one, or use runc"
    )]
    RootAsBundle,
    /// It can't be written.
    #[error("{}: can't be written: {source}", path.display())]
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
    /// It does not conform to the runtime specification.
    #[error("{what}: {source}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// The parser's message, with line and column.
        source: serde_json::Error,
    },
}

impl OciError {
    /// The matching exit code.
    pub const fn code(&self) -> Code {
        match self {
            OciError::Write { .. } => Code::Output,
            OciError::Read { .. }
            | OciError::RootAsBundle
            | OciError::TooLarge { .. }
            | OciError::Invalid { .. } => Code::Input,
        }
    }
}

/// What the gate reads of a `config.json`.
#[derive(Debug)]
pub struct OciConfig<'a> {
    text: &'a str,
    parts: Parts<'a>,
    annotations: Annotations,
    bounding: Option<Vec<String>>,
    hooks: Hooks,
}

/// Where in the text the parts are that may be replaced.
#[derive(Debug)]
struct Parts<'a> {
    annotations: Option<&'a RawValue>,
    linux: Option<&'a RawValue>,
    seccomp: Option<&'a RawValue>,
}

/// The hooks that run before the container's process, in the order in which they run.
#[derive(Debug, Default)]
struct Hooks {
    prestart: Vec<Hook>,
    create_runtime: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    path: PathBuf,
    #[serde(default)]
    args: Option<Vec<String>>,
}

/// Parses a member. To the runtimes, `null` is the same as an absent member.
fn given<'a, T: Deserialize<'a>>(
    member: Option<&'a RawValue>,
) -> Result<Option<T>, serde_json::Error> {
    match member.filter(|raw| !is_null(raw)) {
        Some(raw) => serde_json::from_str(raw.get()).map(Some),
        None => Ok(None),
    }
}

/// The members of an object that is itself a member; none if it is absent.
fn inside<'a, const N: usize>(
    member: Option<&'a RawValue>,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    match member.filter(|raw| !is_null(raw)) {
        Some(raw) => members(raw.get(), names),
        None => Ok([None; N]),
    }
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

impl<'a> OciConfig<'a> {
    /// Parses what the gate needs.
    ///
    /// # Errors
    /// It is not JSON of that form, or has a relevant field twice or in another case.
    pub fn parse(text: &'a str) -> Result<OciConfig<'a>, OciError> {
        let invalid = |source| OciError::Invalid {
            what: "config.json",
            source,
        };
        OciConfig::parts_of(text).map_err(invalid)
    }

    fn parts_of(text: &'a str) -> Result<OciConfig<'a>, serde_json::Error> {
        let [annotations, hooks, process, linux] =
            members(text, ["annotations", "hooks", "process", "linux"])?;
        let [seccomp] = inside(linux, ["seccomp"])?;
        let [capabilities] = inside(process, ["capabilities"])?;
        let [bounding] = inside(capabilities, ["bounding"])?;
        let [prestart, create_runtime] = inside(hooks, ["prestart", "createRuntime"])?;
        let has_capabilities = capabilities.is_some_and(|raw| !is_null(raw));
        Ok(OciConfig {
            text,
            annotations: given(annotations)?.unwrap_or_default(),
            bounding: has_capabilities
                .then(|| given(bounding))
                .transpose()?
                .map(Option::unwrap_or_default),
            hooks: Hooks {
                prestart: given(prestart)?.unwrap_or_default(),
                create_runtime: given(create_runtime)?.unwrap_or_default(),
            },
            parts: Parts {
                annotations,
                linux,
                seccomp,
            },
        })
    }

    /// The annotations.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// Whether the runtime will call our record hook, and call it before our verify hook (`hooks`
    /// of the runtime-spec, in the order in which they run).
    pub fn is_recorded_before_it_is_verified(&self) -> bool {
        let first = self
            .hooks
            .prestart
            .iter()
            .chain(&self.hooks.create_runtime)
            .filter(|hook| is_our_hook(&hook.path))
            .find_map(|hook| {
                let verb = hook.args.as_ref()?.get(1)?.as_str();
                matches!(verb, "record" | "verify").then_some(verb)
            });
        first == Some("record")
    }

    /// `process.capabilities.bounding`; `None` if there are no capabilities at all.
    pub fn bounding(&self) -> Option<&[String]> {
        self.bounding.as_deref()
    }

    /// What an engine's reading of a profile for this container depends on.
    pub fn context(&self, engine: Engine) -> Context<'_> {
        Context {
            engine,
            native: Arch::HOST,
            bounding: self.bounding(),
            kernel: KernelVersion::running_or_oldest(),
        }
    }

    /// The text of `linux.seccomp`, if there is one.
    pub fn seccomp(&self) -> Option<&'a str> {
        self.parts
            .seccomp
            .filter(|raw| !is_null(raw))
            .map(RawValue::get)
    }

    /// The whole text with `linux.seccomp` replaced by the given JSON, or added.
    fn with_seccomp(&self, seccomp: &str) -> String {
        let member = format!("\"seccomp\":{seccomp}");
        match (self.parts.linux, self.parts.seccomp) {
            (_, Some(old)) => self.exchanged(old, seccomp),
            (Some(linux), None) if is_null(linux) => {
                self.exchanged(linux, &format!("{{{member}}}"))
            }
            (Some(linux), None) => self.with_first_member(linux.get(), &member),
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

    /// The whole text with this annotation added or replaced.
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
        Ok(match self.parts.annotations {
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

/// Whether a hook's file is this program. Its name is enough: the node's owner configures hooks,
/// not the pod's author.
pub fn is_our_hook(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("portcullis-hook"))
}

/// Reads a whole text of at most [`MAX_BYTES`].
///
/// # Errors
/// It can't be read, is not UTF-8 or is too large.
pub fn read_text(
    mut source: impl Read,
    what: &'static str,
    path: &Path,
) -> Result<String, OciError> {
    let mut text = String::with_capacity(USUAL_BYTES);
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

/// Reads a bundle's `config.json`. A link is followed, as the runtime would do.
///
/// # Errors
/// As [`read_text`], or it is not a regular file.
pub fn read_bundle(bundle: &Path) -> Result<String, OciError> {
    let path = bundle.join("config.json");
    let bytes = read_named(&path, MAX_BYTES).map_err(|error| match error {
        ReadError::Root { source, .. } | ReadError::Io { source } => OciError::Read {
            path: path.clone(),
            source,
        },
        ReadError::TooLarge { .. } => OciError::TooLarge {
            what: "config.json",
        },
        other => OciError::Read {
            path: path.clone(),
            source: io::Error::other(other),
        },
    })?;
    String::from_utf8(bytes).map_err(|_| OciError::Read {
        path,
        source: io::Error::other("is not UTF-8"),
    })
}

#[cfg(test)]
mod tests;
