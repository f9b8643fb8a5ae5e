//! A classic BPF program as `seccomp(2)` takes it: decoding, and the kernel's own checks
//! (`bpf_check_classic` in `net/core/filter.c`, `seccomp_check_filter` in `kernel/seccomp.c`).

/// The maximum number of instructions that the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The size of `struct sock_filter`, in bytes.
pub const INSTRUCTION_BYTES: usize = 8;

/// The size of `struct seccomp_data`, which is all that a program can load, in bytes.
pub const DATA_BYTES: u32 = 64;

/// Scratch words, `M[0]` to `M[15]`.
pub(crate) const SCRATCH: usize = 16;

/// Why bytes are not a program that the kernel would load as a seccomp filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Not a whole number of instructions.
    #[error("{0} bytes are not a whole number of 8-byte instructions")]
    Length(usize),
    /// No instruction, or more than the kernel accepts.
    #[error("{0} instructions; the kernel takes 1 to {MAX_INSTRUCTIONS}")]
    Size(usize),
    /// An instruction that no seccomp program may have.
    #[error("instruction {at}: code {code:#06x} is not allowed in a seccomp program")]
    Code {
        /// Its position, from 0.
        at: usize,
        /// Its `code`.
        code: u16,
    },
    /// A jump past the last instruction.
    #[error("instruction {0}: jumps out of the program")]
    Jump(usize),
    /// A load of something else than an aligned word of `struct seccomp_data`.
    #[error("instruction {at}: loads from offset {offset}")]
    Load {
        /// Its position, from 0.
        at: usize,
        /// The offset.
        offset: u32,
    },
    /// A scratch word that does not exist, or that may be read before it is written.
    #[error("instruction {at}: uses M[{slot}], which does not exist or may not be set")]
    Scratch {
        /// Its position, from 0.
        at: usize,
        /// Its number.
        slot: u32,
    },
    /// A division by zero or a shift by more than 31.
    #[error("instruction {at}: operand {operand} is out of range")]
    Operand {
        /// Its position, from 0.
        at: usize,
        /// The constant.
        operand: u32,
    },
    /// The last instruction does not return.
    #[error("the last instruction does not return")]
    NoReturn,
}

/// The second operand of a computation or comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Constant(u32),
    /// The index register.
    X,
}

/// What an arithmetic instruction does to the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// What a conditional jump compares the accumulator with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Any bit in common.
    AnyBit,
}

/// One instruction, with absolute jump targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// `A` is the word of `struct seccomp_data` with this number, counted from 0.
    LoadWord(u8),
    LoadConstant(u32),
    LoadScratch(u8),
    LoadX(u32),
    LoadXScratch(u8),
    Store(u8),
    StoreX(u8),
    AToX,
    XToA,
    Compute(Arithmetic, Source),
    Negate,
    Jump(u16),
    Branch {
        test: Test,
        operand: Source,
        then: u16,
        otherwise: u16,
    },
    Return(u32),
    ReturnA,
}

/// A program that the kernel would load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
}

impl Program {
    /// Decodes an array of `struct sock_filter` in the host's byte order and checks it as the
    /// kernel would.
    ///
    /// # Errors
    /// The kernel would not load it.
    pub fn parse(bytes: &[u8]) -> Result<Program, ProgramError> {
        if !bytes.len().is_multiple_of(INSTRUCTION_BYTES) {
            return Err(ProgramError::Length(bytes.len()));
        }
        let count = bytes.len() / INSTRUCTION_BYTES;
        if !(1..=MAX_INSTRUCTIONS).contains(&count) {
            return Err(ProgramError::Size(count));
        }
        let instructions = bytes
            .chunks_exact(INSTRUCTION_BYTES)
            .enumerate()
            .map(|(at, raw)| decode(raw, at, count))
            .collect::<Result<Vec<_>, _>>()?;
        if !matches!(
            instructions[count - 1],
            Instruction::Return(_) | Instruction::ReturnA
        ) {
            return Err(ProgramError::NoReturn);
        }
        check_scratch(&instructions)?;
        Ok(Program { instructions })
    }

    /// The number of instructions.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(&self) -> usize {
        self.instructions.len()
    }
}

/// `code` of `struct sock_filter` (`include/uapi/linux/bpf_common.h`): class, then operation, size
/// or source.
mod code {
    pub(super) const LD_W_ABS: u16 = 0x20;
    pub(super) const LD_W_LEN: u16 = 0x80;
    pub(super) const LDX_W_LEN: u16 = 0x81;
    pub(super) const LD_IMM: u16 = 0x00;
    pub(super) const LDX_IMM: u16 = 0x01;
    pub(super) const LD_MEM: u16 = 0x60;
    pub(super) const LDX_MEM: u16 = 0x61;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const NEG: u16 = 0x84;
    pub(super) const JA: u16 = 0x05;
    pub(super) const RET_K: u16 = 0x06;
    pub(super) const RET_A: u16 = 0x16;
    pub(super) const TAX: u16 = 0x07;
    pub(super) const TXA: u16 = 0x87;
    /// Set where the second operand is X.
    pub(super) const X: u16 = 0x08;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
}

fn decode(raw: &[u8], at: usize, count: usize) -> Result<Instruction, ProgramError> {
    let code = u16::from_ne_bytes([raw[0], raw[1]]);
    let (if_true, if_false) = (usize::from(raw[2]), usize::from(raw[3]));
    let k = u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]);
    let target = |distance: usize| {
        (at + 1)
            .checked_add(distance)
            .filter(|place| *place < count)
            .and_then(|place| u16::try_from(place).ok())
            .ok_or(ProgramError::Jump(at))
    };
    let slot = || {
        u8::try_from(k)
            .ok()
            .filter(|slot| usize::from(*slot) < SCRATCH)
            .ok_or(ProgramError::Scratch { at, slot: k })
    };
    let source = if code & code::X == 0 {
        Source::Constant(k)
    } else {
        Source::X
    };
    Ok(match code {
        code::LD_W_ABS => {
            if k >= DATA_BYTES || !k.is_multiple_of(4) {
                return Err(ProgramError::Load { at, offset: k });
            }
            Instruction::LoadWord(u8::try_from(k / 4).unwrap_or(u8::MAX))
        }
        code::LD_W_LEN => Instruction::LoadConstant(DATA_BYTES),
        code::LDX_W_LEN => Instruction::LoadX(DATA_BYTES),
        code::LD_IMM => Instruction::LoadConstant(k),
        code::LDX_IMM => Instruction::LoadX(k),
        code::LD_MEM => Instruction::LoadScratch(slot()?),
        code::LDX_MEM => Instruction::LoadXScratch(slot()?),
        code::ST => Instruction::Store(slot()?),
        code::STX => Instruction::StoreX(slot()?),
        code::TAX => Instruction::AToX,
        code::TXA => Instruction::XToA,
        code::NEG => Instruction::Negate,
        code::JA => Instruction::Jump(target(usize::try_from(k).unwrap_or(usize::MAX))?),
        code::RET_K => Instruction::Return(k),
        code::RET_A => Instruction::ReturnA,
        _ => {
            let refused = ProgramError::Code { at, code };
            // A code consists of only a class, a source and the four bits of the operation.
            match (code & 0x07, code & 0xf0, code & !0xff) {
                (code::ALU, operation, 0) => {
                    let operation = arithmetic(operation).ok_or(refused)?;
                    check_operand(operation, source, at)?;
                    Instruction::Compute(operation, source)
                }
                (code::JMP, operation, 0) => Instruction::Branch {
                    test: test(operation).ok_or(refused)?,
                    operand: source,
                    then: target(if_true)?,
                    otherwise: target(if_false)?,
                },
                _ => return Err(refused),
            }
        }
    })
}

fn arithmetic(operation: u16) -> Option<Arithmetic> {
    Some(match operation {
        0x00 => Arithmetic::Add,
        0x10 => Arithmetic::Sub,
        0x20 => Arithmetic::Mul,
        0x30 => Arithmetic::Div,
        0x40 => Arithmetic::Or,
        0x50 => Arithmetic::And,
        0x60 => Arithmetic::ShiftLeft,
        0x70 => Arithmetic::ShiftRight,
        0xa0 => Arithmetic::Xor,
        _ => return None,
    })
}

fn test(operation: u16) -> Option<Test> {
    Some(match operation {
        0x10 => Test::Equal,
        0x20 => Test::Greater,
        0x30 => Test::GreaterOrEqual,
        0x40 => Test::AnyBit,
        _ => return None,
    })
}

fn check_operand(operation: Arithmetic, source: Source, at: usize) -> Result<(), ProgramError> {
    let Source::Constant(operand) = source else {
        return Ok(());
    };
    let refused = match operation {
        Arithmetic::Div => operand == 0,
        Arithmetic::ShiftLeft | Arithmetic::ShiftRight => operand >= 32,
        _ => false,
    };
    if refused {
        return Err(ProgramError::Operand { at, operand });
    }
    Ok(())
}

/// Refuses a program that may read a scratch word before writing it, as the kernel's
/// `check_load_and_stores` does.
fn check_scratch(instructions: &[Instruction]) -> Result<(), ProgramError> {
    // Which words are certainly written before each instruction.
    let mut before = vec![u16::MAX; instructions.len()];
    let mut written: u16 = 0;
    for (at, instruction) in instructions.iter().enumerate() {
        written &= before[at];
        match *instruction {
            Instruction::Store(slot) | Instruction::StoreX(slot) => written |= 1 << slot,
            Instruction::LoadScratch(slot) | Instruction::LoadXScratch(slot)
                if written & (1 << slot) == 0 =>
            {
                let slot = u32::from(slot);
                return Err(ProgramError::Scratch { at, slot });
            }
            Instruction::Jump(to) => {
                before[usize::from(to)] &= written;
                written = u16::MAX;
            }
            Instruction::Branch {
                then, otherwise, ..
            } => {
                before[usize::from(then)] &= written;
                before[usize::from(otherwise)] &= written;
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One `struct sock_filter`.
    pub(crate) fn raw(code: u16, if_true: u8, if_false: u8, k: u32) -> Vec<u8> {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([if_true, if_false]);
        bytes.extend(k.to_ne_bytes());
        bytes
    }

    pub(crate) fn program(instructions: &[(u16, u8, u8, u32)]) -> Result<Program, ProgramError> {
        let bytes: Vec<u8> = instructions
            .iter()
            .flat_map(|&(code, if_true, if_false, k)| raw(code, if_true, if_false, k))
            .collect();
        Program::parse(&bytes)
    }

    const RETURN: (u16, u8, u8, u32) = (0x06, 0, 0, 0x7fff_0000);

    #[track_caller]
    fn rejects(instructions: &[(u16, u8, u8, u32)], expected: &ProgramError) {
        assert_eq!(&program(instructions).unwrap_err(), expected);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        assert_eq!(Program::parse(&[0; 12]), Err(ProgramError::Length(12)));
        assert_eq!(Program::parse(&[]), Err(ProgramError::Size(0)));
        let long = vec![RETURN; MAX_INSTRUCTIONS + 1];
        rejects(&long, &ProgramError::Size(MAX_INSTRUCTIONS + 1));
        rejects(&[(0x20, 0, 0, 0)], &ProgramError::NoReturn);
        for offset in [64, 2, u32::MAX] {
            let at = 0;
            rejects(
                &[(0x20, 0, 0, offset), RETURN],
                &ProgramError::Load { at, offset },
            );
        }
        // LD H ABS, LD W IND, MOD K, RET X, an unknown class bit, JSLT of eBPF.
        for code in [0x28, 0x40, 0x94, 0x0e, 0x120, 0xc5] {
            rejects(
                &[(code, 0, 0, 1), RETURN],
                &ProgramError::Code { at: 0, code },
            );
        }
        rejects(&[(0x05, 0, 0, 1), RETURN], &ProgramError::Jump(0));
        rejects(&[(0x05, 0, 0, u32::MAX), RETURN], &ProgramError::Jump(0));
        rejects(&[(0x15, 0, 1, 7), RETURN], &ProgramError::Jump(0));
        rejects(
            &[(0x34, 0, 0, 0), RETURN],
            &ProgramError::Operand { at: 0, operand: 0 },
        );
        rejects(
            &[(0x74, 0, 0, 32), RETURN],
            &ProgramError::Operand { at: 0, operand: 32 },
        );
        rejects(
            &[(0x60, 0, 0, 3), RETURN],
            &ProgramError::Scratch { at: 0, slot: 3 },
        );
        rejects(
            &[(0x02, 0, 0, 16), RETURN],
            &ProgramError::Scratch { at: 0, slot: 16 },
        );
    }

    #[test]
    fn a_scratch_word_must_be_written_on_every_path() {
        let on_one_path = [(0x15, 0, 1, 0), (0x02, 0, 0, 2), (0x60, 0, 0, 2), RETURN];
        rejects(&on_one_path, &ProgramError::Scratch { at: 2, slot: 2 });
        assert!(
            program(&[
                (0x02, 0, 0, 2),
                (0x15, 0, 1, 0),
                (0x00, 0, 0, 1),
                (0x60, 0, 0, 2),
                RETURN
            ])
            .is_ok()
        );
    }

    #[test]
    fn the_longest_program_is_taken() {
        assert_eq!(
            program(&vec![RETURN; MAX_INSTRUCTIONS]).unwrap().len(),
            MAX_INSTRUCTIONS
        );
    }
}
