//! Recordings begin and end here: who may, the limits, the order in which nothing is lost.
//!
//! A slot is emptied, the recording remembered on disk, then the kernel told to record. At the end
//! the kernel is told to stop, the slot read, the profile written, and the recording forgotten
//! last: a process that is killed anywhere between leaves something that `collect --stale`
//! finishes.

use super::{
    RecordError,
    active::{Active, Recordings, boot},
    cgroup::{self, Cgroup},
    kernel::{BPFFS, Loaded, Unloaded},
    layout::{Beginning, Opened, SLOTS, Seen},
    output,
    recorded::{self, End},
    request::{Place, Request, is_marked, made_up},
};
use crate::{
    clock::{now, stamp},
    oci::config::OciConfig,
};
use portcullis_profile::{
    Document, Engine, Filter,
    compose::relax::relax,
    parse_filter,
    select::identity::Identity,
    settings::{Record, Settings},
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// How the beginning ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is recorded; where the profile will be.
    Recording(PathBuf),
    /// It is not, and why.
    Unrecorded(String),
}

/// Begins to record a container.
///
/// # Errors
/// It can't be recorded, or its profile could not be written.
pub fn begin(
    request: Request,
    id: &str,
    init: u32,
    config: &OciConfig<'_>,
    identity: Identity,
    engine: Engine,
    settings: &Settings,
) -> Result<Begun, RecordError> {
    let record = &settings.record;
    if let Some(why) = forbidden(&identity, engine, record) {
        return Ok(Begun::Unrecorded(why));
    }
    let first = record.folders.first().ok_or(RecordError::NoFolder)?;
    let started = now();
    let output = request.output.unwrap_or_else(|| Place {
        folder: first.clone(),
        file: made_up(&identity, id, &stamp(started).replace([':', '-'], "")),
    });
    output::check(&output)?;
    let base = request
        .base
        .as_ref()
        .map(|place| base(place, settings))
        .transpose()?;
    let cgroup = Cgroup::of(init)?;
    let recordings = Recordings::lock(record)?;
    if let Some(active) = recordings.get(id)? {
        if is_of(&active, &cgroup) {
            return Ok(Begun::Recording(active.output().path()));
        }
        // The container ran before, and nobody said that it ended.
        match finish(&recordings, &active, record, ended(&active)) {
            Ok(_) | Err(RecordError::Nothing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (running, _) = recordings.all()?;
    if let Some(why) = full(&recordings, running.len(), record)? {
        return Ok(Begun::Unrecorded(why));
    }
    let loaded = Unloaded::new(Path::new(BPFFS)).load(cgroup.hierarchy)?;
    let taken: BTreeSet<u32> = running
        .iter()
        .map(|active| active.slot)
        .chain(loaded.recorded()?.into_iter().map(|(_, slot)| slot))
        .collect();
    let Some(slot) = (0..SLOTS).find(|slot| !taken.contains(slot)) else {
        return Ok(Begun::Unrecorded(format!("all {SLOTS} slots are taken")));
    };
    // This hook was started by the runtime, so it has the filters that the runtime has; the
    // container's own comes on top of these.
    let filters = filters("self") + 1;
    let active = Active {
        id: id.to_owned(),
        slot,
        cgroup: cgroup.id,
        cgroup_folder: cgroup.folder,
        boot: boot(),
        engine,
        identity,
        image: config
            .annotations()
            .get("io.kubernetes.cri-o.ImageName")
            .filter(|_| engine == Engine::CriO)
            .cloned(),
        runtime: runtime(),
        go_runtime: is_runcs(init),
        filter: default_action(config),
        denials_logged: record.log_denials && are_logged(config),
        loaded_before: self::filters(&init.to_string()) >= filters,
        started,
        folder: output.folder.clone(),
        file: output.file.clone(),
        arguments: record.arguments.clone(),
        base,
    };
    loaded.prepare(
        slot,
        &Beginning {
            filters,
            init,
            counted: recorded::process_calls(),
            watches: recorded::watches(&record.arguments),
        },
    )?;
    recordings.put(&active)?;
    if let Err(error) = loaded.begin(cgroup.id, slot) {
        // Nothing is recorded; what was remembered would be called vanished later.
        let _ = loaded.end(cgroup.id);
        let _ = recordings.forget(id);
        return Err(error.into());
    }
    Ok(Begun::Recording(output.path()))
}

/// Why a container that asks for it would not be recorded as things are now, or could not be; `None`
/// where it would.
///
/// # Errors
/// Its profile could not be written, or it is not known what is recorded.
pub fn hindrance(
    request: &Request,
    identity: &Identity,
    engine: Engine,
    settings: &Settings,
) -> Result<Option<String>, RecordError> {
    let record = &settings.record;
    if let Some(why) = forbidden(identity, engine, record) {
        return Ok(Some(why));
    }
    let first = record.folders.first().ok_or(RecordError::NoFolder)?;
    match &request.output {
        Some(output) => output::check(output)?,
        None => output::check(&Place {
            folder: first.clone(),
            file: PathBuf::from("x"),
        })?,
    }
    Unloaded::new(Path::new(BPFFS)).check()?;
    let recordings = Recordings::lock(record)?;
    let (running, _) = recordings.all()?;
    full(&recordings, running.len(), record)
}

/// Whether a container is being recorded: it, and not one of its ID that ran before.
///
/// # Errors
/// What is recorded can't be read.
pub fn recorded(id: &str, init: u32, record: &Record) -> Result<bool, RecordError> {
    let recordings = Recordings::lock(record)?;
    let Some(active) = recordings.get(id)? else {
        return Ok(false);
    };
    let Some(loaded) = Unloaded::new(Path::new(BPFFS)).pinned()? else {
        return Ok(false);
    };
    let in_kernel = (active.cgroup, active.slot);
    Ok(is_of(&active, &Cgroup::of(init)?)
        && loaded.is_attached()
        && loaded.recorded()?.contains(&in_kernel))
}

/// Whether a recording is of the container that has this cgroup.
fn is_of(active: &Active, cgroup: &Cgroup) -> bool {
    active.boot == boot() && active.cgroup == cgroup.id
}

/// Who may be recorded is the node owner's choice.
fn forbidden(identity: &Identity, engine: Engine, record: &Record) -> Option<String> {
    let namespace = identity.namespace.clone().unwrap_or_default();
    let may = engine == Engine::Podman || record.namespaces.contains(&namespace);
    (!may).then(|| format!("namespace {namespace:?} is not in [record] namespaces of hook.toml"))
}

/// The limit that leaves no room for one more.
fn full(
    recordings: &Recordings,
    running: usize,
    record: &Record,
) -> Result<Option<String>, RecordError> {
    if running >= record.max_active as usize {
        return Ok(Some(format!(
            "{running} recordings run already (max_active)"
        )));
    }
    let bytes = recordings.bytes()?;
    Ok((bytes >= record.max_bytes).then(|| {
        format!(
            "{} holds {bytes} bytes already (max_bytes)",
            recordings.folder().display()
        )
    }))
}

/// Whether the denials of a configuration's filter are only logged: it is marked so, and it is so.
fn are_logged(config: &OciConfig<'_>) -> bool {
    is_marked(config.annotations())
        && config
            .seccomp()
            .and_then(|text| parse_filter(text.as_bytes()).ok())
            .is_some_and(|filter| relax(&filter).is_none())
}

/// The runtime that started this hook, by the path under which the engine called it: the file that
/// it runs from is a copy, since runtimes guard against containers that overwrite them. Only a
/// file of root's counts, since it is asked for its version later.
fn runtime() -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{}/cmdline", nix::unistd::getppid())).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let path = PathBuf::from(OsStr::from_bytes(first));
    let data = fs::metadata(&path).ok()?;
    let roots = data.is_file() && data.uid() == 0 && data.mode() & 0o022 == 0;
    (path.is_absolute() && roots).then_some(path)
}

/// Whether a container's init is still runc's, the runtime in Go: it names itself so until it executes
/// the entry point. A kernel that can't tell gives a profile that holds a few calls more.
fn is_runcs(init: u32) -> bool {
    fs::read(format!("/proc/{init}/comm")).map_or(true, |name| name.starts_with(b"runc:"))
}

/// How many filters a process has (`Seccomp_filters`, proc(5)); kernels before 5.9 say only
/// whether there is one.
fn filters(process: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|value| value.trim().parse::<u32>().ok())
    };
    value("Seccomp_filters:").unwrap_or_else(|| u32::from(value("Seccomp:") == Some(2)))
}

fn default_action(config: &OciConfig<'_>) -> Option<String> {
    config
        .seccomp()
        .map(|text| match parse_filter(text.as_bytes()) {
            Ok(filter) => filter.default_action.to_string(),
            Err(_) => "unknown".to_owned(),
        })
}

/// The profile under `if:`, as an OCI filter.
fn base(place: &Place, settings: &Settings) -> Result<String, RecordError> {
    let text = output::read(place, settings.max_profile_bytes)?
        .ok_or_else(|| RecordError::io(place.path(), std::io::ErrorKind::NotFound))?;
    let wrong = |source| RecordError::Document {
        path: place.path(),
        source,
    };
    // Whatever can be resolved without a container is a base: the OCI form.
    Document::parse(&text).map_err(wrong)?;
    let filter = parse_filter(&text).map_err(wrong)?;
    recorded::text(&filter, &place.path())
}

/// Ends the recording of a container and writes its profile; `None` where it was not recorded.
///
/// # Errors
/// The profile can't be written, or nothing was seen. What was seen stays in the kernel and is
/// written by the next `collect --stale`.
pub fn collect(id: &str, record: &Record) -> Result<Option<PathBuf>, RecordError> {
    let recordings = Recordings::lock(record)?;
    match recordings.get(id)? {
        None => Ok(None),
        Some(active) => finish(&recordings, &active, record, End::Stopped).map(Some),
    }
}

/// Writes out every recording whose container is gone or that ran for too long. All are tried.
///
/// # Errors
/// The recordings can't be listed.
pub fn collect_stale(record: &Record) -> Result<Vec<Result<PathBuf, RecordError>>, RecordError> {
    let recordings = Recordings::lock(record)?;
    let (running, broken) = recordings.all()?;
    let mut results: Vec<_> = broken.into_iter().map(Err).collect();
    for active in running {
        let end = if active.boot != boot() || cgroup::is_empty(&active.cgroup_folder, active.cgroup)
        {
            ended(&active)
        } else if now().saturating_sub(active.started) >= record.max_seconds {
            End::MaxSeconds
        } else {
            continue;
        };
        results.push(finish(&recordings, &active, record, end));
    }
    // What a hook left in the kernel that was killed before it could remember its recording.
    if let Some(loaded) = Unloaded::new(Path::new(BPFFS)).pinned()? {
        let (running, _) = recordings.all()?;
        for (cgroup, _) in loaded.recorded()? {
            if !running.iter().any(|active| active.cgroup == cgroup) {
                loaded.end(cgroup)?;
            }
        }
    }
    Ok(results)
}

/// How a recording ended of which nobody said that it did.
fn ended(active: &Active) -> End {
    if active.boot == boot() {
        End::Vanished
    } else {
        End::Rebooted
    }
}

fn finish(
    recordings: &Recordings,
    active: &Active,
    record: &Record,
    end: End,
) -> Result<PathBuf, RecordError> {
    let loaded = match end {
        End::Rebooted => None,
        _ => Unloaded::new(Path::new(BPFFS)).pinned()?,
    };
    let seen = match loaded {
        Some(loaded) => {
            loaded.end(active.cgroup)?;
            // Tasks that are gone note nothing any more; those of a recording that is cut short do.
            if end == End::MaxSeconds {
                Loaded::settle();
            }
            Some(loaded.seen(active.slot)?)
        }
        None => None,
    };
    let profile = active.output();
    let beside = recorded::metadata_place(&profile);
    let names = seen.as_ref().map(|seen| recorded::names(active, seen));
    let unnamed = names.as_ref().map_or(&[][..], |names| &names.unnamed);
    let metadata = recorded::metadata(active, seen.as_ref(), unnamed, end);
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
    let written = match (seen, names) {
        (Some(seen), Some(names)) if seen.opened != Opened::Not => {
            let mut filter = recorded::profile(active, &names, record.default_action)?;
            if record.merge
                && let Some(text) = output::read(&profile, 4 * 1024 * 1024)?
            {
                let there = parse_filter(&text).map_err(|source| RecordError::Document {
                    path: profile.path(),
                    source,
                })?;
                filter =
                    recorded::merged(&there, &filter).map_err(|error| RecordError::Broken {
                        path: profile.path(),
                        reason: format!("what was recorded can't be added to it: {error}"),
                    })?;
            }
            write(&profile, &filter)?;
            Ok(profile.path())
        }
        (Some(_), _) => Err(nothing("its entry point was never executed")),
        (None, _) if end == End::Rebooted => Err(nothing("the node was restarted while it ran")),
        (None, _) => Err(nothing("the recorder is no longer in the kernel")),
    };
    recordings.forget(&active.id)?;
    written
}

fn write(place: &Place, filter: &Filter) -> Result<(), RecordError> {
    output::write(place, &recorded::text(filter, &place.path())?)
}

/// The running recordings, and what is wrong with those that can't be read.
///
/// # Errors
/// They can't be listed.
pub fn list(record: &Record) -> Result<(Vec<Active>, Vec<RecordError>), RecordError> {
    Recordings::lock(record)?.all()
}

/// A running recording, found by the beginning of its container's ID, and what it saw so far.
///
/// # Errors
/// There is none, or more than one, or the kernel can't be read.
pub fn snapshot(id: &str, record: &Record) -> Result<(Active, Seen), RecordError> {
    let recordings = Recordings::lock(record)?;
    let (running, _) = recordings.all()?;
    let mut matching = running
        .into_iter()
        .filter(|active| active.id.starts_with(id));
    let active = matching
        .next()
        .ok_or_else(|| RecordError::Unknown(id.to_owned()))?;
    if matching.next().is_some() && active.id != id {
        return Err(RecordError::Ambiguous(id.to_owned()));
    }
    let loaded = Unloaded::new(Path::new(BPFFS))
        .pinned()?
        .ok_or_else(|| RecordError::Unknown(id.to_owned()))?;
    let seen = loaded.seen(active.slot)?;
    Ok((active, seen))
}
