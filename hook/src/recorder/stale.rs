//! Writes the profiles of recordings that no poststop hook ended: of containers that exited or
//! vanished, from before a restart of the node, or longer than `max_seconds`.

use super::{
    RecordError,
    active::Active,
    boot::boot_id,
    cgroup::{self, Population},
    finish::{ending, finish},
    kernel::{BPFFS, Unloaded},
    metadata::End,
    recordings::{LockedRecordings, Recordings},
};
use crate::clock::now;
use portcullis_profile::settings::Record;
use std::path::{Path, PathBuf};

/// A recording whose profile was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The container's ID.
    pub id: String,
    /// Its profile.
    pub profile: PathBuf,
    /// How it ended.
    pub end: End,
}

/// Ends every recording whose container no longer runs or that ran for too long. An error with one
/// does not stop the others.
///
/// # Errors
/// The recordings can't be listed, or the kernel's maps can't be cleaned up.
pub fn collect_stale(record: &Record) -> Result<Vec<Result<Written, RecordError>>, RecordError> {
    let recordings = Recordings::new(record)?;
    if !recordings.exist()? {
        return Ok(Vec::new());
    }
    let recordings = recordings.lock()?;
    let (running, broken) = recordings.all()?;
    // If a recording's file can't be read, its cgroup can't be told from a stray one, so keep them
    // all.
    let unknown = !broken.is_empty();
    let mut results: Vec<_> = broken.into_iter().map(Err).collect();
    for active in running {
        let written = match due(&active, record) {
            Ok(None) => continue,
            Ok(Some(end)) => finish(&recordings, &active, record, end).map(|profile| Written {
                id: active.id.clone(),
                profile,
                end,
            }),
            Err(error) => Err(error),
        };
        results.push(written);
    }
    if !unknown {
        results.extend(tidy(&recordings)?.into_iter().map(Err));
    }
    Ok(results)
}

/// How a recording ended, if it has.
fn due(active: &Active, record: &Record) -> Result<Option<End>, RecordError> {
    if active.boot != boot_id()? {
        return Ok(Some(End::Rebooted));
    }
    let population = cgroup::population(&active.cgroup_folder, active.cgroup)?;
    if population != Population::Populated {
        return ending(active).map(Some);
    }
    let long = now().saturating_sub(active.started) >= record.max_seconds;
    Ok(long.then_some(End::MaxSeconds))
}

/// Ends what is being recorded in the kernel without a file: its hook was killed before writing
/// one.
fn tidy(recordings: &LockedRecordings) -> Result<Vec<RecordError>, RecordError> {
    let Some(loaded) = Unloaded::new(Path::new(BPFFS)).pinned()? else {
        return Ok(Vec::new());
    };
    let (running, _) = recordings.all()?;
    let mut failed = Vec::new();
    for (cgroup, _) in loaded.recorded_cgroups()? {
        if !running.iter().any(|active| active.cgroup == cgroup)
            && let Err(error) = loaded.end(cgroup)
        {
            failed.push(error.into());
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::active::example;
    use std::{fs, os::unix::fs::MetadataExt};

    #[test]
    fn only_what_has_ended_or_ran_for_too_long_is_due() {
        let cgroup = tempfile::tempdir().unwrap();
        let events = cgroup.path().join("cgroup.events");
        fs::write(&events, "populated 1\n").unwrap();
        let running = Active {
            boot: boot_id().unwrap(),
            cgroup_folder: cgroup.path().to_owned(),
            cgroup: fs::metadata(cgroup.path()).unwrap().ino(),
            started: now(),
            ..example()
        };
        let ended = |active: &Active, max_seconds| {
            let record = Record {
                max_seconds,
                ..Record::default()
            };
            due(active, &record).unwrap()
        };
        assert_eq!(ended(&running, 1_000_000), None);
        assert_eq!(ended(&running, 0), Some(End::MaxSeconds));
        fs::write(&events, "populated 0\n").unwrap();
        assert_eq!(ended(&running, 1_000_000), Some(End::Exited));
        fs::remove_dir_all(cgroup.path()).unwrap();
        assert_eq!(ended(&running, 1_000_000), Some(End::Vanished));
        let earlier = Active {
            boot: "another".into(),
            ..running
        };
        assert_eq!(ended(&earlier, 1_000_000), Some(End::Rebooted));
    }

    #[test]
    fn one_recording_that_cannot_be_written_keeps_no_other_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        assert_eq!(collect_stale(&record).unwrap().len(), 0);
        let recordings = Recordings::new(&record).unwrap().lock().unwrap();
        for (id, below) in [("a", "missing"), ("b", "")] {
            let active = Active {
                id: id.into(),
                folder: folder.path().join(below),
                file: format!("{id}.json").into(),
                ..example()
            };
            recordings.put(&active).unwrap();
        }
        drop(recordings);
        let results = collect_stale(&record).unwrap();
        assert_eq!(results.len(), 2);
        // Both are from another boot, so that neither has a profile; the second has its metadata.
        assert!(results.iter().all(Result::is_err));
        assert!(folder.path().join("b.json.metadata.json").exists());
        let left = Recordings::new(&record).unwrap().all().unwrap().0;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].id, "a");
    }
}
