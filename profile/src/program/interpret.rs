//! What a program answers for one call, as the kernel would run it.

use crate::program::{
    bpf::{Arithmetic, Instruction, Program, SCRATCH, Source, Test},
    region::{lower, upper},
};

/// How many 32-bit words `struct seccomp_data` has.
pub const DATA_WORDS: usize = 16;

/// The word of `struct seccomp_data` that holds the call's number.
pub(crate) const NUMBER: u8 = 0;

/// The word that holds the architecture (`AUDIT_ARCH_*`).
pub(crate) const ARCH: u8 = 1;

/// The first of the two words that hold the instruction pointer.
pub(crate) const POINTER: u8 = 2;

/// The first of the twelve words that hold the arguments.
pub(crate) const ARGUMENTS: u8 = 4;

/// The word with the low half of an argument.
pub(crate) const fn low_word(argument: u8) -> u8 {
    ARGUMENTS + 2 * argument + if cfg!(target_endian = "big") { 1 } else { 0 }
}

/// The word with the high half of an argument.
pub(crate) const fn high_word(argument: u8) -> u8 {
    ARGUMENTS + 2 * argument + if cfg!(target_endian = "big") { 0 } else { 1 }
}

/// A call as seccomp sees it: `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The call's number.
    pub number: u32,
    /// The architecture, an `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where the call was made.
    pub pointer: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// The words that a program loads.
    pub(crate) fn words(&self) -> [u32; DATA_WORDS] {
        let mut words = [0; DATA_WORDS];
        words[usize::from(NUMBER)] = self.number;
        words[usize::from(ARCH)] = self.arch;
        let halves = |value: u64| {
            let (low, high) = (lower(value), upper(value));
            if cfg!(target_endian = "big") {
                [high, low]
            } else {
                [low, high]
            }
        };
        let at = usize::from(POINTER);
        words[at..at + 2].copy_from_slice(&halves(self.pointer));
        for (argument, value) in self.arguments.iter().enumerate() {
            let at = usize::from(ARGUMENTS) + 2 * argument;
            words[at..at + 2].copy_from_slice(&halves(*value));
        }
        words
    }
}

/// The accumulator after a computation; `None` if the kernel ends the program with 0 (a division
/// by zero).
pub(crate) fn compute(operation: Arithmetic, a: u32, b: u32) -> Option<u32> {
    Some(match operation {
        Arithmetic::Add => a.wrapping_add(b),
        Arithmetic::Sub => a.wrapping_sub(b),
        Arithmetic::Mul => a.wrapping_mul(b),
        Arithmetic::Div => return a.checked_div(b),
        Arithmetic::And => a & b,
        Arithmetic::Or => a | b,
        Arithmetic::Xor => a ^ b,
        // The kernel's 32-bit shifts take the operand's low five bits.
        Arithmetic::ShiftLeft => a.wrapping_shl(b),
        Arithmetic::ShiftRight => a.wrapping_shr(b),
    })
}

/// Whether a conditional jump is taken.
pub(crate) const fn holds(test: Test, a: u32, b: u32) -> bool {
    match test {
        Test::Equal => a == b,
        Test::Greater => a > b,
        Test::GreaterOrEqual => a >= b,
        Test::AnyBit => a & b != 0,
    }
}

impl Program {
    /// What the program returns for a call: `SECCOMP_RET_*` with its data.
    pub fn run(&self, call: &Call) -> u32 {
        let words = call.words();
        let (mut a, mut x, mut scratch) = (0, 0, [0; SCRATCH]);
        let mut at = 0;
        loop {
            let operand = |source| match source {
                Source::Constant(k) => k,
                Source::X => x,
            };
            let mut next = at + 1;
            match self.instructions[at] {
                Instruction::LoadWord(word) => a = words[usize::from(word)],
                Instruction::LoadConstant(k) => a = k,
                Instruction::LoadScratch(slot) => a = scratch[usize::from(slot)],
                Instruction::LoadX(k) => x = k,
                Instruction::LoadXScratch(slot) => x = scratch[usize::from(slot)],
                Instruction::Store(slot) => scratch[usize::from(slot)] = a,
                Instruction::StoreX(slot) => scratch[usize::from(slot)] = x,
                Instruction::AToX => x = a,
                Instruction::XToA => a = x,
                Instruction::Compute(operation, source) => {
                    match compute(operation, a, operand(source)) {
                        Some(value) => a = value,
                        None => return 0,
                    }
                }
                Instruction::Negate => a = a.wrapping_neg(),
                Instruction::Jump(to) => next = usize::from(to),
                Instruction::Branch {
                    test,
                    operand: source,
                    then,
                    otherwise,
                } => {
                    let taken = holds(test, a, operand(source));
                    next = usize::from(if taken { then } else { otherwise });
                }
                Instruction::Return(value) => return value,
                Instruction::ReturnA => return a,
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::bpf::tests::program;

    const CALL: Call = Call {
        number: 257,
        arch: 0xc000_003e,
        pointer: 0x1122_3344_5566_7788,
        arguments: [1, 0x2_0000_0003, 3, 4, 5, u64::MAX],
    };

    fn answers(instructions: &[(u16, u8, u8, u32)], expected: u32) {
        assert_eq!(program(instructions).unwrap().run(&CALL), expected);
    }

    #[test]
    fn every_instruction_does_what_the_kernels_does() {
        let loads = [(0, 257), (4, 0xc000_003e), (60, u32::MAX)];
        for (offset, value) in loads {
            answers(&[(0x20, 0, 0, offset), (0x16, 0, 0, 0)], value);
        }
        if cfg!(target_endian = "little") {
            answers(&[(0x20, 0, 0, 24), (0x16, 0, 0, 0)], 3);
            answers(&[(0x20, 0, 0, 28), (0x16, 0, 0, 0)], 2);
            answers(&[(0x20, 0, 0, 8), (0x16, 0, 0, 0)], 0x5566_7788);
        }
        answers(&[(0x80, 0, 0, 0), (0x16, 0, 0, 0)], 64);
        answers(&[(0x81, 0, 0, 0), (0x87, 0, 0, 0), (0x16, 0, 0, 0)], 64);
        let on_six = [
            (0x04, 4, 10),
            (0x14, 4, 2),
            (0x24, 4, 24),
            (0x34, 4, 1),
            (0x44, 9, 15),
            (0x54, 4, 4),
            (0x64, 4, 96),
            (0x74, 1, 3),
            (0xa4, 3, 5),
        ];
        for (code, k, expected) in on_six {
            answers(&[(0, 0, 0, 6), (code, 0, 0, k), (0x16, 0, 0, 0)], expected);
            let by_x = [
                (0, 0, 0, 6),
                (1, 0, 0, k),
                (code | 8, 0, 0, 0),
                (0x16, 0, 0, 0),
            ];
            answers(&by_x, expected);
        }
        answers(
            &[(0, 0, 0, 6), (0x84, 0, 0, 0), (0x16, 0, 0, 0)],
            6_u32.wrapping_neg(),
        );
        // By X: a division by zero ends the program with 0, a shift takes five bits.
        answers(&[(0, 0, 0, 6), (0x3c, 0, 0, 0), (0x06, 0, 0, 9)], 0);
        answers(
            &[
                (0, 0, 0, 6),
                (1, 0, 0, 33),
                (0x6c, 0, 0, 0),
                (0x16, 0, 0, 0),
            ],
            12,
        );
        let through_scratch = [
            (0, 0, 0, 6),
            (0x02, 0, 0, 15),
            (0x61, 0, 0, 15),
            (0x03, 0, 0, 0),
            (0, 0, 0, 1),
            (0x60, 0, 0, 0),
            (0x07, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        answers(&through_scratch, 6);
    }

    #[test]
    fn jumps_go_where_the_kernels_go() {
        for (code, k, taken) in [
            (0x15, 6, true),
            (0x15, 7, false),
            (0x25, 5, true),
            (0x25, 6, false),
            (0x35, 6, true),
            (0x35, 7, false),
            (0x45, 12, true),
            (0x45, 9, false),
        ] {
            let ends = [(0x06, 0, 0, 0), (0x06, 0, 0, 1)];
            answers(
                &[(0, 0, 0, 6), (code, 1, 0, k), ends[0], ends[1]],
                u32::from(taken),
            );
            let by_x = [
                (0, 0, 0, 6),
                (1, 0, 0, k),
                (code | 8, 1, 0, 0),
                ends[0],
                ends[1],
            ];
            answers(&by_x, u32::from(taken));
        }
        answers(&[(0x05, 0, 0, 1), (0x06, 0, 0, 0), (0x06, 0, 0, 1)], 1);
    }
}
