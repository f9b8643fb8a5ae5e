//! What lies in the maps of the BPF program: the bytes of `bpf/recorder.h`, written and read.
//!
//! Sizes and offsets are asserted there too, so that the two can't drift apart unseen.

use std::collections::BTreeSet;

/// The version of the layout, part of the path where it is pinned: a change of `recorder.h`
/// raises it, so that no binary reads the maps of another layout.
pub const LAYOUT: u32 = 1;

/// How many recordings can run at once.
pub const SLOTS: u32 = 1024;
/// System call numbers of one ABI.
pub const CALLS: usize = 512;
/// How many arguments of calls can be watched in one recording.
pub const WATCHES: usize = 8;
/// How many distinct values are kept of each.
pub const VALUES: usize = 16;
/// Cache entries of each CPU.
pub const CACHE_WAYS: u32 = 16;

/// Where ARM's private calls begin (`__ARM_NR_BASE`), and where they lie in the compat table.
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_AT: usize = CALLS - 8;

const SEEN: u8 = 0x01;
const LOOK: u8 = 0x80;
const WATCH_SHIFT: u8 = 1;

const NATIVE: usize = 24;
const COMPAT: usize = NATIVE + CALLS;
const BEFORE: usize = COMPAT + CALLS;
const WATCHED: usize = BEFORE + CALLS;
const WATCH_SIZE: usize = 8 + 8 * VALUES + VALUES;

/// Bytes of a slot.
pub const SLOT_SIZE: usize = WATCHED + WATCHES * WATCH_SIZE;

/// One argument of one call whose values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The call's number in the native ABI.
    pub call: u32,
    /// Which argument, counted from 0.
    pub argument: u8,
}

/// What a recording begins with.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// A task with at least so many filters is in its window.
    pub filters: u32,
    /// The process id of the container's init among all of the node; 0 where it is not known.
    pub init: u32,
    /// Calls that make processes, to be counted (native numbers).
    pub counted: Vec<u32>,
    /// Arguments whose values are kept, at most [`WATCHES`].
    pub watches: Vec<Watch>,
}

impl Beginning {
    /// The bytes of a slot in which nothing was seen yet.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SLOT_SIZE];
        put(&mut bytes, 0, self.filters);
        put(&mut bytes, 4, self.init);
        for call in &self.counted {
            if let Some(byte) = bytes[NATIVE..COMPAT].get_mut(*call as usize) {
                *byte = LOOK;
            }
        }
        for (index, watch) in (0_u8..).zip(self.watches.iter().take(WATCHES)) {
            if let Some(byte) = bytes[NATIVE..COMPAT].get_mut(watch.call as usize) {
                *byte = LOOK | (index + 1) << WATCH_SHIFT;
            }
            let at = WATCHED + usize::from(index) * WATCH_SIZE;
            put(&mut bytes, at, watch.argument.into());
        }
        bytes
    }
}

/// How a window opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It did not: nothing was seen.
    Not,
    /// A task had loaded the container's filter.
    ByFilter,
    /// The container's init executed the entry point without a filter.
    ByExec,
}

/// The values of a watched argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Those that were kept.
    pub values: BTreeSet<u64>,
    /// Whether there may have been more.
    pub overflowed: bool,
}

/// What was seen, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How the window opened.
    pub opened: Opened,
    /// Calls that made, or tried to make, a process.
    pub forks: u32,
    /// A call of an ABI or number that no table has, if there was one.
    pub strange: Option<u32>,
    /// Calls of the native ABI.
    pub native: BTreeSet<u32>,
    /// Calls of the 32-bit ABI.
    pub compat: BTreeSet<u32>,
    /// Native calls of the container's init before its window.
    pub before: BTreeSet<u32>,
    /// The watched arguments' values, in the order of [`Beginning::watches`].
    pub watches: Vec<Values>,
}

impl Seen {
    /// Reads a slot; `None` where the bytes are too few to be one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Seen> {
        if bytes.len() < SLOT_SIZE {
            return None;
        }
        Some(Seen {
            opened: match get(bytes, 8) {
                0 => Opened::Not,
                1 => Opened::ByFilter,
                _ => Opened::ByExec,
            },
            forks: get(bytes, 12),
            strange: (get(bytes, 16) != 0).then(|| get(bytes, 20)),
            native: calls(&bytes[NATIVE..COMPAT], false),
            compat: calls(&bytes[COMPAT..BEFORE], cfg!(target_arch = "aarch64")),
            before: calls(&bytes[BEFORE..WATCHED], false),
            watches: bytes[WATCHED..SLOT_SIZE]
                .chunks_exact(WATCH_SIZE)
                .map(values)
                .collect(),
        })
    }
}

fn calls(table: &[u8], has_arm_private: bool) -> BTreeSet<u32> {
    (0_u32..)
        .zip(table)
        .filter(|(_, byte)| **byte & SEEN != 0)
        .map(|(number, _)| match number as usize {
            at if has_arm_private && at >= ARM_PRIVATE_AT => {
                ARM_PRIVATE + number - u32::try_from(ARM_PRIVATE_AT).unwrap_or(0)
            }
            _ => number,
        })
        .collect()
}

fn values(watch: &[u8]) -> Values {
    let filled = &watch[8 + 8 * VALUES..];
    Values {
        values: watch[8..8 + 8 * VALUES]
            .chunks_exact(8)
            .zip(filled)
            .filter(|(_, filled)| **filled != 0)
            .filter_map(|(value, _)| value.try_into().ok().map(u64::from_ne_bytes))
            .collect(),
        overflowed: get(watch, 4) as usize > VALUES,
    }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_begins_with_nothing_seen() {
        let beginning = Beginning {
            filters: 2,
            init: 77,
            counted: vec![56, 57],
            watches: vec![Watch {
                call: 41,
                argument: 3,
            }],
        };
        let bytes = beginning.to_bytes();
        assert_eq!(bytes.len(), SLOT_SIZE);
        assert_eq!((get(&bytes, 0), get(&bytes, 4)), (2, 77));
        assert_eq!(get(&bytes, WATCHED), 3);
        let seen = Seen::from_bytes(&bytes).unwrap();
        assert_eq!(seen.opened, Opened::Not);
        assert!(seen.native.is_empty() && seen.compat.is_empty() && seen.before.is_empty());
        assert!(seen.watches.iter().all(|w| w.values.is_empty()));
    }

    #[test]
    fn what_the_program_stores_is_read_back() {
        let mut bytes = Beginning::default().to_bytes();
        put(&mut bytes, 8, 2);
        put(&mut bytes, 16, 1);
        put(&mut bytes, 20, 999);
        bytes[NATIVE + 59] = SEEN;
        bytes[NATIVE + 41] = LOOK | SEEN;
        bytes[NATIVE + 42] = LOOK;
        bytes[COMPAT + 1] = SEEN;
        bytes[BEFORE + 3] = SEEN;
        put(&mut bytes, WATCHED + 4, 17);
        bytes[WATCHED + 8..WATCHED + 16].copy_from_slice(&u64::MAX.to_ne_bytes());
        bytes[WATCHED + 8 + 8 * VALUES] = 1;
        let seen = Seen::from_bytes(&bytes).unwrap();
        assert_eq!(seen.opened, Opened::ByExec);
        assert_eq!(seen.strange, Some(999));
        assert_eq!(seen.native, BTreeSet::from([41, 59]));
        assert_eq!(seen.compat, BTreeSet::from([1]));
        assert_eq!(seen.before, BTreeSet::from([3]));
        assert_eq!(seen.watches[0].values, BTreeSet::from([u64::MAX]));
        assert!(seen.watches[0].overflowed && !seen.watches[1].overflowed);
        assert_eq!(Seen::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn arms_private_calls_get_their_numbers_back() {
        let mut table = [0; CALLS];
        table[ARM_PRIVATE_AT + 5] = SEEN;
        assert_eq!(calls(&table, true), BTreeSet::from([0x0f_0005]));
    }
}
