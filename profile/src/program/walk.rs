//! Follows every path of a program and says what it returns where: an exact partition of a set of
//! calls, architecture and number included.
//!
//! Numbers and architectures that a path excludes one by one (a chain of `JEQ`) are kept as a list
//! of holes, so that a chain over n numbers takes n steps and gives n + 1 regions.

use crate::program::{
    bpf::{Arithmetic, Instruction, Program, SCRATCH, Source, Test},
    interpret::{ARCH, NUMBER, POINTER, compute, holds},
    region::{Region, Word},
};
use std::cmp::Ordering;

/// The most regions that one call's arguments may fall into.
pub const MAX_REGIONS: u32 = 65_536;

/// The most regions of a whole program; Podman's default has some 1,500.
const MAX_REGIONS_IN_ALL: u32 = 16 * MAX_REGIONS;

/// The most instructions that are followed, on all paths together; Podman's default takes some
/// 3,000, compared with another one some million.
const MAX_STEPS: u32 = 1 << 26;

/// Why it can't be said what a program does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Something that no seccomp library writes.
    #[error("instruction {at}: {what}, which no seccomp library writes")]
    Unusual {
        /// Its place, counted from 0.
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
    /// Too much work in all.
    #[error("it has too many cases")]
    TooLarge,
}

/// What is known of a register.
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

/// Numbers and architectures that are not in a set although its interval spans them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    /// Those that a walk began with, sorted.
    numbers: Vec<u32>,
    arches: Vec<u32>,
    /// Those of the path so far.
    path: Vec<(u8, u32)>,
}

impl Holes {
    fn contains(&self, word: u8, value: u32) -> bool {
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
    fn leave_any(&self, word: u8, set: &Word, but: Option<u32>) -> bool {
        let mut next = Some(set.low);
        while let Some(member) = next {
            if Some(member) != but && !self.contains(word, member) {
                return true;
            }
            next = member.checked_add(1).and_then(|from| set.from(from));
        }
        false
    }
}

/// A region in which a program gives one answer to every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) region: &'a Region,
    holes: &'a Holes,
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

/// Where a walk stands.
#[derive(Clone)]
struct State {
    at: u16,
    a: Value,
    x: Value,
    scratch: [Value; SCRATCH],
    region: Region,
    /// How many holes of the path count here.
    holes: usize,
    /// A further hole.
    hole: Option<(u8, u32)>,
}

/// Follows programs, with a bound on the work.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    steps: u32,
    regions: u32,
    /// The call that was last looked at, and its regions so far.
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
        let holes = Holes {
            numbers: leaf.missing_numbers(),
            arches: leaf.missing_arches(),
            path: Vec::new(),
        };
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
            holes.path.truncate(state.holes);
            holes.path.extend(state.hole.take());
            state.holes = holes.path.len();
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

    /// Counts a region against the limits.
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

    /// Follows one path to its end, and leaves the others that branch off.
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
    /// A register's value, which is a constant where its word has only one.
    fn known(&self, value: Value) -> Value {
        match value {
            Value::Word { word, mask } => match self.region.word(word).value() {
                Some(only) => Value::Constant(only & mask),
                None => value,
            },
            Value::Constant(_) => value,
        }
    }

    /// The second operand, where it is a constant on this path.
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

    /// Goes on with one part of the region and leaves the others waiting, each where the jump leads
    /// it. What is compared is `word & mask` with `k`.
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
        // Of the hole's number, all others go on.
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
                // The first value for which it holds.
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
mod tests {
    use super::*;
    use crate::program::{bpf::tests::program, interpret::Call};
    use proptest::prelude::*;

    /// The regions of a program, each with its answer.
    fn regions(program: &Program) -> Result<Vec<(Region, Holes, u32)>, WalkError> {
        let mut found = Vec::new();
        Walker::default().walk(program, |_, leaf| {
            found.push((*leaf.region, leaf.holes.clone(), leaf.returns));
            Ok::<(), WalkError>(())
        })?;
        Ok(found)
    }

    fn contains((region, holes, _): &(Region, Holes, u32), call: &Call) -> bool {
        let words = call.words();
        region
            .words
            .iter()
            .zip(words)
            .all(|(set, word)| set.contains(word))
            && !holes.of(NUMBER).contains(&call.number)
            && !holes.of(ARCH).contains(&call.arch)
    }

    const LOAD_NUMBER: (u16, u8, u8, u32) = (0x20, 0, 0, 0);
    const LOAD_ARCH: (u16, u8, u8, u32) = (0x20, 0, 0, 4);

    #[test]
    fn a_chain_over_numbers_has_one_region_for_each_and_one_for_the_rest() {
        let mut chain = vec![LOAD_NUMBER];
        for number in 0..200 {
            chain.push((0x15, 0, 1, number * 3));
            chain.push((0x06, 0, 0, number));
        }
        chain.push((0x06, 0, 0, 9_999));
        let found = regions(&program(&chain).unwrap()).unwrap();
        assert_eq!(found.len(), 201);
        let rest = &found[200];
        assert_eq!((rest.1.of(NUMBER).len(), rest.2), (200, 9_999));
    }

    #[test]
    fn an_exclusion_of_all_values_leaves_no_region() {
        // number <= 1, and neither 0 nor 1: nothing is left for the last answer.
        let chain = [
            LOAD_NUMBER,
            (0x25, 4, 0, 1),
            (0x15, 3, 0, 0),
            (0x15, 2, 0, 1),
            (0x06, 0, 0, 7),
            (0x06, 0, 0, 8),
            (0x06, 0, 0, 9),
        ];
        let found = regions(&program(&chain).unwrap()).unwrap();
        assert!(found.iter().all(|region| region.2 == 9), "{found:?}");
    }

    #[test]
    fn what_no_library_writes_cannot_be_checked() {
        for unusual in [
            vec![(0x20, 0, 0, 8), (0x06, 0, 0, 0)],
            vec![(0x20, 0, 0, 16), (0x16, 0, 0, 0)],
            vec![(0x20, 0, 0, 16), (0x04, 0, 0, 1), (0x06, 0, 0, 0)],
            vec![(0x20, 0, 0, 16), (0x84, 0, 0, 1), (0x06, 0, 0, 0)],
            vec![
                (0x20, 0, 0, 16),
                (0x07, 0, 0, 0),
                (0x20, 0, 0, 24),
                (0x1d, 0, 0, 0),
                (0x06, 0, 0, 0),
            ],
        ] {
            let error = regions(&program(&unusual).unwrap()).unwrap_err();
            assert!(matches!(error, WalkError::Unusual { .. }), "{error}");
        }
    }

    #[test]
    fn too_many_cases_of_one_call_are_an_error_that_names_it() {
        // Each of 17 bits of the first argument leads two ways, so there are 2^17 regions.
        let mut chain = vec![
            LOAD_ARCH,
            (0x15, 1, 0, 5),
            (0x06, 0, 0, 0),
            LOAD_NUMBER,
            (0x15, 1, 0, 39),
            (0x06, 0, 0, 0),
            (0x20, 0, 0, 16),
        ];
        chain.extend((0..17).map(|bit| (0x45, 0, 0, 1 << bit)));
        chain.push((0x06, 0, 0, 0));
        let error = regions(&program(&chain).unwrap()).unwrap_err();
        let (arch, number) = (5, 39);
        assert_eq!(error, WalkError::TooManyRegions { arch, number });
    }

    /// Programs as a library might write them, and some that none would; jumps go forward.
    fn some_program() -> impl Strategy<Value = Program> {
        let constant = || prop::sample::select(vec![0_u32, 1, 2, 3, 5, 8, 0x40, 0xffff_ffff]);
        let instruction = prop_oneof![
            6 => prop::sample::select(vec![0_u32, 4, 16, 20, 24, 28]).prop_map(|at| (0x20, 0, 0, at)),
            10 => (
                prop::sample::select(vec![0x15_u16, 0x25, 0x35, 0x45]),
                0_u8..4,
                0_u8..4,
                constant()
            ),
            3 => constant().prop_map(|k| (0x54, 0, 0, k)),
            1 => constant().prop_map(|k| (0x00, 0, 0, k)),
            1 => constant().prop_map(|k| (0x01, 0, 0, k)),
            1 => Just((0x07, 0, 0, 0)),
            1 => Just((0x87, 0, 0, 0)),
            1 => Just((0x02, 0, 0, 1)),
            1 => Just((0x60, 0, 0, 1)),
            1 => (prop::sample::select(vec![0x1d_u16, 0x2d, 0x5c]), 0_u8..4, 0_u8..4)
                .prop_map(|(code, a, b)| (code, a, b, 0)),
            2 => (0_u32..9).prop_map(|k| (0x06, 0, 0, k)),
        ];
        prop::collection::vec(instruction, 1..40).prop_filter_map("refused", |mut body| {
            body.insert(0, (0x02, 0, 0, 1));
            body.extend([(0x06, 0, 0, 100); 5]);
            program(&body).ok()
        })
    }

    fn some_call() -> impl Strategy<Value = Call> {
        let word = || prop_oneof![4 => 0_u32..10, 1 => Just(0x41), 1 => any::<u32>()];
        let argument = || (word(), word()).prop_map(|(h, l)| u64::from(h) << 32 | u64::from(l));
        (word(), word(), argument(), argument()).prop_map(|(number, arch, first, second)| Call {
            number,
            arch,
            pointer: 0,
            arguments: [first, second, 0, 0, 0, 0],
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Each call is in exactly one region, and gets its answer.
        #[test]
        fn the_walk_agrees_with_the_interpreter(
            program in some_program(),
            calls in prop::collection::vec(some_call(), 20),
        ) {
            let Ok(found) = regions(&program) else { return Ok(()) };
            for call in calls {
                let here: Vec<_> = found.iter().filter(|region| contains(region, &call)).collect();
                prop_assert_eq!(here.len(), 1, "{:?}", call);
                prop_assert_eq!(here[0].2, program.run(&call), "{:?}", call);
            }
            for region in found {
                let sample = region.0.sample();
                if contains(&region, &sample) {
                    prop_assert_eq!(program.run(&sample), region.2);
                }
            }
        }
    }
}
