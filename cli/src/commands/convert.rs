//! `portcullis convert`: a profile in another form.

use super::{CommandError, Ending};
use crate::{input::Situation, output::Output};
use clap::ValueEnum;
use portcullis_profile::Filter;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The profile.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The form to print.
    #[arg(long, value_enum, default_value_t = Form::Oci)]
    to: Form,
    /// The name of the SeccompProfile.
    #[arg(long, required_if_eq("to", "manifest"), value_parser = object_name)]
    name: Option<String>,
    #[command(flatten)]
    situation: Situation,
    #[command(flatten)]
    output: Output,
}

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The JSON document that the engine gives to the runtime: no conditions are left in it.
    Oci,
    /// A SeccompProfile in YAML, whose file on the nodes has the same effect.
    Manifest,
}

/// A name that the API server takes for a SeccompProfile: a DNS subdomain (RFC 1123) of at most 250
/// characters, since the file on the nodes is `<name>.json`.
fn object_name(text: &str) -> Result<String, &'static str> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 250 && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err(
            "use at most 250 lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part between dots",
        )
    }
}

/// Prints the profile.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let filter = arguments.situation.filter(&arguments.file)?;
    let text = match (arguments.to, &arguments.name) {
        (Form::Manifest, Some(name)) => manifest(name, &filter)?,
        _ => document(&filter)?,
    };
    arguments.output.write(&text)?;
    Ok(Ending::Good)
}

/// A filter as an OCI document.
pub(super) fn document(filter: &Filter) -> Result<String, CommandError> {
    serde_json::to_string_pretty(filter).map_err(|error| CommandError::Unusable(error.to_string()))
}

/// A `SeccompProfile` of the group portcullis.dev.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Specification<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
}

/// The fields of the specification have the names of the OCI document's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specification<'a> {
    #[serde(flatten)]
    filter: &'a Filter,
    /// A complete profile names what the runtime needs by itself; nothing is added to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_base: Option<&'static str>,
}

/// A `SeccompProfile` with exactly the rules of a filter.
fn manifest(name: &str, filter: &Filter) -> Result<String, CommandError> {
    let denies = !filter.default_action.lets_through();
    let manifest = Manifest {
        api_version: "portcullis.dev/v1alpha1",
        kind: "SeccompProfile",
        metadata: Metadata { name },
        spec: Specification {
            filter,
            runtime_base: denies.then_some("Omit"),
        },
    };
    serde_saphyr::to_string(&manifest).map_err(|error| CommandError::Unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::parse_unconditional;

    fn filter(text: &str) -> Filter {
        parse_unconditional(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_document_is_read_again_as_the_same_filter() {
        let filter = filter(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86"], "flags": [],
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                     "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
        );
        assert_eq!(
            parse_unconditional(document(&filter).unwrap().as_bytes()),
            Ok(filter)
        );
    }

    #[test]
    fn a_manifest_adds_nothing_to_a_profile_that_denies() {
        let denies = filter(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(
            manifest("web", &denies).unwrap(),
            "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata:\n  name: web\nspec:\n  \
             defaultAction: SCMP_ACT_ERRNO\n  syscalls:\n  - names:\n    - read\n    action: \
             SCMP_ACT_ALLOW\n  runtimeBase: Omit\n"
        );
        let allows = filter(r#"{"defaultAction": "SCMP_ACT_LOG"}"#);
        assert!(!manifest("web", &allows).unwrap().contains("runtimeBase"));
    }

    #[test]
    fn only_names_that_the_api_server_takes_are_taken() {
        for good in ["web", "web-1.json", "a.b"] {
            assert_eq!(object_name(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "Web",
            "-web",
            "web-",
            "a..b",
            "a/b",
            "a\nb",
            &"a".repeat(251),
        ] {
            assert!(object_name(bad).is_err(), "{bad:?}");
        }
    }
}
