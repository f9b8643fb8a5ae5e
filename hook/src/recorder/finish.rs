//! Ends a recording and writes its profile.
//!
//! It stops the recording in the kernel, reads the slot, writes metadata and profile, and forgets
//! the recording last. If the process is killed in between, `collect --stale` finishes the job.

use super::{
    RecordError,
    active::Active,
    boot::boot_id,
    cgroup::{self, Population},
    kernel::{BPFFS, Loaded, Unloaded},
    layout::Window,
    metadata::{End, metadata},
    names::names,
    output,
    place::Place,
    profile,
    recordings::{LockedRecordings, Recordings},
};
use portcullis_profile::{Filter, parse_unconditional, settings::Record};
use std::path::{Path, PathBuf};

/// The largest profile that a recording can be merged into, in bytes.
const MAX_MERGED_BYTES: u64 = 4 * 1024 * 1024;

/// Ends the recording of a container that has stopped, according to the runtime, and writes its
/// profile. `None` if it was not recorded.
///
/// # Errors
/// The profile can't be written, or nothing was observed. What was observed stays in the kernel and
/// is written by the next `collect --stale`.
pub fn collect(id: &str, record: &Record) -> Result<Option<PathBuf>, RecordError> {
    let recordings = Recordings::new(record)?;
    if !recordings.exist()? {
        return Ok(None);
    }
    let recordings = recordings.lock()?;
    match recordings.get(id)? {
        None => Ok(None),
        Some(active) => finish(&recordings, &active, record, End::Stopped).map(Some),
    }
}

/// How a recording ended if its container no longer runs and no poststop hook ran.
pub(super) fn ending(active: &Active) -> Result<End, RecordError> {
    if active.boot != boot_id()? {
        return Ok(End::Rebooted);
    }
    if cgroup::population(&active.cgroup_folder, active.cgroup)? == Population::Empty {
        return Ok(End::Exited);
    }
    // systemd removes an empty cgroup, but engines remove the bundle only with the container.
    let Some(bundle) = &active.bundle else {
        return Ok(End::Vanished);
    };
    let config = bundle.join("config.json");
    match config.try_exists() {
        Ok(true) => Ok(End::Exited),
        Ok(false) => Ok(End::Vanished),
        Err(error) => Err(RecordError::io(config, error)),
    }
}

/// Ends a recording and writes its profile.
pub(super) fn finish(
    recordings: &LockedRecordings,
    active: &Active,
    record: &Record,
    end: End,
) -> Result<PathBuf, RecordError> {
    let loaded = match end {
        End::Rebooted => None,
        _ => Unloaded::new(Path::new(BPFFS)).pinned()?,
    };
    let observed = match loaded {
        Some(loaded) => {
            loaded.end(active.cgroup)?;
            // Tasks that are gone no longer write to the slot; those of a recording that is cut
            // short may.
            if end == End::MaxSeconds {
                Loaded::settle();
            }
            Some(loaded.observed(active.slot)?)
        }
        None => None,
    };
    let place = active.output();
    let beside = place.metadata();
    let names = observed.as_ref().map(|observed| names(active, observed));
    let unnamed = names.as_ref().map_or(&[][..], |names| &names.unnamed);
    let metadata = metadata(active, observed.as_ref(), unnamed, end);
    let json = serde_json::to_string_pretty(&metadata).map_err(|error| RecordError::Broken {
        path: beside.path(),
        reason: error.to_string(),
    })?;
    output::write(&beside, &(json + "\n"))?;
    let nothing = |reason| RecordError::Nothing {
        id: active.id.clone(),
        reason,
        metadata: beside.path(),
    };
    let written = match (observed, names) {
        (Some(observed), Some(names)) if observed.window != Window::NotOpened => {
            let filter = profile::profile(active, &names, record.default_action)?;
            write(&place, filter, record.merge)?;
            Ok(place.path())
        }
        (Some(_), _) => Err(nothing("its entry point was never executed")),
        (None, _) if end == End::Rebooted => Err(nothing("the node was restarted while it ran")),
        (None, _) => Err(nothing("the recorder is no longer loaded")),
    };
    recordings.forget(&active.id)?;
    written
}

/// Writes a profile, merged with the existing one if `merge` is set.
fn write(place: &Place, recorded: Filter, merge: bool) -> Result<(), RecordError> {
    let mut filter = recorded;
    if merge && let Some(text) = output::read(place, MAX_MERGED_BYTES)? {
        let there = parse_unconditional(&text).map_err(|source| RecordError::Document {
            path: place.path(),
            source,
        })?;
        filter = profile::merged(&there, &filter).map_err(|error| RecordError::Broken {
            path: place.path(),
            reason: format!("the recording can't be merged into it: {error}"),
        })?;
    }
    output::write(place, &profile::text(&filter, &place.path())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::active::example;
    use std::{fs, os::unix::fs::MetadataExt};

    #[test]
    fn exited_vanished_and_rebooted_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Active {
            boot: boot_id().unwrap(),
            cgroup_folder: "/nonexistent/cgroup".into(),
            bundle: Some(folder.path().to_owned()),
            ..example()
        };
        assert_eq!(ending(&gone).unwrap(), End::Vanished);
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert_eq!(ending(&gone).unwrap(), End::Exited);
        let unknown = Active {
            bundle: None,
            ..gone.clone()
        };
        assert_eq!(ending(&unknown).unwrap(), End::Vanished);
        let cgroup = tempfile::tempdir().unwrap();
        fs::write(cgroup.path().join("cgroup.events"), "populated 0\n").unwrap();
        let empty = Active {
            cgroup_folder: cgroup.path().to_owned(),
            cgroup: fs::metadata(cgroup.path()).unwrap().ino(),
            ..unknown
        };
        assert_eq!(ending(&empty).unwrap(), End::Exited);
        let earlier = Active {
            boot: "another".into(),
            ..empty
        };
        assert_eq!(ending(&earlier).unwrap(), End::Rebooted);
    }

    #[test]
    fn collecting_what_was_never_recorded_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        assert_eq!(collect("x", &record).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_recording_from_before_a_restart_leaves_metadata_and_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        let recordings = Recordings::new(&record).unwrap().lock().unwrap();
        let active = Active {
            folder: folder.path().to_owned(),
            ..example()
        };
        recordings.put(&active).unwrap();
        let end = ending(&active).unwrap();
        let error = finish(&recordings, &active, &record, end).unwrap_err();
        assert!(error.to_string().contains("restarted"), "{error}");
        let text = fs::read_to_string(folder.path().join("p.json.metadata.json")).unwrap();
        assert!(text.contains(r#""end": "rebooted""#), "{text}");
        assert!(!folder.path().join("p.json").exists());
        assert_eq!(recordings.get("x").unwrap(), None);
    }

    #[test]
    fn a_recording_is_merged_with_a_profile_that_is_one_filter_and_with_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            folder: folder.path().to_owned(),
            file: "p.json".into(),
        };
        let recorded = || {
            let text = br#"{"defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
            parse_unconditional(text).unwrap()
        };
        let merged_with = |members: &str| {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                    {{"names": ["mount"], "action": "SCMP_ACT_ALLOW"{members}}}]}}"#
            );
            fs::write(place.path(), &text).unwrap();
            let merged = write(&place, recorded(), true);
            let after = fs::read_to_string(place.path()).unwrap();
            merged.map(|()| after.clone()).map_err(|error| {
                assert_eq!(after, text, "it stays as it was");
                error.to_string()
            })
        };
        let both = merged_with("").unwrap();
        assert!(
            both.contains("\"mount\"") && both.contains("\"read\""),
            "{both}"
        );
        for (members, key) in [
            (r#", "includes": {"caps": ["CAP_SYS_ADMIN"]}"#, "includes"),
            (r#", "excludes": {"arches": ["arm64"]}"#, "excludes"),
        ] {
            let error = merged_with(members).unwrap_err();
            assert!(
                error.contains(&format!("syscalls[0]: `{key}` makes the filter depend")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_recording_that_cannot_be_written_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        let recordings = Recordings::new(&record).unwrap().lock().unwrap();
        let active = Active {
            folder: folder.path().join("missing"),
            ..example()
        };
        recordings.put(&active).unwrap();
        assert!(finish(&recordings, &active, &record, End::Rebooted).is_err());
        assert_eq!(recordings.get("x").unwrap(), Some(active));
    }
}
