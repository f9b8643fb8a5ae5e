//! What is missing from the intervals of numbers and architectures.

use crate::program::{
    interpret::{ARCH, NUMBER},
    region::Word,
};

/// Numbers and architectures that are not in a set although its interval spans them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    /// The holes that a walk began with, sorted.
    numbers: Vec<u32>,
    arches: Vec<u32>,
    /// The holes of the path so far.
    path: Vec<(u8, u32)>,
}

impl Holes {
    /// The holes that a walk begins with, each list sorted.
    pub(super) fn beginning_with(numbers: Vec<u32>, arches: Vec<u32>) -> Holes {
        Holes {
            numbers,
            arches,
            path: Vec::new(),
        }
    }

    /// Goes back to when the path had this many holes, and optionally adds one. Returns how many it
    /// then has.
    pub(super) fn go_back(&mut self, count: usize, further: Option<(u8, u32)>) -> usize {
        self.path.truncate(count);
        self.path.extend(further);
        self.path.len()
    }

    pub(crate) fn contains(&self, word: u8, value: u32) -> bool {
        let sorted = match word {
            NUMBER => &self.numbers,
            ARCH => &self.arches,
            _ => return false,
        };
        sorted.binary_search(&value).is_ok() || self.path.contains(&(word, value))
    }

    /// The holes of one word, sorted.
    pub(crate) fn of(&self, word: u8) -> Vec<u32> {
        let mut all = match word {
            NUMBER => self.numbers.clone(),
            ARCH => self.arches.clone(),
            _ => Vec::new(),
        };
        all.extend(self.path.iter().filter(|hole| hole.0 == word).map(|h| h.1));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a set has a member that is neither a hole nor this value.
    pub(super) fn leave_any(&self, word: u8, set: &Word, but: Option<u32>) -> bool {
        // Chains begin at small values, so the largest one is hardly ever a hole.
        let is_left = |member| Some(member) != but && !self.contains(word, member);
        if set.contains(set.high) && is_left(set.high) {
            return true;
        }
        let mut next = Some(set.low);
        while let Some(member) = next {
            if is_left(member) {
                return true;
            }
            next = member.checked_add(1).and_then(|from| set.from(from));
        }
        false
    }
}
