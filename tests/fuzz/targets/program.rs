//! BPF programs: what parses runs to an end, and the walk, which is bounded, says of each call what
//! the interpreter says, in exactly one part.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::{
    Action, Arch, Filter, Rule,
    filter::reader::Runtime,
    program::{Program, check, interpret::Call, partition::Partition},
};

/// Calls whose words are the constants of the program, where comparisons turn.
fn calls(bytes: &[u8]) -> impl Iterator<Item = Call> {
    let constants: Vec<u32> = bytes
        .chunks_exact(8)
        .map(|instruction| {
            u32::from_le_bytes([
                instruction[4],
                instruction[5],
                instruction[6],
                instruction[7],
            ])
        })
        .take(64)
        .collect();
    (0..constants.len() * 4).map(move |turn| {
        let word = |at: usize| {
            let constant = constants[(turn + at * (1 + turn / 7)) % constants.len()];
            match (turn + at) % 4 {
                0 => constant,
                1 => constant.wrapping_add(1),
                2 => constant.wrapping_sub(1),
                _ => 0,
            }
        };
        let argument = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 1));
        Call {
            number: word(0),
            arch: word(1),
            pointer: 0,
            arguments: [2, 4, 6, 8, 10, 12].map(argument),
        }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let program = match Program::parse(bytes) {
        Ok(program) => program,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let rule = |name: &str, action| Rule {
        names: vec![name.to_owned()],
        action,
        errno_ret: None,
        args: Vec::new(),
    };
    // Whatever the program is, it is compared with a filter without a panic.
    let filter = Filter {
        architectures: vec![Arch::X86_64, Arch::X86, Arch::X32],
        syscalls: vec![
            rule("read", Action::Allow),
            rule("socket", Action::KillProcess),
        ],
        ..Filter::new(Action::Errno)
    };
    for runtime in [Runtime::Crun, Runtime::Runc] {
        if let Err(error) = check(&filter, &program, runtime) {
            assert!(!error.to_string().is_empty());
        }
    }
    // Partitions of thousands of parts are tried by the tests; here the parts are compared one by
    // one.
    if bytes.len() > 8 * 200 {
        return;
    }
    let Ok(partition) = Partition::of(&program) else {
        return;
    };
    for call in calls(bytes) {
        let answers: Vec<u32> = partition.answers(&call).collect();
        assert_eq!(answers, [program.run(&call)], "{call:?}");
    }
    for (call, answer) in partition.samples().take(1_000) {
        assert_eq!(program.run(&call), answer, "{call:?}");
    }
});
