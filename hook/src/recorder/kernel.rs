//! The recorder's objects in the kernel: loaded on first use and pinned, attached only while
//! something is recorded.
//!
//! All of it happens under the recorder's lock ([`super::active::Recordings`]); nothing here takes it.

use super::{
    cgroup::Hierarchy,
    layout::{self, Beginning, Seen},
};
use libbpf_rs::{
    ErrorKind, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, ProgramHandle,
};
use std::{
    ffi::CString,
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::{Path, PathBuf},
};

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Where the kernel's types are.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/recorder.bpf.o"));

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

/// Why the kernel can't record.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No BPF file system.
    #[error("{}: no BPF file system is mounted there; mount -t bpf bpf {}", .0.display(), .0.display())]
    NoBpffs(PathBuf),
    /// No type information.
    #[error("{KERNEL_BTF} is not there: the kernel was built without CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
    /// Not allowed.
    #[error(
        "loading BPF programs is not permitted; CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, are needed"
    )]
    Permission,
    /// The program does not load.
    #[error("the recorder's program does not load: {0}")]
    Load(String),
    /// The pinned program identifies containers in another way than this node does now.
    #[error(
        "the loaded recorder looks at {loaded} of cgroups, this container has {wanted}; \
         remove {} while nothing is recorded", pins.display()
    )]
    OtherHierarchy {
        /// What the program was loaded for.
        loaded: Hierarchy,
        /// What the container needs.
        wanted: Hierarchy,
        /// Where it is pinned.
        pins: PathBuf,
    },
    /// One of the operations failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// With which pin.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pinned object is not what it should be.
    #[error("{}: not what this version of the recorder pins there", .0.display())]
    Foreign(PathBuf),
}

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

    /// What is pinned already; `None` where nothing is.
    ///
    /// # Errors
    /// A pin can't be opened or is something else.
    pub fn pinned(&self) -> Result<Option<Loaded>, KernelError> {
        if !self.pins.join(PROGRAM_PIN).exists() {
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
            let number = look_up(&map, &self.pins, 0)?
                .and_then(|bytes| bytes.first_chunk().copied().map(u32::from_ne_bytes));
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
        if !Path::new(KERNEL_BTF).exists() {
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
    pub fn recorded(&self) -> Result<Vec<(u64, u32)>, KernelError> {
        let mut all = Vec::new();
        for key in self.cgroups.keys() {
            let slot = self
                .cgroups
                .lookup(&key, MapFlags::ANY)
                .map_err(|error| failed("reading", &self.pins.join(CGROUPS), &error))?;
            if let (Ok(key), Some(Ok(slot))) = (
                key.try_into(),
                slot.map(|bytes| <[u8; 4]>::try_from(bytes.as_slice())),
            ) {
                all.push((u64::from_ne_bytes(key), u32::from_ne_bytes(slot)));
            }
        }
        Ok(all)
    }

    /// Makes a slot one in which nothing was seen yet. Nobody may be recording into it.
    ///
    /// # Errors
    /// The map can't be written.
    pub fn prepare(&self, slot: u32, beginning: &Beginning) -> Result<(), KernelError> {
        self.slots
            .update(&slot.to_ne_bytes(), &beginning.to_bytes(), MapFlags::ANY)
            .map_err(|error| failed("writing", &self.pins.join(SLOTS), &error))
    }

    /// Records a cgroup, and all below it, into a prepared slot.
    ///
    /// # Errors
    /// A map can't be written, or the program not attached.
    pub fn begin(&self, cgroup: u64, slot: u32) -> Result<(), KernelError> {
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

    /// Records a cgroup no longer; its slot keeps what was seen. Where it was the last one, the
    /// program is detached. Calls that are just being noted may still arrive: [`Loaded::settle`].
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

    /// Waits until every call that had begun to be noted is noted.
    pub fn settle() {
        // SAFETY: membarrier takes no pointers. A kernel without it answers ENOSYS; what is
        // missed then is a call at the very moment at which its recording was ended by a limit.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::syscall(
                nix::libc::SYS_membarrier,
                nix::libc::MEMBARRIER_CMD_GLOBAL,
                0,
                0,
            );
        }
    }

    /// What was seen so far.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn seen(&self, slot: u32) -> Result<Seen, KernelError> {
        look_up(&self.slots, &self.pins.join(SLOTS), slot)?
            .and_then(|bytes| Seen::from_bytes(&bytes))
            .ok_or_else(|| KernelError::Foreign(self.pins.join(SLOTS)))
    }

    /// Whether the program is attached.
    pub fn is_attached(&self) -> bool {
        self.pins.join(LINK).exists()
    }

    /// Attaches the program and pins the link; nothing where it is attached already.
    fn attach(&self) -> Result<(), KernelError> {
        let path = self.pins.join(LINK);
        if self.is_attached() {
            return Ok(());
        }
        let program = ProgramHandle::from_pinned_path(self.pins.join(PROGRAM_PIN))
            .map_err(|error| failed("opening", &self.pins.join(PROGRAM_PIN), &error))?;
        let link =
            attach(program.as_fd()).map_err(|source| self.io("attaching", PROGRAM_PIN, source))?;
        pin(link.as_fd(), &path).map_err(|source| self.io("pinning", LINK, source))
    }

    /// Makes every CPU forget which cgroups are recorded.
    fn raise_generation(&self) -> Result<(), KernelError> {
        let path = self.pins.join(CONTROL);
        let now = look_up(&self.control, &path, 0)?
            .and_then(|bytes| bytes.first_chunk().copied().map(u32::from_ne_bytes))
            .unwrap_or(0);
        // 0 is what an entry that was never filled says.
        let next = now.checked_add(1).unwrap_or(1);
        self.control
            .update(&0_u32.to_ne_bytes(), &next.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failed("writing", &self.pins.join(CONTROL), &error))
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

fn load_error(error: &libbpf_rs::Error, what: &str) -> KernelError {
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::Load(format!("{what}: {error}")),
    }
}

/// What libbpf-rs says of one operation.
fn failed(what: &'static str, path: &Path, error: &libbpf_rs::Error) -> KernelError {
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::Io {
            what,
            path: path.to_owned(),
            source: io::Error::other(format!("{error:#}")),
        },
    }
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

/// Attaches a `tp_btf` program, which knows its tracepoint itself. libbpf attaches only programs
/// of an object that it loaded, not pinned ones.
fn attach(program: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as `program` lives; no name is given.
    #[allow(unsafe_code)]
    let link =
        unsafe { libbpf_sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: a descriptor that was just opened and that nobody else has.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

fn pin(link: std::os::fd::BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the descriptor is open and the path ends with a NUL.
    #[allow(unsafe_code)]
    let result = unsafe { libbpf_sys::bpf_obj_pin(link.as_raw_fd(), path.as_ptr()) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(())
}
