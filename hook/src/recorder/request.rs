//! What a container's annotations ask to be recorded. Pure: who may is decided by settings.

use super::RecordError;
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

/// Whether a configuration is marked.
pub fn is_marked(annotations: &Annotations) -> bool {
    annotations.contains_key(DENIALS_LOGGED_ANNOTATION)
}

/// A file below one of the folders of hook.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder, as hook.toml writes it.
    pub folder: PathBuf,
    /// The file, relative to it.
    pub file: PathBuf,
}

impl Place {
    /// The whole path, for people.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// A profile whose denials stay denials.
    pub base: Option<Place>,
    /// Where to write; `None`: a name is made up.
    pub output: Option<Place>,
}

/// What the annotations ask for; `None` where they ask for nothing.
///
/// A path that a pod's author chose is heard under Podman only, whose user has the host's files
/// anyway as far as hook.toml lets them; elsewhere such a recording gets a made-up name.
///
/// # Errors
/// A value can't be understood, or names a path outside of the folders.
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
            Some(_) => return Err(wrong(key, "neither \"true\" nor \"false\"")),
            None => {}
        }
    }
    match annotations.get(TRACE_ANNOTATION) {
        None => Ok(None),
        Some(_) if engine != Engine::Podman => Ok(Some(Request::default())),
        Some(value) => trace(value, record).map(Some),
    }
}

fn wrong(annotation: &str, reason: impl Into<String>) -> RecordError {
    RecordError::Annotation {
        annotation: annotation.to_owned(),
        reason: reason.into(),
    }
}

/// The older hook's grammar.
fn trace(value: &str, record: &Record) -> Result<Request, RecordError> {
    let mut request = Request::default();
    for part in value.split(';') {
        let (slot, path) = match part.split_once(':') {
            Some(("if", path)) => (&mut request.base, path),
            Some(("of", path)) => (&mut request.output, path),
            _ => {
                return Err(wrong(
                    TRACE_ANNOTATION,
                    "not of the form [if:/path;]of:/path",
                ));
            }
        };
        if slot.is_some() {
            return Err(wrong(TRACE_ANNOTATION, "\"if\" or \"of\" is given twice"));
        }
        *slot = Some(place(path, &record.folders)?);
    }
    if request.output.is_none() {
        return Err(wrong(TRACE_ANNOTATION, "\"of:/path\" is missing"));
    }
    Ok(request)
}

/// A path as one below a folder.
fn place(path: &str, folders: &[PathBuf]) -> Result<Place, RecordError> {
    let plain = |path: &Path| {
        path.components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
    };
    let path = Path::new(path);
    if !path.is_absolute() || !plain(path) || path.as_os_str().len() > 4096 {
        return Err(wrong(
            TRACE_ANNOTATION,
            "a path is not absolute, or has \"..\" in it",
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
            wrong(
                TRACE_ANNOTATION,
                format!(
                    "a path names no file below {} ([record] folders in hook.toml)",
                    all.join(", ")
                ),
            )
        })
}

/// Names that begin with a dot are the recorder's own.
fn hidden(file: &Path) -> bool {
    file.iter()
        .any(|part| part.as_encoded_bytes().starts_with(b"."))
}

/// A file name of pod, container, time and the container's ID: it can't leave its folder, and
/// the ID makes it one of its own.
pub fn made_up(identity: &Identity, id: &str, time: &str) -> PathBuf {
    let parts = [
        identity.namespace.as_deref(),
        identity.pod.as_deref(),
        identity.container.as_deref(),
        Some(time),
    ];
    let mut name: String = parts
        .into_iter()
        .flatten()
        .map(|part| tame(part, 48) + "_")
        .collect();
    name += &tame(id, 64);
    name.push_str(".json");
    PathBuf::from(name.trim_start_matches('.'))
}

fn tame(part: &str, most: usize) -> String {
    part.chars()
        .take(most)
        .map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => char,
            _ => '-',
        })
        .collect()
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
    fn a_containers_annotation_goes_before_the_pods() {
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
    fn the_older_grammar_is_read_in_any_order() {
        for value in [
            "if:/rec/b.json;of:/more/rec/d/o.json",
            "of:/more/rec/d/o.json;if:/rec/b.json",
        ] {
            let request = asked(Engine::Podman, &[(TRACE_ANNOTATION, value)])
                .unwrap()
                .unwrap();
            assert_eq!(request.base.unwrap().path(), Path::new("/rec/b.json"));
            assert_eq!(request.output.unwrap().file, Path::new("d/o.json"));
        }
    }

    #[test]
    fn no_path_leaves_the_folders() {
        for value in [
            "",
            "of:",
            "of:x.json",
            "of:/etc/passwd",
            "of:/rec",
            "of:/rec/",
            "of:/rec/../etc/passwd",
            "of:/rec/.active/x.json",
            "of:/record/x.json",
            "if:/rec/x.json",
            "of:/rec/a;of:/rec/b",
            "of:/rec/a;xx:/rec/b",
        ] {
            assert!(
                asked(Engine::Podman, &[(TRACE_ANNOTATION, value)]).is_err(),
                "{value}"
            );
        }
        // Outside of Podman nobody's path is heard.
        let elsewhere = asked(Engine::CriO, &[(TRACE_ANNOTATION, "of:/etc/passwd")]);
        assert_eq!(elsewhere.unwrap(), Some(Request::default()));
    }

    #[test]
    fn made_up_names_stay_in_their_folder() {
        let identity = Identity {
            namespace: Some("../..".into()),
            pod: Some("a/b\n\u{202e}".into()),
            container: Some("x".repeat(500)),
            ..Identity::default()
        };
        let name = made_up(&identity, &"f".repeat(64), "2026");
        assert_eq!(name.components().count(), 1);
        let name = name.to_str().unwrap();
        assert!(
            name.len() < 240 && !name.starts_with('.') && name.is_ascii(),
            "{name}"
        );
    }
}
