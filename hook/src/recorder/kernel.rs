//! The recorder's objects in the kernel: loaded on first use and pinned, attached only while
//! something is being recorded.
//!
//! Changing them requires the recorder's lock ([`super::recordings`]), which callers hold. Reading
//! them does not.

mod error;
mod raw;

pub use error::KernelError;

use super::{
    cgroup::Hierarchy,
    layout::{self, Observed, SlotSetup},
};
use error::{failed, load_error};
use libbpf_rs::{
    ErrorKind, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, ProgramHandle,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The kernel's type information.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The compiled program.
pub(super) static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/recorder.bpf.o"));

const CGROUPS: &str = "cgroups";
const SLOTS: &str = "slots";
const CACHE: &str = "cache";
const CONTROL: &str = "control";
const HIERARCHY: &str = "hierarchy";
const LINK: &str = "link";
/// The program is pinned last: if it is there, so is everything else.
const PINS: [&str; 6] = [CGROUPS, SLOTS, CACHE, CONTROL, HIERARCHY, "program"];
const PROGRAM_PIN: &str = PINS[5];

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The recorder, loaded or not: where it is pinned or would be.
#[derive(Clone, Debug)]
pub struct Unloaded {
    pins: PathBuf,
    bpffs: PathBuf,
}

/// The loaded recorder.
#[derive(Debug)]
pub struct Loaded {
    pins: PathBuf,
    cgroups: MapHandle,
    slots: MapHandle,
    control: MapHandle,
}

impl Unloaded {
    /// The recorder below a BPF file system.
    pub fn new(bpffs: &Path) -> Unloaded {
        Unloaded {
            pins: bpffs.join(format!("portcullis/recorder-{}", layout::LAYOUT)),
            bpffs: bpffs.to_owned(),
        }
    }

    /// The pinned recorder; `None` if there is none.
    ///
    /// # Errors
    /// A pin can't be opened, or is something else.
    pub fn pinned(&self) -> Result<Option<Loaded>, KernelError> {
        if !exists(&self.pins.join(PROGRAM_PIN))? {
            return Ok(None);
        }
        let loaded = Loaded {
            pins: self.pins.clone(),
            cgroups: self.map(CGROUPS)?,
            slots: self.map(SLOTS)?,
            control: self.map(CONTROL)?,
        };
        if loaded.slots.value_size() as usize != layout::SLOT_SIZE {
            return Err(KernelError::Foreign(self.pins.join(SLOTS)));
        }
        Ok(Some(loaded))
    }

    /// Opens the pinned recorder, or loads and pins it.
    ///
    /// # Errors
    /// It can't be loaded, that is not permitted, or the pinned one uses another cgroup hierarchy.
    pub fn load(&self, hierarchy: Hierarchy) -> Result<Loaded, KernelError> {
        if let Some(loaded) = self.pinned()? {
            let map = self.map(HIERARCHY)?;
            let number = first_number(look_up(&map, &self.pins, 0)?);
            return match number.and_then(Hierarchy::from_number) {
                Some(there) if there == hierarchy => Ok(loaded),
                Some(there) => Err(KernelError::OtherHierarchy {
                    loaded: there,
                    wanted: hierarchy,
                    pins: self.pins.clone(),
                }),
                None => Err(KernelError::Foreign(self.pins.join(HIERARCHY))),
            };
        }
        self.check()?;
        let mut object = open(hierarchy)?
            .load()
            .map_err(|error| load_error(&error, "the verifier or the kernel's types"))?;
        self.pin(&mut object)?;
        self.pinned()?
            .ok_or_else(|| KernelError::Foreign(self.pins.clone()))
    }

    /// Checks cheaply whether the prerequisites for loading are there. Loading may still fail.
    ///
    /// # Errors
    /// A prerequisite is missing.
    pub fn check(&self) -> Result<(), KernelError> {
        if !is_bpffs(&self.bpffs) {
            return Err(KernelError::NoBpffs(self.bpffs.clone()));
        }
        if !exists(Path::new(KERNEL_BTF))? {
            return Err(KernelError::NoBtf);
        }
        Ok(())
    }

    fn pin(&self, object: &mut Object) -> Result<(), KernelError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.pins)
            .map_err(|source| self.io("creating", "", source))?;
        // A loader that was killed halfway may have left these.
        for name in PINS {
            remove(&self.pins.join(name))?;
        }
        for mut map in object.maps_mut() {
            if let Some(name) = pin_name(map.name()) {
                map.pin(self.pins.join(name))
                    .map_err(|error| failed("pinning", &self.pins.join(name), &error))?;
            }
        }
        for mut program in object.progs_mut() {
            program
                .pin(self.pins.join(PROGRAM_PIN))
                .map_err(|error| failed("pinning", &self.pins.join(PROGRAM_PIN), &error))?;
        }
        Ok(())
    }

    fn map(&self, name: &'static str) -> Result<MapHandle, KernelError> {
        MapHandle::from_pinned_path(self.pins.join(name))
            .map_err(|error| failed("opening", &self.pins.join(name), &error))
    }

    fn io(&self, what: &'static str, name: &str, source: io::Error) -> KernelError {
        KernelError::Io {
            what,
            path: self.pins.join(name),
            source,
        }
    }
}

impl Loaded {
    /// The recorded cgroups and their slots.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn recorded_cgroups(&self) -> Result<Vec<(u64, u32)>, KernelError> {
        let mut all = Vec::new();
        for key in self.cgroups.keys() {
            let cgroup = key
                .try_into()
                .map(u64::from_ne_bytes)
                .map_err(|_| KernelError::Foreign(self.pins.join(CGROUPS)))?;
            // If it was deleted after its key was read, it is no longer recorded.
            if let Some(slot) = self.slot_of(cgroup)? {
                all.push((cgroup, slot));
            }
        }
        Ok(all)
    }

    /// The slot of a recorded cgroup; `None` if it is not recorded.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn slot_of(&self, cgroup: u64) -> Result<Option<u32>, KernelError> {
        let path = self.pins.join(CGROUPS);
        let found = self
            .cgroups
            .lookup(&cgroup.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failed("reading", &path, &error))?;
        match found {
            None => Ok(None),
            found => first_number(found)
                .map(Some)
                .ok_or(KernelError::Foreign(path)),
        }
    }

    /// Prepares a slot for a new recording. It must not be in use.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn prepare(&self, slot: u32, setup: &SlotSetup) -> Result<(), KernelError> {
        self.slots
            .update(&slot.to_ne_bytes(), &setup.to_bytes(), MapFlags::ANY)
            .map_err(|error| failed("writing", &self.pins.join(SLOTS), &error))
    }

    /// Records a cgroup, and everything below it, into a prepared slot.
    ///
    /// # Errors
    /// A map can't be written, or the program can't be attached.
    pub fn start(&self, cgroup: u64, slot: u32) -> Result<(), KernelError> {
        self.cgroups
            .update(
                &cgroup.to_ne_bytes(),
                &slot.to_ne_bytes(),
                MapFlags::NO_EXIST,
            )
            .map_err(|error| failed("writing", &self.pins.join(CGROUPS), &error))?;
        self.raise_generation()?;
        self.attach()
    }

    /// Stops recording a cgroup; its slot keeps the observations. After the last one, the program
    /// is detached. Calls in progress may still be written: see [`Loaded::settle`].
    ///
    /// # Errors
    /// A map can't be written, or the program can't be detached.
    pub fn end(&self, cgroup: u64) -> Result<(), KernelError> {
        match self.cgroups.delete(&cgroup.to_ne_bytes()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("writing", &self.pins.join(CGROUPS), &error));
            }
            _ => {}
        }
        self.raise_generation()?;
        if self.cgroups.keys().next().is_none() {
            remove(&self.pins.join(LINK))?;
        }
        Ok(())
    }

    /// Waits until calls in progress have been written.
    pub fn settle() {
        raw::wait_for_all_cpus();
    }

    /// The observations so far.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn observed(&self, slot: u32) -> Result<Observed, KernelError> {
        look_up(&self.slots, &self.pins.join(SLOTS), slot)?
            .and_then(|bytes| Observed::from_bytes(&bytes))
            .ok_or_else(|| KernelError::Foreign(self.pins.join(SLOTS)))
    }

    /// Whether the program is attached.
    ///
    /// # Errors
    /// Its pin can't be examined.
    pub fn is_attached(&self) -> Result<bool, KernelError> {
        exists(&self.pins.join(LINK))
    }

    /// Attaches the program and pins the link, unless it is attached already.
    fn attach(&self) -> Result<(), KernelError> {
        let path = self.pins.join(LINK);
        if self.is_attached()? {
            return Ok(());
        }
        let program = ProgramHandle::from_pinned_path(self.pins.join(PROGRAM_PIN))
            .map_err(|error| failed("opening", &self.pins.join(PROGRAM_PIN), &error))?;
        let link = raw::attach(program.as_fd())
            .map_err(|source| self.io("attaching", PROGRAM_PIN, source))?;
        raw::pin(link.as_fd(), &path).map_err(|source| self.io("pinning", LINK, source))
    }

    /// Clears every CPU's cache of recorded cgroups.
    fn raise_generation(&self) -> Result<(), KernelError> {
        let path = self.pins.join(CONTROL);
        let now = first_number(look_up(&self.control, &path, 0)?)
            .ok_or_else(|| KernelError::Foreign(path.clone()))?;
        // 0 marks an entry that was never filled.
        let next = now.checked_add(1).unwrap_or(1);
        self.control
            .update(&0_u32.to_ne_bytes(), &next.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failed("writing", &path, &error))
    }

    fn io(&self, what: &'static str, name: &str, source: io::Error) -> KernelError {
        KernelError::Io {
            what,
            path: self.pins.join(name),
            source,
        }
    }
}

/// Opens the embedded object and sets the node-specific values.
fn open(hierarchy: Hierarchy) -> Result<OpenObject, KernelError> {
    // libbpf would write to stderr, where a hook prints exactly one line.
    libbpf_rs::set_print(None);
    let refused = |error: &libbpf_rs::Error| load_error(error, "the embedded object");
    let mut object = ObjectBuilder::default()
        .open_memory(OBJECT)
        .map_err(|error| refused(&error))?;
    let cpus = u32::try_from(libbpf_rs::num_possible_cpus().map_err(|error| refused(&error))?)
        .unwrap_or(u32::MAX / layout::CACHE_WAYS);
    for mut map in object.maps_mut() {
        let done = match pin_name(map.name()) {
            Some(CACHE) => map.set_max_entries(cpus * layout::CACHE_WAYS),
            Some(HIERARCHY) => map.set_initial_value(&hierarchy.number().to_ne_bytes()),
            _ => Ok(()),
        };
        done.map_err(|error| refused(&error))?;
    }
    Ok(object)
}

/// The name under which a map is pinned. libbpf names maps for variables after their sections.
fn pin_name(map: &std::ffi::OsStr) -> Option<&'static str> {
    let name = map.to_str()?;
    [CGROUPS, SLOTS, CACHE]
        .into_iter()
        .find(|own| *own == name)
        .or_else(|| match name.rsplit_once('.')?.1 {
            "bss" => Some(CONTROL),
            "rodata" => Some(HIERARCHY),
            _ => None,
        })
}

fn look_up(map: &MapHandle, path: &Path, key: u32) -> Result<Option<Vec<u8>>, KernelError> {
    map.lookup(&key.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| failed("reading", path, &error))
}

/// The number at the start of a value.
fn first_number(value: Option<Vec<u8>>) -> Option<u32> {
    value?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Whether a path exists. One that can't be examined is an error, and does not count as absent.
fn exists(path: &Path) -> Result<bool, KernelError> {
    path.try_exists().map_err(|source| KernelError::Io {
        what: "looking at",
        path: path.to_owned(),
        source,
    })
}

fn remove(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KernelError::Io {
            what: "removing",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|data| data.filesystem_type().0 == BPF_FS_MAGIC)
}
