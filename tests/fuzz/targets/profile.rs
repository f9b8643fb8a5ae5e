//! Profile documents: what parses resolves the same each time, is written and read back as an
//! equal filter, and compares without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_profile::{
    Action, Arch, Context, Difference, Document, Engine, Filter,
    compare::subset::allows_no_more_than,
    document::kernel::KernelVersion,
    equal, parse_filter,
    program::compile::{in_child, unknown_to_runtime},
};

fuzz_target!(init: {
    // Comparing compiles, which is another process of this program.
    if in_child().is_some() {
        std::process::exit(0);
    }
}, |text: &[u8]| {
    let _ = parse_filter(text);
    let problems = Document::problems(text);
    let Ok(document) = Document::parse(text) else {
        assert!(!problems.is_empty());
        return;
    };
    assert!(problems.is_empty(), "{problems:?}");
    let bounding = ["CAP_SYS_ADMIN".to_owned()];
    for engine in Engine::ALL {
        let context = Context {
            engine,
            native: Arch::HOST,
            bounding: Some(&bounding),
            kernel: KernelVersion {
                version: 5,
                revision: 10,
            },
        };
        let _ = document.warnings_in(&context);
        let Ok(filter) = document.resolve(&context) else {
            continue;
        };
        let _ = unknown_to_runtime(&filter);
        let other = Filter::new(Action::Allow);
        let _ = Difference::between(&filter, &other).to_string();
        let _ = allows_no_more_than(&filter, &other);
        let json = serde_json::to_vec(&filter).expect("a filter is JSON");
        if let Ok(again) = parse_filter(&json) {
            assert!(equal(&filter, &again).unwrap_or(true), "{filter:?}");
        }
    }
});
