//! What is told of a document: warnings, all problems at once, and in which form.

use super::{entry, text, warns};
use crate::Document;
use serde_json::json;

#[test]
fn a_kernel_version_is_said_to_be_ignored() {
    for (written, shown) in [(json!("five"), "\"five\""), (json!(5), "a number")] {
        let line = format!(
            "syscalls[0].includes.minKernel: {shown} is not a kernel version such as \"5.10\"; \
             CRI-O and Podman ignore `minKernel`"
        );
        warns(
            &entry(&json!({"includes": {"minKernel": written}})),
            &[&line],
        );
    }
    warns(
        &entry(&json!({"includes": {"minKernel": "4.8"}})),
        &["syscalls[0].includes.minKernel: CRI-O and Podman ignore `minKernel`"],
    );
}

#[test]
fn what_is_ignored_or_never_matches_is_a_warning() {
    warns(
        &json!({"defaultAction": "SCMP_ACT_LOG", "$schema": "x", "sycsalls": []}),
        &[
            "unknown key \"$schema\" is ignored",
            "unknown key \"sycsalls\" is ignored (did you mean \"syscalls\"?)",
        ],
    );
    warns(
        &json!({"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "m"}),
        &["`listenerMetadata` is ignored without a `listenerPath`"],
    );
    warns(
        &entry(&json!({"errNumber": 5, "includes": {"cap": ["CAP_CHOWN"]}})),
        &[
            "syscalls[0]: unknown key \"errNumber\" is ignored",
            "syscalls[0].includes: unknown key \"cap\" is ignored (did you mean \"caps\"?)",
        ],
    );
    warns(
        &entry(&json!({
            "includes": {"caps": ["SYS_ADMIN"]},
            "excludes": {"caps": ["CAP_SYS_ADMN"], "arches": ["SCMP_ARCH_X86_64", "x86_64"]},
        })),
        &[
            "syscalls[0].includes.caps[0]: unknown capability \"SYS_ADMIN\" never matches (did \
             you mean \"CAP_SYS_ADMIN\"?)",
            "syscalls[0].excludes.caps[0]: unknown capability \"CAP_SYS_ADMN\" never matches (did \
             you mean \"CAP_SYS_ADMIN\"?)",
            "syscalls[0].excludes.arches[0]: unknown architecture \"SCMP_ARCH_X86_64\" never \
             matches (did you mean \"amd64\"?)",
            "syscalls[0].excludes.arches[1]: unknown architecture \"x86_64\" never matches (did \
             you mean \"amd64\"?)",
        ],
    );
}

#[test]
fn every_problem_is_told_in_the_order_of_the_document() {
    let document = json!({
        "defaultAction": "DENY",
        "syscalls": [
            {"names": ["raed"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 9}]},
            {"action": "SCMP_ACT_NOTIFY"},
        ],
    });
    let problems = Document::problems(&text(&document));
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "defaultAction: unknown action \"DENY\"",
            "syscalls[0].names[0]: unknown system call \"raed\" (did you mean \"read\"?)",
            "syscalls[0].args[0].index: must be a whole number from 0 to 5",
            "syscalls[0].args[0]: `op` is missing",
            "syscalls[1]: `names` is missing",
            "syscalls[1].action: SCMP_ACT_NOTIFY needs a `listenerPath`",
        ],
    );
    assert_eq!(Document::parse(&text(&document)), Err(problems[0].clone()));
}

#[test]
fn a_message_is_one_bounded_line_whatever_the_document_says() {
    let nasty = "\u{1b}[31m\n\u{202e}\0\"".repeat(10_000);
    for document in [
        json!({"defaultAction": nasty}),
        entry(&json!({"names": [nasty]})),
        entry(&json!({"errno": nasty})),
    ] {
        let line = Document::parse(&text(&document))
            .expect_err("refused")
            .to_string();
        assert!(line.len() < 700, "{} bytes", line.len());
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{line}"
        );
    }
    for document in [
        json!({"defaultAction": "SCMP_ACT_LOG", &nasty: 1}),
        entry(&json!({"includes": {"minKernel": nasty}})),
    ] {
        let warned = Document::parse(&text(&document));
        let line = warned.expect("valid").warnings()[0].to_string();
        assert!(
            line.len() < 700 && !line.contains(char::is_control),
            "{line}"
        );
    }
}

#[test]
fn a_document_of_mistakes_alone_is_read_quickly() {
    let names = vec!["opneat".to_owned(); 100_000];
    let keys: serde_json::Map<_, _> = (0..50_000).map(|n| (format!("k{n}"), json!(1))).collect();
    let mut document = entry(&json!({"names": names}));
    document.as_object_mut().expect("an object").extend(keys);
    let document = text(&document);
    let start = std::time::Instant::now();
    assert_eq!(Document::problems(&document).len(), 100);
    assert!(Document::parse(&document).is_err());
    // A nearest name for each would take minutes.
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}
