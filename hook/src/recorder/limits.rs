//! Who may be recorded, and how much, according to hook.toml. A container beyond a limit starts
//! unrecorded.

use super::{RecordError, layout::SLOTS, recordings::Recordings};
use portcullis_profile::{Engine, select::identity::Identity, settings::Record};

/// Why a container may not be recorded; `None` if it may be.
pub fn forbidden(identity: &Identity, engine: Engine, record: &Record) -> Option<String> {
    let namespace = identity.namespace.clone().unwrap_or_default();
    let may = !engine.has_namespaces() || record.namespaces.contains(&namespace);
    (!may).then(|| format!("namespace {namespace:?} is not in [record] namespaces of hook.toml"))
}

/// Which limit prevents another recording; `None` if none does.
///
/// # Errors
/// The size of the folder's contents can't be determined.
pub fn reached(
    recordings: &Recordings,
    running: usize,
    record: &Record,
) -> Result<Option<String>, RecordError> {
    if running >= record.max_active as usize {
        return Ok(Some(format!(
            "{running} recordings are already running (max_active)"
        )));
    }
    if running >= SLOTS as usize {
        return Ok(Some(format!("all {SLOTS} slots are in use")));
    }
    let bytes = recordings.bytes()?;
    Ok((bytes >= record.max_bytes).then(|| {
        format!(
            "{} holds {bytes} bytes already (max_bytes)",
            recordings.folder().display()
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_namespaces_may_and_podman_has_none() {
        let may = |engine, namespace: Option<&str>| {
            let identity = Identity {
                namespace: namespace.map(str::to_owned),
                ..Identity::default()
            };
            let record = Record {
                namespaces: vec!["shop".to_owned()],
                ..Record::default()
            };
            forbidden(&identity, engine, &record).is_none()
        };
        for engine in [Engine::CriO, Engine::Containerd] {
            assert!(may(engine, Some("shop")));
            assert!(!may(engine, Some("other")) && !may(engine, None));
        }
        assert!(may(Engine::Podman, None));
    }

    #[test]
    fn each_limit_is_named_when_it_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let limit = |running, max_active, max_bytes| {
            let record = Record {
                folders: vec![folder.path().to_owned()],
                max_active,
                max_bytes,
                ..Record::default()
            };
            let recordings = Recordings::new(&record).unwrap();
            reached(&recordings, running, &record).unwrap()
        };
        assert_eq!(limit(1, 2, u64::MAX), None);
        assert!(limit(2, 2, u64::MAX).unwrap().contains("max_active"));
        assert!(limit(1024, 5000, u64::MAX).unwrap().contains("slots"));
        std::fs::write(folder.path().join("a"), "0123456789").unwrap();
        assert!(limit(0, 1, 10).unwrap().contains("max_bytes"));
    }
}
