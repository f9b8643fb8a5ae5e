//! Follows every path of a program and determines what it returns where: an exact partition of a
//! set of calls, including architecture and number.
//!
//! Numbers and architectures that a path excludes one by one (a chain of `JEQ`) are kept as a list
//! of holes, so that a chain over n numbers takes n steps and gives n + 1 regions.

mod holes;

pub(crate) use holes::Holes;

use crate::program::{
    bpf::{Arithmetic, Instruction, Program, SCRATCH, Source, Test},
    interpret::{ARCH, NUMBER, POINTER, compute, holds},
    region::{Region, Word},
};
use std::cmp::Ordering;

/// The maximum number of regions for the arguments of one call.
pub const MAX_REGIONS: u32 = 65_536;

/// The maximum number of regions of a whole program. Podman's default has about 1,500.
const MAX_REGIONS_IN_ALL: u32 = 16 * MAX_REGIONS;

/// The maximum number of instructions to follow, on all paths together. Podman's default takes
/// about 3,000, and comparing it with another one about a million.
const MAX_STEPS: u32 = 1 << 26;

/// Why it can't be determined what a program does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Something that no seccomp library writes.
    #[error("instruction {at}: {what}, which no seccomp library writes")]
    Unusual {
        /// Its position, from 0.
        at: usize,
        /// What it does.
        what: &'static str,
    },
    /// Too many different regions of arguments.
    #[error("call {number} of architecture {arch:#010x} has more than {MAX_REGIONS} cases")]
    TooManyRegions {
        /// The architecture, an `AUDIT_ARCH_*`.
        arch: u32,
        /// The call's number.
        number: u32,
    },
    /// Too much work altogether.
    #[error("it has too many cases")]
    TooLarge,
}

/// What is known about a register.
#[derive(Clone, Copy, Debug)]
enum Value {
    Constant(u32),
    /// A word of the call's data, masked.
    Word {
        word: u8,
        mask: u32,
    },
}

const ZERO: Value = Value::Constant(0);

/// A region in which a program returns the same for every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) region: &'a Region,
    pub(super) holes: &'a Holes,
    /// What the program returns there.
    pub(crate) returns: u32,
}

impl Leaf<'_> {
    /// The holes in the region's numbers, sorted.
    pub(crate) fn missing_numbers(&self) -> Vec<u32> {
        match self.region.word(NUMBER).value() {
            Some(_) => Vec::new(),
            None => self.holes.of(NUMBER),
        }
    }

    /// The holes in the region's architectures, sorted.
    pub(crate) fn missing_arches(&self) -> Vec<u32> {
        match self.region.word(ARCH).value() {
            Some(_) => Vec::new(),
            None => self.holes.of(ARCH),
        }
    }
}

/// The state of a walk.
#[derive(Clone)]
struct State {
    at: u16,
    a: Value,
    x: Value,
    scratch: [Value; SCRATCH],
    region: Region,
    /// How many of the path's holes apply here.
    holes: usize,
    /// An additional hole.
    hole: Option<(u8, u32)>,
}

/// Follows programs, with a bound on the work.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    steps: u32,
    regions: u32,
    /// The call that was last visited, and its regions so far.
    call: (u32, u32),
    regions_of_call: u32,
}

impl Walker {
    /// Calls `visit` for each region of all calls.
    pub(crate) fn walk<E: From<WalkError>>(
        &mut self,
        program: &Program,
        visit: impl FnMut(&mut Walker, &Leaf<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk_within(program, &Region::ANY, Holes::default(), visit)
    }

    /// Calls `visit` for each region of the calls that another walk found.
    pub(crate) fn walk_leaf<E: From<WalkError>>(
        &mut self,
        program: &Program,
        leaf: &Leaf<'_>,
        visit: impl FnMut(&mut Walker, &Leaf<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let holes = Holes::beginning_with(leaf.missing_numbers(), leaf.missing_arches());
        self.walk_within(program, leaf.region, holes, visit)
    }

    fn walk_within<E: From<WalkError>>(
        &mut self,
        program: &Program,
        region: &Region,
        mut holes: Holes,
        mut visit: impl FnMut(&mut Walker, &Leaf<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut waiting = vec![State {
            at: 0,
            a: ZERO,
            x: ZERO,
            scratch: [ZERO; SCRATCH],
            region: *region,
            holes: 0,
            hole: None,
        }];
        while let Some(mut state) = waiting.pop() {
            state.holes = holes.go_back(state.holes, state.hole.take());
            let returns = self.follow(program, &mut state, &holes, &mut waiting)?;
            self.count_region(&state.region)?;
            let leaf = Leaf {
                region: &state.region,
                holes: &holes,
                returns,
            };
            visit(self, &leaf)?;
        }
        Ok(())
    }

    /// Counts a region towards the limits.
    pub(crate) fn count_region(&mut self, region: &Region) -> Result<(), WalkError> {
        self.regions += 1;
        let call @ (arch, number) = (region.word(ARCH).low, region.word(NUMBER).low);
        if call == self.call {
            self.regions_of_call += 1;
        } else {
            (self.call, self.regions_of_call) = (call, 1);
        }
        if self.regions_of_call > MAX_REGIONS {
            return Err(WalkError::TooManyRegions { arch, number });
        }
        if self.regions > MAX_REGIONS_IN_ALL {
            return Err(WalkError::TooLarge);
        }
        Ok(())
    }

    /// Follows one path to its end, and queues the paths that branch off.
    fn follow(
        &mut self,
        program: &Program,
        state: &mut State,
        holes: &Holes,
        waiting: &mut Vec<State>,
    ) -> Result<u32, WalkError> {
        loop {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(WalkError::TooLarge);
            }
            let at = usize::from(state.at);
            let unusual = |what| WalkError::Unusual { at, what };
            state.at += 1;
            match program.instructions[at] {
                Instruction::LoadWord(word) => {
                    if word == POINTER || word == POINTER + 1 {
                        return Err(unusual("looks at the instruction pointer"));
                    }
                    let mask = u32::MAX;
                    state.a = Value::Word { word, mask };
                }
                Instruction::LoadConstant(k) => state.a = Value::Constant(k),
                Instruction::LoadScratch(slot) => state.a = state.scratch[usize::from(slot)],
                Instruction::LoadX(k) => state.x = Value::Constant(k),
                Instruction::LoadXScratch(slot) => state.x = state.scratch[usize::from(slot)],
                Instruction::Store(slot) => state.scratch[usize::from(slot)] = state.a,
                Instruction::StoreX(slot) => state.scratch[usize::from(slot)] = state.x,
                Instruction::AToX => state.x = state.a,
                Instruction::XToA => state.a = state.x,
                Instruction::Negate => match state.known(state.a) {
                    Value::Constant(a) => state.a = Value::Constant(a.wrapping_neg()),
                    Value::Word { .. } => return Err(unusual("negates an argument")),
                },
                Instruction::Compute(operation, source) => {
                    let operand = state
                        .operand(source)
                        .ok_or(unusual("computes with two arguments"))?;
                    match (state.known(state.a), operation) {
                        (Value::Constant(a), _) => match compute(operation, a, operand) {
                            Some(value) => state.a = Value::Constant(value),
                            None => return Ok(0),
                        },
                        (Value::Word { word, mask }, Arithmetic::And) => {
                            let mask = mask & operand;
                            state.a = Value::Word { word, mask };
                        }
                        _ => return Err(unusual("computes with an argument")),
                    }
                }
                Instruction::Jump(to) => state.at = to,
                Instruction::Branch {
                    test,
                    operand,
                    then,
                    otherwise,
                } => {
                    let k = state
                        .operand(operand)
                        .ok_or(unusual("compares two arguments"))?;
                    match state.known(state.a) {
                        Value::Constant(a) => {
                            state.at = if holds(test, a, k) { then } else { otherwise };
                        }
                        Value::Word { word, mask } => {
                            state.branch(test, (word, mask, k), (then, otherwise), holes, waiting);
                        }
                    }
                }
                Instruction::Return(value) => return Ok(value),
                Instruction::ReturnA => match state.known(state.a) {
                    Value::Constant(value) => return Ok(value),
                    Value::Word { .. } => return Err(unusual("returns an argument")),
                },
            }
        }
    }
}

impl State {
    /// A register's value. It is a constant if the word has only one possible value.
    fn known(&self, value: Value) -> Value {
        match value {
            Value::Word { word, mask } => match self.region.word(word).value() {
                Some(only) => Value::Constant(only & mask),
                None => value,
            },
            Value::Constant(_) => value,
        }
    }

    /// The second operand, if it is a constant on this path.
    fn operand(&self, source: Source) -> Option<u32> {
        let value = match source {
            Source::Constant(k) => Value::Constant(k),
            Source::X => self.known(self.x),
        };
        match value {
            Value::Constant(k) => Some(k),
            Value::Word { .. } => None,
        }
    }

    /// Continues with one part of the region and queues the others, each at its jump target.
    /// Compares `word & mask` with `k`.
    fn branch(
        &mut self,
        test: Test,
        (word, mask, k): (u8, u32, u32),
        (then, otherwise): (u16, u16),
        holes: &Holes,
        waiting: &mut Vec<State>,
    ) {
        let set = *self.region.word(word);
        let mut gone_on = false;
        // All numbers except the hole's continue.
        let mut part = |part: Word, taken: bool, hole: Option<(u8, u32)>| {
            let at = if taken { then } else { otherwise };
            if gone_on {
                let mut other = self.clone();
                other.at = at;
                other.hole = hole;
                other.region.words[usize::from(word)] = part;
                waiting.push(other);
            } else {
                gone_on = true;
                self.at = at;
                self.region.words[usize::from(word)] = part;
            }
        };
        let has_holes = word == NUMBER || word == ARCH;
        let whole = mask == u32::MAX;
        match test {
            Test::Equal if whole && has_holes => {
                if set.contains(k) && !holes.contains(word, k) {
                    part(Word::exactly(k), true, None);
                    if holes.leave_any(word, &set, Some(k)) {
                        part(set, false, Some((word, k)));
                    }
                } else {
                    part(set, false, None);
                }
            }
            Test::Greater | Test::GreaterOrEqual if whole => {
                // The first value that satisfies it.
                let begin = match test {
                    Test::Greater => k.checked_add(1),
                    _ => Some(k),
                };
                let below = match begin {
                    Some(0) => None,
                    Some(begin) => set.within(0, begin - 1),
                    None => Some(set),
                };
                let above = begin.and_then(|begin| set.within(begin, u32::MAX));
                for (found, taken) in [(above, true), (below, false)] {
                    if let Some(found) =
                        found.filter(|set| !has_holes || holes.leave_any(word, set, None))
                    {
                        part(found, taken, None);
                    }
                }
            }
            _ => {
                let (mask, k, taken): (u32, u32, fn(Ordering) -> bool) = match test {
                    Test::Equal => (mask, k, Ordering::is_eq),
                    Test::Greater => (mask, k, Ordering::is_gt),
                    Test::GreaterOrEqual => (mask, k, Ordering::is_ge),
                    Test::AnyBit => (mask & k, 0, Ordering::is_ne),
                };
                set.split(mask, k, |order, found| {
                    if !has_holes || holes.leave_any(word, &found, None) {
                        part(found, taken(order), None);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
