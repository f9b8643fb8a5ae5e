//! Starts the recording of a container.
//!
//! It empties a slot, stores the recording on disk, then starts recording in the kernel. If the
//! process is killed in between, `collect --stale` cleans up.

use super::{
    RecordError,
    active::Active,
    base::{self, Base},
    boot::boot_id,
    cgroup::Cgroup,
    finish::{ending, finish},
    kernel::{BPFFS, Loaded, Unloaded},
    layout::{SLOTS, SlotSetup},
    limits,
    live::is_of,
    names, output,
    place::{Place, generated_name},
    recordings::LockedRecordings,
    recordings::Recordings,
    request::{Request, is_marked},
    runtime,
};
use crate::{
    clock::{file_stamp, now},
    oci::config::OciConfig,
};
use portcullis_profile::{
    Engine, compose::relax::relax, parse_filter, select::identity::Identity, settings::Settings,
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The outcome of a request to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// The container is being recorded.
    Recording {
        /// Where the profile will be written.
        profile: PathBuf,
        /// Warnings about the base profile.
        warnings: Vec<String>,
    },
    /// It starts unrecorded, for this reason.
    Unrecorded(String),
}

/// A container that asks to be recorded.
#[derive(Debug)]
pub struct Container<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The process ID of its init.
    pub init: u32,
    /// Its bundle.
    pub bundle: &'a Path,
    /// Its `config.json`.
    pub config: &'a OciConfig<'a>,
    /// Its identity.
    pub identity: Identity,
    /// The engine whose annotations were trusted.
    pub engine: Engine,
}

/// Starts recording a container.
///
/// # Errors
/// It can't be recorded, or its profile could not be written later.
pub fn start(
    request: Request,
    container: Container<'_>,
    settings: &Settings,
) -> Result<StartOutcome, RecordError> {
    let record = &settings.record;
    if let Some(why) = limits::forbidden(&container.identity, container.engine, record) {
        return Ok(StartOutcome::Unrecorded(why));
    }
    let first = record.folders.first().ok_or(RecordError::NoFolder)?;
    let started = now();
    let output = request.output.unwrap_or_else(|| Place {
        folder: first.clone(),
        file: generated_name(&container.identity, container.id, &file_stamp()),
    });
    output::check(&output)?;
    let base = request
        .base
        .map(|place| {
            let context = container.config.context(container.engine);
            base::read(&place, settings.max_profile_bytes, &context)
        })
        .transpose()?;
    let cgroup = Cgroup::of(container.init)?;
    let recordings = Recordings::new(record)?.lock()?;
    if let Some(active) = recordings.get(container.id)? {
        if is_of(&active, &cgroup)? {
            return Ok(StartOutcome::Recording {
                profile: active.output().path(),
                warnings: active.warnings,
            });
        }
        // The container was restarted without its poststop hook.
        match finish(&recordings, &active, record, ending(&active)?) {
            Ok(_) | Err(RecordError::Nothing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (running, _) = recordings.all()?;
    if let Some(why) = limits::reached(&recordings, running.len(), record)? {
        return Ok(StartOutcome::Unrecorded(why));
    }
    let loaded = Unloaded::new(Path::new(BPFFS)).load(cgroup.hierarchy)?;
    let Some(slot) = free_slot(&loaded, &running)? else {
        return Ok(StartOutcome::Unrecorded(format!(
            "all {SLOTS} slots are in use"
        )));
    };
    // The runtime started this hook, so it has the same filters as the runtime; the
    // container's own comes on top of these.
    let filters = runtime::filter_count("self")? + 1;
    let setup = SlotSetup {
        filters,
        init: runtime::pid_in_kernel(container.init).unwrap_or(0),
        counted: names::process_calls(),
        watches: names::watches(&record.arguments),
    };
    let plan = Plan {
        output,
        base,
        cgroup,
        slot,
        started,
        filters,
    };
    let active = plan.active(container, settings)?;
    loaded.prepare(slot, &setup)?;
    launch(&recordings, &loaded, &active)?;
    Ok(StartOutcome::Recording {
        profile: active.output().path(),
        warnings: active.warnings,
    })
}

/// Finds a slot that neither the kernel nor a recording on disk uses.
fn free_slot(loaded: &Loaded, running: &[Active]) -> Result<Option<u32>, RecordError> {
    let recorded = loaded.recorded_cgroups()?;
    let taken: BTreeSet<u32> = running
        .iter()
        .map(|active| active.slot)
        .chain(recorded.into_iter().map(|(_, slot)| slot))
        .collect();
    Ok((0..SLOTS).find(|slot| !taken.contains(slot)))
}

/// Stores the recording and starts it in the kernel. If that fails, undoes both.
fn launch(
    recordings: &LockedRecordings,
    loaded: &Loaded,
    active: &Active,
) -> Result<(), RecordError> {
    recordings.put(active)?;
    let Err(error) = loaded.start(active.cgroup, active.slot) else {
        return Ok(());
    };
    let undone = [
        loaded.end(active.cgroup).map_err(RecordError::from),
        // Otherwise the container would later be reported as vanished.
        recordings.forget(&active.id),
    ];
    let left: Vec<String> = undone
        .into_iter()
        .filter_map(|result| result.err().map(|error| error.to_string()))
        .collect();
    if left.is_empty() {
        return Err(error.into());
    }
    Err(RecordError::NotUndone {
        error: Box::new(error.into()),
        left: left.join("; "),
    })
}

/// What is determined before a recording starts.
struct Plan {
    output: Place,
    base: Option<Base>,
    cgroup: Cgroup,
    slot: u32,
    started: u64,
    /// A task with at least this many filters is inside the recording window.
    filters: u32,
}

impl Plan {
    /// Everything that is stored about the recording while it runs.
    fn active(self, container: Container<'_>, settings: &Settings) -> Result<Active, RecordError> {
        let record = &settings.record;
        let filter = Present::of(container.config);
        let (base, warnings) = match self.base {
            Some(base) => (Some(base.text), base.warnings),
            None => (None, Vec::new()),
        };
        let annotations = container.config.annotations();
        let image = container.engine.image_annotation();
        let init_filters = runtime::filter_count(&container.init.to_string())?;
        Ok(Active {
            id: container.id.to_owned(),
            slot: self.slot,
            cgroup: self.cgroup.id,
            cgroup_folder: self.cgroup.folder,
            boot: boot_id()?,
            engine: container.engine,
            image: image.and_then(|key| annotations.get(key).cloned()),
            identity: container.identity,
            // crun gives "/" if there is a user namespace and a device, and that is never removed.
            bundle: Some(container.bundle.to_owned()).filter(|path| path != Path::new("/")),
            runtime: runtime::parent_runtime(),
            go_runtime: runtime::is_go_runtime(container.init),
            filter: filter.default_action,
            filter_error: filter.error,
            denials_logged: record.log_denials && is_marked(annotations) && filter.denies_nothing,
            loaded_before: init_filters >= self.filters,
            started: self.started,
            folder: self.output.folder,
            file: self.output.file,
            arguments: record.arguments.clone(),
            base,
            warnings,
        })
    }
}

/// What the metadata say about the filter in `config.json`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Present {
    /// Its default action; `None` if there is no filter, or an empty one.
    default_action: Option<String>,
    /// Why it could not be read in full.
    error: Option<String>,
    /// Whether it only logs instead of denying.
    denies_nothing: bool,
}

impl Present {
    fn of(config: &OciConfig<'_>) -> Present {
        let Some(text) = config.seccomp() else {
            return Present::default();
        };
        let error = match parse_filter(text.as_bytes()) {
            Ok(filter) => {
                return Present {
                    default_action: Some(filter.default_action.to_string()),
                    error: None,
                    denies_nothing: relax(&filter).is_none(),
                };
            }
            Err(error) => error.to_string(),
        };
        // The error may be about any other part.
        let object: Option<Map<String, Value>> = serde_json::from_str(text).ok();
        let default_action = match object.as_ref().map(|object| object.get("defaultAction")) {
            Some(None | Some(Value::Null)) => return Present::default(),
            Some(Some(Value::String(action))) if action.is_empty() => return Present::default(),
            Some(Some(Value::String(action))) => action.clone(),
            _ => "unknown".to_owned(),
        };
        Present {
            default_action: Some(default_action),
            error: Some(error),
            denies_nothing: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(seccomp: &str) -> Present {
        let text = format!(r#"{{"linux":{{"seccomp":{seccomp}}}}}"#);
        Present::of(&OciConfig::parse(&text).unwrap())
    }

    #[test]
    fn the_metadata_name_the_default_action_also_of_a_filter_that_cannot_be_read_in_full() {
        let errno = Some("SCMP_ACT_ERRNO".to_owned());
        let good = present(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        assert_eq!((good.default_action, good.error), (errno.clone(), None));
        let bad = present(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["x"],"action":"SCMP_ACT_NONE"}]}"#,
        );
        assert_eq!(bad.default_action, errno);
        assert!(bad.error.is_some() && !bad.denies_nothing);
        assert_eq!(present("[]").default_action.unwrap(), "unknown");
    }

    #[test]
    fn a_filter_that_the_runtime_does_not_load_is_none() {
        for none in ["null", "{}", r#"{"defaultAction":""}"#] {
            assert_eq!(present(none), Present::default(), "{none}");
        }
    }

    #[test]
    fn a_filter_that_only_logs_denies_nothing() {
        assert!(present(r#"{"defaultAction":"SCMP_ACT_LOG"}"#).denies_nothing);
        assert!(!present(r#"{"defaultAction":"SCMP_ACT_KILL"}"#).denies_nothing);
    }
}
