//! Predicts whether a container will be recorded. This is an input of the gate, which relaxes a
//! filter only for a recording that is about to start.
//!
//! The prediction changes nothing and takes no lock; whether the recording really starts is decided
//! later.

use super::{
    RecordError, base,
    kernel::{BPFFS, Unloaded},
    limits, output,
    place::Place,
    recordings::Recordings,
    request::{Request, request},
};
use crate::oci::config::OciConfig;
use portcullis_profile::{Context, Engine, select::identity::Identity, settings::Settings};
use std::path::{Path, PathBuf};

/// Whether a container asks for a recording and would get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingIntent {
    /// It does not ask for one.
    NotRequested,
    /// It will be recorded, as things stand.
    WillRecord,
    /// It asks for one but would start unrecorded: it may not be recorded, or a limit is reached.
    Unrecorded(String),
    /// It asks for one that can't start; `[record] on_failure` says what happens then.
    Impossible(String),
}

impl RecordingIntent {
    /// Checks the annotations, the settings, this node's recordings, and what the kernel provides.
    pub fn of(
        engine: Engine,
        identity: &Identity,
        config: &OciConfig<'_>,
        settings: &Settings,
    ) -> RecordingIntent {
        let looked = match request(engine, identity, config.annotations(), &settings.record) {
            Ok(None) => return RecordingIntent::NotRequested,
            Ok(Some(request)) => obstacle(&request, identity, &config.context(engine), settings),
            Err(error) => Err(error),
        };
        match looked {
            Ok(None) => RecordingIntent::WillRecord,
            Ok(Some(why)) => RecordingIntent::Unrecorded(why),
            Err(error) => RecordingIntent::Impossible(error.to_string()),
        }
    }
}

/// Why a container that asks to be recorded would start unrecorded; `None` if it would be recorded.
fn obstacle(
    request: &Request,
    identity: &Identity,
    context: &Context<'_>,
    settings: &Settings,
) -> Result<Option<String>, RecordError> {
    let record = &settings.record;
    if let Some(why) = limits::forbidden(identity, context.engine, record) {
        return Ok(Some(why));
    }
    let first = record.folders.first().ok_or(RecordError::NoFolder)?;
    let generated = || Place {
        folder: first.clone(),
        file: PathBuf::from("generated.json"),
    };
    output::check(&request.output.clone().unwrap_or_else(generated))?;
    if let Some(place) = &request.base {
        base::read(place, settings.max_profile_bytes, context)?;
    }
    Unloaded::new(Path::new(BPFFS)).check()?;
    let recordings = Recordings::new(record)?;
    let (running, _) = recordings.all()?;
    limits::reached(&recordings, running.len(), record)
}

#[cfg(test)]
mod tests {
    use super::{RecordingIntent::*, *};
    use crate::recorder::active::example;
    use portcullis_profile::{
        select::{
            annotations::{RECORD_ANNOTATION, TRACE_ANNOTATION},
            identity::Annotations,
        },
        settings::Record,
    };
    use std::fs;

    fn intent(folder: &Path, pairs: &[(&str, &str)], change: fn(&mut Record)) -> RecordingIntent {
        let annotations: Annotations = pairs
            .iter()
            .map(|(key, value)| {
                (
                    (*key).to_owned(),
                    value.replace("DIR", &folder.display().to_string()),
                )
            })
            .collect();
        let mut settings = Settings {
            record: Record {
                folders: vec![folder.to_owned()],
                ..Record::default()
            },
            ..Settings::default()
        };
        change(&mut settings.record);
        let text = serde_json::json!({ "annotations": annotations }).to_string();
        let config = OciConfig::parse(&text).unwrap();
        let identity = Identity::of(Engine::Podman, config.annotations());
        RecordingIntent::of(Engine::Podman, &identity, &config, &settings)
    }

    const ASKS: (&str, &str) = (RECORD_ANNOTATION, "true");

    #[test]
    fn what_asks_for_nothing_is_not_looked_at_further() {
        let missing = Path::new("/nonexistent/recordings");
        assert_eq!(intent(missing, &[], |_| {}), NotRequested);
        assert_eq!(
            intent(missing, &[(RECORD_ANNOTATION, "false")], |_| {}),
            NotRequested
        );
    }

    #[test]
    fn what_cannot_start_is_told_from_what_would_start_unrecorded() {
        let folder = tempfile::tempdir().unwrap();
        let impossible = |value: &str, why: &str| {
            let found = intent(folder.path(), &[(TRACE_ANNOTATION, value)], |_| {});
            assert!(
                matches!(&found, Impossible(text) if text.contains(why)),
                "{found:?}"
            );
        };
        impossible("yes", "not of the form");
        impossible("of:/etc/x.json", "names no file below");
        impossible("of:DIR/none/x.json", "none");
        impossible("if:DIR/none.json;of:DIR/x.json", "none.json");
        let found = intent(folder.path(), &[ASKS], |record| record.folders.clear());
        assert!(matches!(found, Impossible(_)));
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let found = intent(folder.path(), &[ASKS], |_| {});
        // If the kernel here can't record, that is the reason given.
        assert!(matches!(found, WillRecord | Impossible(_)), "{found:?}");
        let limited = intent(folder.path(), &[ASKS], |record| record.max_active = 0);
        assert!(
            matches!(limited, Unrecorded(_) | Impossible(_)),
            "{limited:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_that_is_held_does_not_keep_anybody_from_looking() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        let held = Recordings::new(&record).unwrap().lock().unwrap();
        held.put(&example()).unwrap();
        let found = intent(folder.path(), &[ASKS], |record| record.max_active = 1);
        assert!(matches!(found, Unrecorded(_) | Impossible(_)), "{found:?}");
    }
}
