//! Sets of calls: what is known about each 32-bit word of `struct seccomp_data` on a path through a
//! program.

use crate::program::interpret::{ARCH, Call, DATA_WORDS, NUMBER, high_word, low_word};
use std::cmp::Ordering;

/// The values from `low` to `high` whose bits at `known` are `bits`. Never empty: both ends are
/// members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) low: u32,
    pub(crate) high: u32,
    known: u32,
    bits: u32,
}

/// The smallest value from `low` on whose bits at `known` are `bits`.
fn first_from(low: u32, known: u32, bits: u32) -> Option<u32> {
    let nearest = (low & !known) | bits;
    let differing = nearest ^ low;
    if differing == 0 {
        return Some(low);
    }
    let highest = differing.ilog2();
    let below = |bit: u32| (1_u32 << bit) - 1;
    if nearest > low {
        // Larger from this bit on: what is free below it may be 0.
        return Some((nearest & !below(highest)) | (bits & below(highest)));
    }
    // Too small: the lowest free bit above that is 0 there becomes 1.
    let free = !known & !low & !below(highest) & !(1 << highest);
    if free == 0 {
        return None;
    }
    let raised = free.trailing_zeros();
    let above = low & !below(raised) & !(1 << raised);
    Some(above | (1 << raised) | (bits & below(raised)))
}

impl Word {
    pub(crate) const ANY: Word = Word {
        low: 0,
        high: u32::MAX,
        known: 0,
        bits: 0,
    };

    pub(crate) const fn exactly(value: u32) -> Word {
        Word {
            low: value,
            high: value,
            known: 0,
            bits: 0,
        }
    }

    pub(crate) const fn value(&self) -> Option<u32> {
        if self.low == self.high {
            Some(self.low)
        } else {
            None
        }
    }

    pub(crate) const fn contains(&self, value: u32) -> bool {
        self.low <= value && value <= self.high && value & self.known == self.bits
    }

    /// The smallest member from a value on.
    pub(crate) fn from(&self, value: u32) -> Option<u32> {
        first_from(self.low.max(value), self.known, self.bits).filter(|first| *first <= self.high)
    }

    /// The members from `low` to `high`; `None` if there are none.
    pub(crate) fn within(&self, low: u32, high: u32) -> Option<Word> {
        let (low, high) = (self.low.max(low), self.high.min(high));
        if low > high {
            return None;
        }
        let first = first_from(low, self.known, self.bits)?;
        // With all bits inverted, the last member up to a value is the first one from it on.
        let last = !first_from(!high, self.known, !self.bits & self.known)?;
        (first <= last).then_some(Word {
            low: first,
            high: last,
            ..*self
        })
    }

    /// The members with one bit set or not.
    fn with_bit(&self, bit: u32, set: bool) -> Option<Word> {
        let mask = 1 << bit;
        let wanted = if set { mask } else { 0 };
        if self.known & mask != 0 {
            return (self.bits & mask == wanted).then_some(*self);
        }
        let narrowed = Word {
            known: self.known | mask,
            bits: self.bits | wanted,
            ..*self
        };
        narrowed.within(self.low, self.high)
    }

    /// Splits the members by how `member & mask` compares with a value. The parts are disjoint and
    /// cover all members.
    pub(crate) fn split(&self, mask: u32, value: u32, mut part: impl FnMut(Ordering, Word)) {
        if mask == u32::MAX {
            let less = value.checked_sub(1).and_then(|end| self.within(0, end));
            let greater = value.checked_add(1).and_then(|s| self.within(s, u32::MAX));
            if let Some(less) = less {
                part(Ordering::Less, less);
            }
            if self.contains(value) {
                part(Ordering::Equal, Word::exactly(value));
            }
            if let Some(greater) = greater {
                part(Ordering::Greater, greater);
            }
            return;
        }
        // From the highest bit down, the first one that differs decides.
        let mut equal_so_far = *self;
        for bit in (0..32).rev() {
            let wanted = value & (1 << bit) != 0;
            if mask & (1 << bit) == 0 {
                if wanted {
                    part(Ordering::Less, equal_so_far);
                    return;
                }
                continue;
            }
            let otherwise = if wanted {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            if let Some(word) = equal_so_far.with_bit(bit, !wanted) {
                part(otherwise, word);
            }
            match equal_so_far.with_bit(bit, wanted) {
                Some(word) => equal_so_far = word,
                None => return,
            }
        }
        part(Ordering::Equal, equal_so_far);
    }
}

/// The calls with each word in its own set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) words: [Word; DATA_WORDS],
}

impl Region {
    pub(crate) const ANY: Region = Region {
        words: [Word::ANY; DATA_WORDS],
    };

    pub(crate) fn word(&self, word: u8) -> &Word {
        &self.words[usize::from(word)]
    }

    #[must_use]
    pub(crate) fn with(&self, word: u8, set: Word) -> Region {
        let mut region = *self;
        region.words[usize::from(word)] = set;
        region
    }

    /// Splits the region by how `argument & mask` compares with a value, as 64-bit numbers.
    pub(crate) fn split_argument(
        &self,
        argument: u8,
        mask: u64,
        value: u64,
        mut part: impl FnMut(Ordering, Region),
    ) {
        let (high, low) = (high_word(argument), low_word(argument));
        self.word(high)
            .split(upper(mask), upper(value), |order, set| {
                let region = self.with(high, set);
                if order != Ordering::Equal {
                    return part(order, region);
                }
                region
                    .word(low)
                    .split(lower(mask), lower(value), |order, set| {
                        part(order, region.with(low, set));
                    });
            });
    }

    /// Splits the region by only the low half of an argument.
    pub(crate) fn split_low_half(
        &self,
        argument: u8,
        mask: u64,
        value: u64,
        mut part: impl FnMut(Ordering, Region),
    ) {
        let low = low_word(argument);
        self.word(low)
            .split(lower(mask), lower(value), |order, set| {
                part(order, self.with(low, set));
            });
    }

    /// One call of the region: the smallest member of each word.
    pub(crate) fn sample(&self) -> Call {
        let half = |word: u8| u64::from(self.word(word).low);
        let mut arguments = [0; 6];
        for (argument, value) in (0_u8..).zip(&mut arguments) {
            *value = half(high_word(argument)) << 32 | half(low_word(argument));
        }
        Call {
            number: self.word(NUMBER).low,
            arch: self.word(ARCH).low,
            pointer: 0,
            arguments,
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // both halves are looked at
pub(crate) const fn lower(value: u64) -> u32 {
    value as u32
}

pub(crate) const fn upper(value: u64) -> u32 {
    lower(value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A word of few bits, so that all its values can be tried; the kernel's words are as these.
    const BITS: u32 = 6;
    const ALL: std::ops::Range<u32> = 0..1 << BITS;

    fn members(word: &Word) -> Vec<u32> {
        ALL.filter(|value| word.contains(*value)).collect()
    }

    fn some_word() -> impl Strategy<Value = Word> {
        (ALL, ALL, ALL, ALL).prop_filter_map("empty", |(a, b, known, bits)| {
            let any = Word {
                known,
                bits: bits & known,
                ..Word::ANY
            };
            any.within(a.min(b), a.max(b))
        })
    }

    proptest! {
        #[test]
        fn a_set_begins_and_ends_with_members(word in some_word(), low in ALL, high in ALL) {
            let there = members(&word);
            prop_assert_eq!(there.first(), Some(&word.low));
            prop_assert_eq!(there.last(), Some(&word.high));
            let within: Vec<u32> =
                there.iter().copied().filter(|v| (low..=high).contains(v)).collect();
            prop_assert_eq!(word.within(low, high).map_or(vec![], |w| members(&w)), within);
            prop_assert_eq!(word.from(low), there.into_iter().find(|v| *v >= low));
        }

        #[test]
        fn a_split_puts_each_member_into_one_part(
            word in some_word(),
            mask in prop_oneof![Just(u32::MAX), ALL],
            value in 0_u32..1 << (BITS + 1),
        ) {
            let mut seen = Vec::new();
            word.split(mask, value, |order, part| {
                for member in members(&part) {
                    assert_eq!((member & mask).cmp(&value), order, "{member}");
                    seen.push(member);
                }
            });
            seen.sort_unstable();
            prop_assert_eq!(seen, members(&word));
        }

        #[test]
        fn whole_arguments_are_split_as_64_bit_numbers(
            argument in 0_u8..6,
            mask in prop_oneof![Just(u64::MAX), any::<u64>()],
            value in any::<u64>(),
            tried in any::<u64>(),
            near in -1_i64..2,
        ) {
            for tried in [tried, value.wrapping_add_signed(near), value | !mask] {
                let mut found = Vec::new();
                Region::ANY.split_argument(argument, mask, value, |order, part| {
                    let holds = part.word(high_word(argument)).contains(upper(tried))
                        && part.word(low_word(argument)).contains(lower(tried));
                    if holds {
                        found.push(order);
                    }
                });
                prop_assert_eq!(found, vec![(tried & mask).cmp(&value)]);
            }
        }
    }
}
