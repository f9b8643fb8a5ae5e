//! What a container's annotations ask to be recorded. Pure; whether it may be recorded is decided
//! elsewhere.

use super::{
    RecordError,
    place::{METADATA_SUFFIX, Place, is_metadata},
};
use portcullis_profile::{
    Engine,
    select::annotations::{
        DENIALS_LOGGED_ANNOTATION, RECORD_ANNOTATION, RECORD_CONTAINER_ANNOTATION_PREFIX,
        TRACE_ANNOTATION,
    },
    select::identity::{Annotations, Identity},
    settings::Record,
};
use std::path::{Component, Path, PathBuf};

/// Whether a container is marked as one whose denials are logged.
pub fn is_marked(annotations: &Annotations) -> bool {
    annotations.contains_key(DENIALS_LOGGED_ANNOTATION)
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The base profile, whose denials stay denials.
    pub base: Option<Place>,
    /// Where to write the profile; `None` for a file with a generated name in the first folder.
    pub output: Option<Place>,
}

/// What the annotations ask for; `None` if they don't ask for a recording.
///
/// Paths in annotations are honoured only if [`Engine::honours_author_paths`] says so; otherwise
/// such a recording gets a generated name.
///
/// # Errors
/// A value is malformed, or names a path outside the folders.
pub fn request(
    engine: Engine,
    identity: &Identity,
    annotations: &Annotations,
    record: &Record,
) -> Result<Option<Request>, RecordError> {
    if identity.sandbox {
        return Ok(None);
    }
    let own = identity
        .container
        .as_ref()
        .map(|name| format!("{RECORD_CONTAINER_ANNOTATION_PREFIX}{name}"));
    for key in own.as_deref().into_iter().chain([RECORD_ANNOTATION]) {
        match annotations.get(key).map(String::as_str) {
            Some("true") => return Ok(Some(Request::default())),
            Some("false") => return Ok(None),
            Some(_) => return Err(malformed(key, "neither \"true\" nor \"false\"")),
            None => {}
        }
    }
    let Some(value) = annotations.get(TRACE_ANNOTATION) else {
        return Ok(None);
    };
    let paths = trace_paths(value)?;
    if !engine.honours_author_paths() {
        return Ok(Some(Request::default()));
    }
    let place = |path| place(path, &record.folders);
    Ok(Some(Request {
        base: paths.input.map(place).transpose()?,
        output: Some(output_place(paths.output, &record.folders)?),
    }))
}

fn malformed(annotation: &str, reason: impl Into<String>) -> RecordError {
    RecordError::Annotation {
        annotation: annotation.to_owned(),
        reason: reason.into(),
    }
}

/// The paths in a trace annotation, as written.
struct TracePaths<'a> {
    input: Option<&'a str>,
    output: &'a str,
}

/// Parses the annotation as the older hook does (`parseAnnotation`): at most two parts; spaces
/// around a path are ignored; the later of two parts of the same kind wins; an empty value is
/// malformed.
fn trace_paths(value: &str) -> Result<TracePaths<'_>, RecordError> {
    let malformed = |reason| malformed(TRACE_ANNOTATION, reason);
    if value.is_empty() {
        return Err(malformed("empty; write [if:/path;]of:/path"));
    }
    let parts: Vec<&str> = value.split(';').collect();
    if parts.len() > 2 {
        return Err(malformed("more than one semicolon"));
    }
    let (mut input, mut output) = (None, None);
    for part in parts {
        let (path, kind) = match part.split_once(':') {
            Some(("if", path)) => (path.trim(), &mut input),
            Some(("of", path)) => (path.trim(), &mut output),
            _ => return Err(malformed("not of the form [if:/path;]of:/path")),
        };
        if !path.starts_with('/') {
            return Err(malformed("a path is not absolute"));
        }
        *kind = Some(path);
    }
    let output = output.ok_or_else(|| malformed("\"of:/path\" is missing"))?;
    Ok(TracePaths { input, output })
}

/// The path of a profile to be written.
fn output_place(path: &str, folders: &[PathBuf]) -> Result<Place, RecordError> {
    let place = place(path, folders)?;
    if is_metadata(&place.file) {
        return Err(malformed(
            TRACE_ANNOTATION,
            format!(
                "names that end in {METADATA_SUFFIX} are reserved for the metadata of recordings"
            ),
        ));
    }
    Ok(place)
}

/// An absolute path as one inside a folder.
fn place(path: &str, folders: &[PathBuf]) -> Result<Place, RecordError> {
    let path = Path::new(path);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !plain || path.as_os_str().len() > 4096 {
        return Err(malformed(
            TRACE_ANNOTATION,
            "a path has \"..\" in it, or is longer than 4096 bytes",
        ));
    }
    folders
        .iter()
        .find_map(|folder| {
            let file = path.strip_prefix(folder).ok()?;
            let named = file.file_name().is_some_and(|name| name.len() <= 200);
            (named && !hidden(file)).then(|| Place {
                folder: folder.clone(),
                file: file.to_owned(),
            })
        })
        .ok_or_else(|| {
            let all: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
            malformed(
                TRACE_ANNOTATION,
                format!(
                    "a path names no file below {} ([record] folders in hook.toml)",
                    all.join(", ")
                ),
            )
        })
}

/// Names that begin with a dot are reserved for the recorder.
fn hidden(file: &Path) -> bool {
    file.iter()
        .any(|part| part.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(engine: Engine, pairs: &[(&str, &str)]) -> Result<Option<Request>, RecordError> {
        let annotations: Annotations = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let record = Record {
            folders: vec!["/rec".into(), "/more/rec".into()],
            ..Record::default()
        };
        let identity = Identity::of(engine, &annotations);
        request(engine, &identity, &annotations, &record)
    }

    const NAME: (&str, &str) = ("io.kubernetes.container.name", "app");

    #[test]
    fn a_containers_annotation_overrides_the_pods() {
        let crio = |pairs: &[(&str, &str)]| asked(Engine::CriO, pairs).unwrap().is_some();
        assert!(!crio(&[NAME]));
        assert!(crio(&[NAME, (RECORD_ANNOTATION, "true")]));
        assert!(crio(&[NAME, ("portcullis.dev/record.app", "true")]));
        assert!(!crio(&[NAME, ("portcullis.dev/record.sibling", "true")]));
        assert!(!crio(&[
            NAME,
            (RECORD_ANNOTATION, "true"),
            ("portcullis.dev/record.app", "false")
        ]));
        assert!(asked(Engine::CriO, &[(RECORD_ANNOTATION, "yes")]).is_err());
    }

    #[test]
    fn the_trace_annotation_is_read_as_the_older_hook_reads_it() {
        for (value, base, output) in [
            (
                "if:/rec/b.json;of:/more/rec/d/o.json",
                Some("/rec/b.json"),
                "/more/rec/d/o.json",
            ),
            (
                "of:/more/rec/d/o.json;if:/rec/b.json",
                Some("/rec/b.json"),
                "/more/rec/d/o.json",
            ),
            ("of: /rec/o.json", None, "/rec/o.json"),
            (
                "if:\t/rec/b.json ;of: /rec/o.json\n",
                Some("/rec/b.json"),
                "/rec/o.json",
            ),
            ("of:/rec/a b.json", None, "/rec/a b.json"),
            ("of:/rec/a:b.json", None, "/rec/a:b.json"),
            ("of:/rec/first;of:/rec/second", None, "/rec/second"),
        ] {
            let request = asked(Engine::Podman, &[(TRACE_ANNOTATION, value)])
                .unwrap()
                .unwrap();
            assert_eq!(request.base.map(|place| place.path()), base.map(Into::into));
            assert_eq!(request.output.unwrap().path(), Path::new(output), "{value}");
        }
    }

    #[test]
    fn a_malformed_trace_annotation_is_refused_under_every_engine() {
        for value in [
            "",
            " ",
            ";",
            "yes",
            "of:",
            "of: ",
            "of:x.json",
            " of:/rec/x.json",
            "of:/rec/x.json;",
            "if:/rec/x.json",
            "if:b;of:/rec/x.json",
            "if:/rec/a;if:/rec/b",
            "if:/rec/a;if:/rec/b;of:/rec/c",
            "of:/rec/a;xx:/rec/b",
        ] {
            for engine in Engine::ALL {
                assert!(
                    asked(engine, &[(TRACE_ANNOTATION, value)]).is_err(),
                    "{engine} {value:?}"
                );
            }
        }
    }

    #[test]
    fn no_path_leaves_the_folders_or_takes_a_name_of_the_recorders_own() {
        for value in [
            "of:/etc/passwd",
            "of:/rec",
            "of:/rec/",
            "of:/rec/../etc/passwd",
            "of:/rec/.active/x.json",
            "of:/record/x.json",
            "of:/rec/a.json.metadata.json",
            "of:/rec/a.metadata.json",
            "if:/etc/x.json;of:/rec/x.json",
        ] {
            assert!(
                asked(Engine::Podman, &[(TRACE_ANNOTATION, value)]).is_err(),
                "{value}"
            );
            // Paths that are not honoured are not checked either.
            for engine in [Engine::CriO, Engine::Containerd] {
                let request = asked(engine, &[(TRACE_ANNOTATION, value)]);
                assert_eq!(request.unwrap(), Some(Request::default()), "{value}");
            }
        }
        let base = "if:/rec/a.metadata.json;of:/rec/x.json";
        assert!(asked(Engine::Podman, &[(TRACE_ANNOTATION, base)]).is_ok());
    }
}
