//! The cgroup that identifies a container: its hierarchy, its folder and its ID.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A hierarchy of cgroups that identifies containers (`HIERARCHY_…` in `bpf/recorder.h`).
///
/// Under version 1, if there is a unified hierarchy, a container's tasks are in its root. Then one
/// of the version 1 controllers tells containers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2.
    Unified,
    /// A controller of version 1.
    Controller(Controller),
}

/// The version 1 controllers to look for, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Controller {
    Pids,
    Memory,
    Cpu,
    Devices,
    Freezer,
}

impl Controller {
    const ALL: [Controller; 5] = [
        Controller::Pids,
        Controller::Memory,
        Controller::Cpu,
        Controller::Devices,
        Controller::Freezer,
    ];

    const fn name(self) -> &'static str {
        match self {
            Controller::Pids => "pids",
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
        }
    }
}

impl Hierarchy {
    /// The number for the BPF program.
    pub const fn number(self) -> u32 {
        match self {
            Hierarchy::Unified => 0,
            Hierarchy::Controller(Controller::Pids) => 1,
            Hierarchy::Controller(Controller::Memory) => 2,
            Hierarchy::Controller(Controller::Cpu) => 3,
            Hierarchy::Controller(Controller::Devices) => 4,
            Hierarchy::Controller(Controller::Freezer) => 5,
        }
    }

    /// The reverse of [`Hierarchy::number`].
    pub fn from_number(number: u32) -> Option<Hierarchy> {
        let controllers = Controller::ALL.map(Hierarchy::Controller);
        std::iter::once(Hierarchy::Unified)
            .chain(controllers)
            .find(|hierarchy| hierarchy.number() == number)
    }
}

#[cfg(test)]
impl Hierarchy {
    /// The hierarchy of a version 1 controller.
    pub(super) fn from_name(name: &str) -> Option<Hierarchy> {
        let mut all = Controller::ALL.into_iter();
        all.find(|controller| controller.name() == name)
            .map(Hierarchy::Controller)
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hierarchy::Unified => f.write_str("version 2"),
            Hierarchy::Controller(controller) => {
                write!(f, "version 1 (controller {})", controller.name())
            }
        }
    }
}

/// A container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The hierarchy.
    pub hierarchy: Hierarchy,
    /// The folder, as this process sees it.
    pub folder: PathBuf,
    /// The kernel's ID for it, which is never reused until the next boot.
    pub id: u64,
}

/// Why a container can't be identified by a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process is in no cgroup that is mounted here.
    #[error("process {0} is in no cgroup that is mounted here")]
    None(u32),
    /// The cgroup holds more than the container.
    #[error(
        "the container has no cgroup of its own ({} is shared with the runtime), so it can't be \
         told from its neighbours", .0.display()
    )]
    Shared(PathBuf),
}

impl Cgroup {
    /// Finds the cgroup of a container from its init process.
    ///
    /// # Errors
    /// There is none, or it holds more than the container: the calling hook is in it too.
    pub fn of(init: u32) -> Result<Cgroup, CgroupError> {
        let theirs = read(Path::new(&format!("/proc/{init}/cgroup")))?;
        let own = read(Path::new("/proc/self/cgroup"))?;
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let (hierarchy, path, mount) = find(&theirs, &mounts).ok_or(CgroupError::None(init))?;
        let folder = mount.folder(path).ok_or(CgroupError::None(init))?;
        let shared = path_in(&own, hierarchy).is_none_or(|own| Path::new(own).starts_with(path));
        if shared {
            return Err(CgroupError::Shared(folder));
        }
        let id = fs::metadata(&folder)
            .map_err(|source| CgroupError::Read {
                path: folder.clone(),
                source,
            })?
            .ino();
        Ok(Cgroup {
            hierarchy,
            folder,
            id,
        })
    }
}

/// What is left of a cgroup and everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// It holds a process.
    Populated,
    /// It exists and holds none.
    Empty,
    /// It is gone. A cgroup of the same name would be another one.
    Gone,
}

/// What is left of a cgroup. One that can't be read is an error, and never counts as empty.
///
/// # Errors
/// Its files can't be read.
pub fn population(folder: &Path, id: u64) -> Result<Population, CgroupError> {
    match or_gone(folder, fs::metadata(folder))? {
        Some(data) if data.ino() == id => {}
        _ => return Ok(Population::Gone),
    }
    // Version 2 says it for the whole tree, even if threads are spread over it (cgroups(7)).
    let events = folder.join("cgroup.events");
    let populated = match or_gone(&events, fs::read_to_string(&events))? {
        Some(text) => text.lines().any(|line| line == "populated 1"),
        None => holds_process(folder)?,
    };
    Ok(match populated {
        true => Population::Populated,
        // Read again, because a cgroup that was removed in between looks empty too.
        false if or_gone(folder, fs::metadata(folder))?.is_none() => Population::Gone,
        false => Population::Empty,
    })
}

/// Whether a version 1 cgroup, or one below it, holds a process.
fn holds_process(folder: &Path) -> Result<bool, CgroupError> {
    let list = folder.join("cgroup.procs");
    let processes = or_gone(&list, fs::read_to_string(&list))?.unwrap_or_default();
    if !processes.trim().is_empty() {
        return Ok(true);
    }
    let Some(entries) = or_gone(folder, fs::read_dir(folder))? else {
        return Ok(false);
    };
    for entry in entries {
        let Some(entry) = or_gone(folder, entry)? else {
            continue;
        };
        let kind = or_gone(&entry.path(), entry.file_type())?;
        if kind.is_some_and(|kind| kind.is_dir()) && holds_process(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` if the cgroup or its file does not exist, or was removed while it was read.
fn or_gone<T>(path: &Path, result: io::Result<T>) -> Result<Option<T>, CgroupError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(nix::libc::ENODEV) =>
        {
            Ok(None)
        }
        Err(source) => Err(CgroupError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The relevant parts of a line of `/proc/PID/mountinfo` (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount<'a> {
    root: &'a str,
    target: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut system = system.split(' ');
        Some(Mount {
            root: place.next()?,
            target: place.next()?,
            kind: system.next()?,
            options: system.nth(1)?,
        })
    }

    fn shows(&self, hierarchy: Hierarchy) -> bool {
        match hierarchy {
            Hierarchy::Unified => self.kind == "cgroup2",
            Hierarchy::Controller(controller) => {
                self.kind == "cgroup"
                    && self
                        .options
                        .split(',')
                        .any(|option| option == controller.name())
            }
        }
    }

    /// Where a cgroup is below this mount, which may show only a part of the hierarchy.
    fn folder(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        Some(Path::new(self.target).join(below))
    }
}

/// The path within a hierarchy, from the text of `/proc/PID/cgroup` (cgroups(7)).
fn path_in(cgroups: &str, hierarchy: Hierarchy) -> Option<&str> {
    cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match hierarchy {
            Hierarchy::Unified => controllers.is_empty(),
            Hierarchy::Controller(controller) => {
                controllers.split(',').any(|name| name == controller.name())
            }
        };
        is_it.then_some(path)
    })
}

/// The hierarchy that tells containers apart: that of a mounted version 1 controller if there is
/// one, because engines then use version 1; otherwise version 2.
fn find<'a>(cgroups: &'a str, mounts: &'a str) -> Option<(Hierarchy, &'a str, Mount<'a>)> {
    Controller::ALL
        .map(Hierarchy::Controller)
        .into_iter()
        .chain([Hierarchy::Unified])
        .find_map(|hierarchy| {
            let path = path_in(cgroups, hierarchy)?;
            let mount = mounts
                .lines()
                .filter_map(Mount::parse)
                .find(|mount| mount.shows(hierarchy) && mount.folder(path).is_some())?;
            Some((hierarchy, path, mount))
        })
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
35 30 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 30 0:32 / /sys/fs/cgroup/pids rw,relatime shared:12 master:2 - cgroup cgroup rw,pids
";
    const V2_MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";

    fn found(cgroups: &str, mounts: &str) -> Option<(Hierarchy, PathBuf)> {
        let (hierarchy, path, mount) = find(cgroups, mounts)?;
        Some((hierarchy, mount.folder(path)?))
    }

    #[test]
    fn version_1_goes_before_version_2_in_a_hybrid() {
        let cgroups = "12:pids:/pod/x\n5:memory:/pod/x\n1:name=systemd:/pod/x\n0::/\n";
        assert_eq!(
            found(cgroups, V1_MOUNTS),
            Some((
                Hierarchy::Controller(Controller::Pids),
                "/sys/fs/cgroup/pids/pod/x".into()
            ))
        );
    }

    #[test]
    fn a_controller_that_is_not_mounted_is_passed_over() {
        let cgroups = "12:pids:/pod/x\n5:memory:/pod/x\n0::/\n";
        let mounts = V1_MOUNTS.replace("pids", "hugetlb");
        assert_eq!(
            found(cgroups, &mounts),
            Some((
                Hierarchy::Controller(Controller::Memory),
                "/sys/fs/cgroup/memory/pod/x".into()
            ))
        );
    }

    #[test]
    fn version_2_alone_is_used() {
        assert_eq!(
            found("0::/machine.slice/libpod-1.scope/container\n", V2_MOUNTS),
            Some((
                Hierarchy::Unified,
                "/sys/fs/cgroup/machine.slice/libpod-1.scope/container".into()
            ))
        );
        assert_eq!(found("", V2_MOUNTS), None);
    }

    #[test]
    fn a_mount_may_show_a_part_of_the_hierarchy() {
        let mounts = "30 24 0:26 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found("0::/outer/inner\n", mounts),
            Some((Hierarchy::Unified, "/sys/fs/cgroup/inner".into()))
        );
        assert_eq!(found("0::/elsewhere\n", mounts), None);
    }

    #[test]
    fn the_numbers_lead_back_to_the_hierarchies() {
        for number in 0..6 {
            assert_eq!(Hierarchy::from_number(number).unwrap().number(), number);
        }
        assert_eq!(Hierarchy::from_number(6), None);
    }

    #[test]
    fn the_own_cgroup_is_shared_and_a_missing_one_is_gone() {
        assert!(matches!(
            Cgroup::of(std::process::id()),
            Err(CgroupError::Shared(_) | CgroupError::None(_))
        ));
        let missing = population(Path::new("/nonexistent/cgroup"), 1);
        assert_eq!(missing.unwrap(), Population::Gone);
    }

    /// What is found for a folder with these files: for that folder, and for another one of its
    /// name.
    fn left(files: &[(&str, &str)], same: bool) -> Result<Population, CgroupError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let id = fs::metadata(folder.path()).unwrap().ino();
        population(folder.path(), if same { id } else { id + 1 })
    }

    #[test]
    fn a_cgroup_is_populated_empty_or_gone() {
        use Population::{Empty, Gone, Populated};
        let events = |value: &str| left(&[("cgroup.events", value)], true).unwrap();
        assert_eq!(events("populated 1\nfrozen 0\n"), Populated);
        assert_eq!(events("populated 0\nfrozen 1\n"), Empty);
        let lists = |own: &str, below: &str| {
            left(&[("cgroup.procs", own), ("a/b/cgroup.procs", below)], true).unwrap()
        };
        assert_eq!(lists("7\n", ""), Populated);
        assert_eq!(lists("", "7\n"), Populated);
        assert_eq!(lists("", ""), Empty);
        assert_eq!(left(&[("cgroup.procs", "7\n")], false).unwrap(), Gone);
    }

    #[test]
    fn a_cgroup_that_cannot_be_read_is_not_called_empty() {
        // A folder instead of the list can't be read.
        assert!(left(&[("cgroup.procs/x", "")], true).is_err());
        assert!(left(&[("cgroup.events/x", "")], true).is_err());
    }
}
