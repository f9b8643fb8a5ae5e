//! From a profile's specification to the file on a node: bases, validation, stacking.
//!
//! It is pure: the caller supplies the bases. Only `portcullis-profile` decides what is valid: it
//! parses the document that the specification becomes.

mod document;
mod error;

pub use error::ResolveError;

use crate::{
    crd::{
        SeccompProfileSpec,
        profile::{RuntimeBase, State},
    },
    kube::stored,
};
use document::filter;
use portcullis_artifact::Base;
use portcullis_profile::{
    Document, Filter,
    compose::base::runtime_base,
    compose::inert::with_inert_rule,
    compose::stack::stack,
    filter::digest::{FilterDigest, hex},
};
use serde::Deserialize;
use serde_json::Value;
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
pub fn resolve<Text: AsRef<str>>(
    name: &str,
    text: &str,
    find: &dyn Fn(&str) -> Option<Text>,
) -> Result<Option<Resolved>, ResolveError> {
    check_name(name)?;
    let spec: SeccompProfileSpec = stored::spec(text)?;
    let mut warnings = Vec::new();
    let own = filter("spec", &spec, &mut warnings)?;
    let mut chain = vec![name.to_owned()];
    let mut bases = Vec::new();
    let mut next = spec.base_profile_name.clone();
    while let Some(base) = next {
        let artifact = Base::parse(&base).transpose()?;
        let said = base;
        let base = artifact
            .as_ref()
            .map_or_else(|| said.clone(), Base::profile_name);
        let again = chain.contains(&base);
        chain.push(base.clone());
        if again {
            return Err(ResolveError::Cycle(chain));
        }
        if chain.len() > MAX_DEPTH + 1 {
            return Err(ResolveError::TooDeep);
        }
        let Some(found) = find(&base) else {
            return Err(match artifact {
                Some(_) => ResolveError::MissingArtifact {
                    base: said,
                    profile: base,
                },
                None => ResolveError::MissingBase(base),
            });
        };
        let found: SeccompProfileSpec =
            stored::spec(found.as_ref()).map_err(|error| ResolveError::UnreadableBase {
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

/// The profile that a specification has as its base, also one that can't be parsed otherwise. Changes
/// to that profile, or to its own bases, may change the file.
pub fn base_of(text: &str) -> Option<String> {
    let said = named_base(text)?;
    match Base::parse(&said) {
        Some(Ok(base)) => Some(base.profile_name()),
        _ => Some(said),
    }
}

/// The base in a registry that a specification names, if it is pinned.
pub fn artifact_of(text: &str) -> Option<Base> {
    Base::parse(&named_base(text)?)?.ok()
}

fn named_base(text: &str) -> Option<String> {
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

#[cfg(test)]
mod tests;
