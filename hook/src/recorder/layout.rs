//! Writes and reads the bytes in the maps of the BPF program (`bpf/recorder.h`).
//!
//! The structures are declared here as in C, and every offset is asserted on both sides. The tests
//! compare the two, so that neither can change alone.

use std::{collections::BTreeSet, mem::offset_of};

/// The version of the layout, which is part of the path of the pins. Increase it whenever a size or
/// an offset changes, so that no binary reads maps with another layout.
pub const LAYOUT: u32 = 1;

/// How many recordings can run at once.
pub const SLOTS: u32 = 1024;
/// How many system call numbers one ABI has room for.
pub const CALLS: usize = 512;
/// How many arguments of calls can be watched in one recording.
pub const WATCHES: usize = 8;
/// How many distinct values of each are kept.
pub const VALUES: usize = 16;
/// Cache entries of each CPU.
pub const CACHE_WAYS: u32 = 16;

/// Where ARM's private calls begin (`__ARM_NR_BASE`), and where they are in the compat table.
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_AT: u32 = 504;

const SEEN: u8 = 0x01;
const LOOK: u8 = 0x80;
const WATCH_SHIFT: u8 = 1;
const WATCH_MASK: u8 = 0x0f;

const OPENED_NOT: u32 = 0;
const OPENED_BY_FILTER: u32 = 1;
const OPENED_BY_EXEC: u32 = 2;

/// `struct watch`. Like the others it is never instantiated: it defines the offsets of its members.
#[repr(C)]
struct RawWatch {
    argument: u32,
    count: u32,
    values: [u64; VALUES],
    filled: [u8; VALUES],
}

/// `struct slot`.
#[repr(C)]
struct RawSlot {
    filters: u32,
    init: u32,
    opened: u32,
    forks: u32,
    unknown_abi: u32,
    unknown_call: u32,
    native: [u8; CALLS],
    compat: [u8; CALLS],
    before: [u8; CALLS],
    watches: [RawWatch; WATCHES],
}

/// The size of a slot, in bytes.
pub const SLOT_SIZE: usize = size_of::<RawSlot>();

const _: () = {
    assert!(offset_of!(RawWatch, argument) == 0);
    assert!(offset_of!(RawWatch, count) == 4);
    assert!(offset_of!(RawWatch, values) == 8);
    assert!(offset_of!(RawWatch, filled) == 136);
    assert!(size_of::<RawWatch>() == 152);
    assert!(offset_of!(RawSlot, filters) == 0);
    assert!(offset_of!(RawSlot, init) == 4);
    assert!(offset_of!(RawSlot, opened) == 8);
    assert!(offset_of!(RawSlot, forks) == 12);
    assert!(offset_of!(RawSlot, unknown_abi) == 16);
    assert!(offset_of!(RawSlot, unknown_call) == 20);
    assert!(offset_of!(RawSlot, native) == 24);
    assert!(offset_of!(RawSlot, compat) == 536);
    assert!(offset_of!(RawSlot, before) == 1048);
    assert!(offset_of!(RawSlot, watches) == 1560);
    assert!(SLOT_SIZE == 2776);
    assert!(WATCHES <= WATCH_MASK as usize);
};

const NATIVE: usize = offset_of!(RawSlot, native);
const COMPAT: usize = offset_of!(RawSlot, compat);
const BEFORE: usize = offset_of!(RawSlot, before);
const WATCHED: usize = offset_of!(RawSlot, watches);

/// An argument of a call whose values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The call's number in the native ABI.
    pub call: u32,
    /// The position of the argument, from 0.
    pub argument: u8,
}

/// The initial contents of a slot.
#[derive(Clone, Debug, Default)]
pub struct SlotSetup {
    /// A task with at least this many filters is inside the recording window.
    pub filters: u32,
    /// The process ID of the container's init in the node's PID namespace; 0 if unknown.
    pub init: u32,
    /// Calls that create processes, which are counted (native numbers).
    pub counted: Vec<u32>,
    /// Arguments whose values are kept, at most [`WATCHES`].
    pub watches: Vec<Watch>,
}

impl SlotSetup {
    /// The bytes of a slot without observations.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SLOT_SIZE];
        put(&mut bytes, offset_of!(RawSlot, filters), self.filters);
        put(&mut bytes, offset_of!(RawSlot, init), self.init);
        for call in &self.counted {
            if let Some(byte) = bytes[NATIVE..COMPAT].get_mut(*call as usize) {
                *byte = LOOK;
            }
        }
        for (index, watch) in (0_u8..).zip(self.watches.iter().take(WATCHES)) {
            if let Some(byte) = bytes[NATIVE..COMPAT].get_mut(watch.call as usize) {
                *byte = LOOK | (index + 1) << WATCH_SHIFT;
            }
            let at = WATCHED + usize::from(index) * size_of::<RawWatch>();
            let argument = at + offset_of!(RawWatch, argument);
            put(&mut bytes, argument, watch.argument.into());
        }
        bytes
    }
}

/// Whether and how the recording window opened. From then on, calls are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// It did not open, and no call was recorded.
    NotOpened,
    /// A task had loaded the container's filter.
    OpenedByFilter,
    /// The container's init executed the entry point without a filter.
    OpenedByExec,
}

/// The values of a watched argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The values that were kept.
    pub values: BTreeSet<u64>,
    /// Whether there may have been more.
    pub overflowed: bool,
}

/// What was observed, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether and how the window opened.
    pub window: Window,
    /// How many calls created, or tried to create, a process.
    pub forks: u32,
    /// A call with an ABI or number that no table has, if there was one.
    pub unknown_abi: Option<u32>,
    /// Calls of the native ABI.
    pub native: BTreeSet<u32>,
    /// Calls of the 32-bit ABI.
    pub compat: BTreeSet<u32>,
    /// Native calls of the container's init before the window opened.
    pub before: BTreeSet<u32>,
    /// The values of the watched arguments, in the order of [`SlotSetup::watches`].
    pub watches: Vec<Values>,
}

impl Observed {
    /// Parses a slot; `None` if the bytes are not a slot.
    pub fn from_bytes(bytes: &[u8]) -> Option<Observed> {
        if bytes.len() < SLOT_SIZE {
            return None;
        }
        let unknown_call = get(bytes, offset_of!(RawSlot, unknown_call));
        Some(Observed {
            window: match get(bytes, offset_of!(RawSlot, opened)) {
                OPENED_NOT => Window::NotOpened,
                OPENED_BY_FILTER => Window::OpenedByFilter,
                OPENED_BY_EXEC => Window::OpenedByExec,
                _ => return None,
            },
            forks: get(bytes, offset_of!(RawSlot, forks)),
            unknown_abi: (get(bytes, offset_of!(RawSlot, unknown_abi)) != 0)
                .then_some(unknown_call),
            native: calls(&bytes[NATIVE..COMPAT], false),
            compat: calls(&bytes[COMPAT..BEFORE], cfg!(target_arch = "aarch64")),
            before: calls(&bytes[BEFORE..WATCHED], false),
            watches: bytes[WATCHED..SLOT_SIZE]
                .chunks_exact(size_of::<RawWatch>())
                .map(values)
                .collect(),
        })
    }
}

fn calls(table: &[u8], has_arm_private: bool) -> BTreeSet<u32> {
    (0_u32..)
        .zip(table)
        .filter(|(_, byte)| **byte & SEEN != 0)
        .map(|(number, _)| match number {
            at if has_arm_private && at >= ARM_PRIVATE_AT => ARM_PRIVATE + at - ARM_PRIVATE_AT,
            _ => number,
        })
        .collect()
}

fn values(watch: &[u8]) -> Values {
    let (values, filled) = (offset_of!(RawWatch, values), offset_of!(RawWatch, filled));
    Values {
        values: watch[values..filled]
            .chunks_exact(8)
            .zip(&watch[filled..])
            .filter(|(_, filled)| **filled != 0)
            .filter_map(|(value, _)| value.try_into().ok().map(u64::from_ne_bytes))
            .collect(),
        overflowed: get(watch, offset_of!(RawWatch, count)) as usize > VALUES,
    }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests;
