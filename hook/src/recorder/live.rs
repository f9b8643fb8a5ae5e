//! Inspects running recordings without the lock: whether a container is being recorded, which
//! recordings there are, and what one has observed so far.

use super::{
    RecordError,
    active::Active,
    boot::boot_id,
    cgroup::Cgroup,
    kernel::{BPFFS, Unloaded},
    layout::Observed,
    recordings::Recordings,
};
use portcullis_profile::settings::Record;
use std::path::Path;

/// Succeeds if a container is being recorded, and not just an earlier one with the same ID.
///
/// # Errors
/// Why it is not, or why that can't be determined.
pub fn is_recorded(id: &str, init: u32, record: &Record) -> Result<(), String> {
    match look(id, init, record) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(why.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a container is not being recorded; `None` if it is being recorded.
fn look(id: &str, init: u32, record: &Record) -> Result<Option<&'static str>, RecordError> {
    let Some(active) = Recordings::new(record)?.get(id)? else {
        return Ok(Some(
            "its recording was not started; is the record hook installed?",
        ));
    };
    if !is_of(&active, &Cgroup::of(init)?)? {
        return Ok(Some("only an earlier container with its ID was recorded"));
    }
    let Some(loaded) = Unloaded::new(Path::new(BPFFS)).pinned()? else {
        return Ok(Some("the recorder is not loaded"));
    };
    if loaded.slot_of(active.cgroup)? != Some(active.slot) {
        return Ok(Some("its recording has ended"));
    }
    Ok((!loaded.is_attached()?).then_some("the recorder is not attached"))
}

/// Whether a recording belongs to the container with this cgroup.
pub(super) fn is_of(active: &Active, cgroup: &Cgroup) -> Result<bool, RecordError> {
    Ok(active.boot == boot_id()? && active.cgroup == cgroup.id)
}

/// The running recordings, and the errors of those that can't be read.
///
/// # Errors
/// They can't be listed.
pub fn list(record: &Record) -> Result<(Vec<Active>, Vec<RecordError>), RecordError> {
    Recordings::new(record)?.all()
}

/// Finds a running recording by the first characters of its container's ID, and returns it with
/// what it has observed so far.
///
/// # Errors
/// There is none or more than one, or the kernel's maps can't be read.
pub fn snapshot(id: &str, record: &Record) -> Result<(Active, Observed), RecordError> {
    let unknown = || RecordError::Unknown(id.to_owned());
    let recordings = Recordings::new(record)?;
    let (running, _) = recordings.all()?;
    let active = find(running, id)?;
    let loaded = Unloaded::new(Path::new(BPFFS))
        .pinned()?
        .ok_or_else(unknown)?;
    let observed = loaded.observed(active.slot)?;
    // The slot has not been reused meanwhile.
    if recordings.get(&active.id)?.as_ref() != Some(&active) {
        return Err(unknown());
    }
    Ok((active, observed))
}

/// The recording whose ID is this or starts with it.
fn find(running: Vec<Active>, id: &str) -> Result<Active, RecordError> {
    let mut matching: Vec<Active> = running
        .into_iter()
        .filter(|active| active.id.starts_with(id))
        .collect();
    if let Some(exact) = matching.iter().position(|active| active.id == id) {
        return Ok(matching.swap_remove(exact));
    }
    match matching.len() {
        0 | 1 => matching
            .pop()
            .ok_or_else(|| RecordError::Unknown(id.to_owned())),
        _ => Err(RecordError::Ambiguous(id.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::active::example;

    #[test]
    fn a_recording_is_found_by_the_beginning_of_its_id() {
        let found = |id: &str| {
            let running = ["abc1", "abc12", "def"].map(|id| Active {
                id: id.to_owned(),
                ..example()
            });
            find(running.into(), id).map(|active| active.id)
        };
        assert_eq!(found("d").unwrap(), "def");
        assert_eq!(found("abc1").unwrap(), "abc1");
        assert_eq!(found("abc12").unwrap(), "abc12");
        assert!(matches!(found("ab"), Err(RecordError::Ambiguous(_))));
        assert!(matches!(found("x"), Err(RecordError::Unknown(_))));
    }

    #[test]
    fn what_nobody_started_to_record_is_not_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            folders: vec![folder.path().to_owned()],
            ..Record::default()
        };
        let why = is_recorded("x", 1, &record).unwrap_err();
        assert!(why.contains("its recording was not started"), "{why}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_recording_of_another_boot_or_cgroup_is_another_ones() {
        let cgroup = |id| Cgroup {
            hierarchy: crate::recorder::cgroup::Hierarchy::Unified,
            folder: "/c".into(),
            id,
        };
        let mut active = example();
        assert!(!is_of(&active, &cgroup(1)).unwrap());
        active.boot = boot_id().unwrap();
        assert!(is_of(&active, &cgroup(1)).unwrap());
        assert!(!is_of(&active, &cgroup(2)).unwrap());
    }
}
