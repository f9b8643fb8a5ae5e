//! How the programs start, without the standard library's `main`: which shared libraries are loaded
//! before it (since the hook runs for every container, none that only recordings need), and what the
//! standard library would have done.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The shared libraries that an executable asks for (`DT_NEEDED`).
fn needed(program: &str) -> Vec<String> {
    let output = Command::new("readelf")
        .args(["--dynamic", "--wide", program])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').to_owned()))
        .collect()
}

#[test]
fn the_programs_need_libseccomp_and_the_c_library_alone() {
    for program in [
        env!("CARGO_BIN_EXE_portcullis-hook"),
        env!("CARGO_BIN_EXE_portcullis-runtime"),
    ] {
        let needed = needed(program);
        assert!(
            needed.iter().any(|name| name.starts_with("libseccomp.so")),
            "{needed:?}"
        );
        for name in &needed {
            let expected = ["libseccomp.so", "libc.so", "ld-linux"];
            assert!(
                expected.iter().any(|known| name.starts_with(known)),
                "{program} needs {name}"
            );
        }
    }
}

/// Whether the set of signals in this line of a process's status has SIGPIPE.
fn has_sigpipe(status: &str, line: &str) -> bool {
    let set = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap() & 1 << (13 - 1) != 0
}

#[test]
fn closed_output_becomes_dev_null_and_broken_pipes_are_errors() {
    let hook = env!("CARGO_BIN_EXE_portcullis-hook");
    // It waits for the state.
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$0\" verify >&- 2>&-", hook])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let proc = Path::new("/proc").join(child.id().to_string());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        let is_null = |fd: &str| {
            fs::read_link(proc.join("fd").join(fd)).is_ok_and(|to| to == Path::new("/dev/null"))
        };
        let status = fs::read_to_string(proc.join("status")).unwrap();
        if is_null("1") && is_null("2") && has_sigpipe(&status, "SigIgn") {
            break status;
        }
        assert!(Instant::now() < deadline, "outputs or signals: {status}");
        sleep(Duration::from_millis(1));
    };
    assert!(status.starts_with("Name:\tportcullis-hook"), "{status}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(4), "no state");
}

/// Standard output is flushed, also without a line's end.
#[test]
fn all_output_is_written_and_the_code_is_the_programs() {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = run(
        env!("CARGO_BIN_EXE_portcullis-hook"),
        &["completions", "bash"],
    );
    assert_eq!(code, Some(0));
    assert!(text.contains("complete -F"), "{text}");
    let (code, _) = run(env!("CARGO_BIN_EXE_portcullis-runtime"), &["--no-such"]);
    assert_ne!(code, Some(0));
    let empty = env!("CARGO_MANIFEST_DIR");
    let (code, text) = run(
        env!("CARGO_BIN_EXE_portcullis-hook"),
        &["explain", "--bundle", empty],
    );
    assert_eq!((code, &*text), (Some(4), ""));
}
