//! The gate module is pure: it runs under a kernel filter that kills the process for opening files,
//! connecting, starting processes or waiting, and nothing in its source could read a clock.

use crate::containers::{DEFAULT, DENYING, OTHER, container};
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use portcullis_profile::{
    Engine,
    gate::{Gathered, PresentFilter, Recording, Resolved, Stage, evaluate},
    parse_filter,
    settings::Require,
};
use std::{fs, path::Path, thread};

/// Calls that a pure function never makes.
const FORBIDDEN: [&str; 24] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "stat",
    "newfstatat",
    "statx",
    "readlink",
    "access",
    "read",
    "pread64",
    "write",
    "execve",
    "execveat",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "socket",
    "connect",
    "nanosleep",
    "clock_nanosleep",
    "poll",
    "clock_gettime",
];

fn forbid() {
    let mut context = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    for name in FORBIDDEN {
        let call = ScmpSyscall::from_name(name).unwrap();
        context.add_rule(ScmpAction::KillProcess, call).unwrap();
    }
    context.load().unwrap();
}

/// All facts, so that every path through the evaluator gets to its end.
fn everything() -> Gathered {
    let resolved = |text: &str| Resolved {
        filter: parse_filter(text.as_bytes()).unwrap().into(),
        warnings: vec!["mind this".to_owned()],
    };
    Gathered {
        profile: Some(Ok(resolved(DENYING))),
        engine_default: Some(Ok(Ok(resolved(DEFAULT)))),
        present: Some(Ok(Some(parse_filter(OTHER.as_bytes()).unwrap()))),
        equals_selected: Some(Ok(false)),
        equals_relaxed: Some(Ok(false)),
        equals_as_set_by_nri: Some(Ok(false)),
        equals_default: Some(Ok(true)),
        excess: Some(Ok(None)),
        excess_over_own: Some(Ok(None)),
        effect: Some(Ok(vec!["and this".to_owned()])),
        loaded: Some(Ok(())),
    }
}

#[test]
fn the_evaluator_touches_nothing_outside_of_it() {
    let references = [
        None,
        Some("unconfined"),
        Some("runtime/default"),
        Some("localhost/p.json"),
        Some("localhost/../p.json"),
    ];
    let (all, nothing) = (everything(), Gathered::default());
    let decided = thread::spawn(move || {
        forbid();
        let mut decided = 0;
        for engine in Engine::ALL {
            for reference in references {
                let mut made = container(engine, reference);
                for present in [
                    PresentFilter::None,
                    PresentFilter::Document(OTHER),
                    PresentFilter::EngineDefault,
                    PresentFilter::Unknown,
                ] {
                    for (stage, require) in [
                        (Stage::Apply, Require::None),
                        (Stage::Apply, Require::AnyFilter),
                        (Stage::Verify, Require::None),
                        (Stage::Verify, Require::AnyFilter),
                    ] {
                        for recording in [Recording::Enforced, Recording::Logged] {
                            made.present = present;
                            made.stage = stage;
                            made.settings.require = require;
                            made.recording = recording;
                            made.with_input(|input| {
                                let _ = evaluate(input, &nothing);
                                let evaluation =
                                    evaluate(input, &all).expect("every fact is there");
                                assert!(!evaluation.sentence().is_empty());
                            });
                            decided += 1;
                        }
                    }
                }
            }
        }
        decided
    });
    assert_eq!(decided.join().unwrap(), 3 * 5 * 4 * 4 * 2);
}

#[test]
fn its_source_imports_no_files_processes_threads_or_clocks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gate");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for word in [
            "std::fs",
            "fs::",
            "Command",
            "std::time",
            "Instant",
            "SystemTime",
            "std::thread",
            "std::net",
            "std::os",
            "nix::",
            "libc::",
            "libseccomp::",
            "unsafe",
        ] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 6, "{seen} files");
}
