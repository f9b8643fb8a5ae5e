//! What the walk finds, against the interpreter.

use super::*;
use crate::program::{bpf::tests::program, interpret::Call, partition::Partition};
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
        let Ok(partition) = Partition::of(&program) else { return Ok(()) };
        for call in calls {
            let here: Vec<u32> = partition.answers(&call).collect();
            prop_assert_eq!(here, [program.run(&call)], "{:?}", call);
        }
        for (sample, answer) in partition.samples() {
            prop_assert_eq!(program.run(&sample), answer, "{:?}", sample);
        }
    }
}
