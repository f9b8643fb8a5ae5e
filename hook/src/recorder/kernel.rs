//! The recorder's objects in the kernel: loaded on first use and pinned, attached only while
//! something is recorded.
//!
//! Whatever changes them happens under the recorder's lock ([`super::recordings`]); nothing here
//! takes it. Looking at them needs none.

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
/// Where the kernel's types are.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The compiled program.
pub(super) static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/recorder.bpf.o"));

const CGROUPS: &str = "cgroups";
const SLOTS: &str = "slots";
const CACHE: &str = "cache";
const CONTROL: &str = "control";
const HIERARCHY: &str = "hierarchy";
const LINK: &str = "link";
/// The program is pinned last: where it is, everything is.
const PINS: [&str; 6] = [CGROUPS, SLOTS, CACHE, CONTROL, HIERARCHY, "program"];
const PROGRAM_PIN: &str = PINS[5];

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The recorder before it is loaded: where it is, or would be.
#[derive(Clone, Debug)]
pub struct Unloaded {
    pins: PathBuf,
    bpffs: PathBuf,
}

/// The recorder in the kernel.
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

    /// What is pinned already; `None` if nothing is.
    ///
    /// # Errors
    /// A pin can't be opened or is something else.
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

    /// What is pinned, or loads and pins it.
    ///
    /// # Errors
    /// The kernel can't, may not, or looks at another hierarchy.
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

    /// Whether what loading needs is there; cheap, and no promise.
    ///
    /// # Errors
    /// Something is missing.
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
        // What a loader left that was killed halfway.
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
            // One that was deleted since its key was read is not recorded.
            if let Some(slot) = self.slot_of(cgroup)? {
                all.push((cgroup, slot));
            }
        }
        Ok(all)
    }

    /// The slot that a cgroup is recorded into; `None` if it is not recorded.
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

    /// Empties a slot for a new recording. Nobody may be recording into it.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn prepare(&self, slot: u32, setup: &SlotSetup) -> Result<(), KernelError> {
        self.slots
            .update(&slot.to_ne_bytes(), &setup.to_bytes(), MapFlags::ANY)
            .map_err(|error| failed("writing", &self.pins.join(SLOTS), &error))
    }

    /// Records a cgroup, and all below it, into a prepared slot.
    ///
    /// # Errors
    /// A map can't be written, or the program not attached.
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

    /// Stops recording a cgroup; its slot keeps what was observed. After the last one the program is
    /// detached. Calls that are just being noted may still arrive: [`Loaded::settle`].
    ///
    /// # Errors
    /// A map can't be written, or the program not detached.
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

    /// Waits until every call that is being noted is noted.
    pub fn settle() {
        raw::wait_for_all_cpus();
    }

    /// What was observed so far.
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
    /// Its pin can't be looked at.
    pub fn is_attached(&self) -> Result<bool, KernelError> {
        exists(&self.pins.join(LINK))
    }

    /// Attaches the program and pins the link; nothing where it is attached already.
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

    /// Makes every CPU forget which cgroups are recorded.
    fn raise_generation(&self) -> Result<(), KernelError> {
        let path = self.pins.join(CONTROL);
        let now = first_number(look_up(&self.control, &path, 0)?)
            .ok_or_else(|| KernelError::Foreign(path.clone()))?;
        // 0 is what an entry that was never filled says.
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

/// Opens the embedded object and sets what depends on the node.
fn open(hierarchy: Hierarchy) -> Result<OpenObject, KernelError> {
    // libbpf would write to stderr, where a hook says one line of its own.
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

/// What a map of the object is pinned as; libbpf names those of variables after their sections.
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

/// The number that a value starts with.
fn first_number(value: Option<Vec<u8>>) -> Option<u32> {
    value?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Whether a path is there; what cannot be looked at is an error, not absent.
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
