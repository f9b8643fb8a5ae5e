//! How crun and runc parse command lines, form by form. `hook/tests/command_line.rs` compares the
//! same parser with the real ones.

use super::*;
use proptest::prelude::*;

fn read(runtime: Runtime, line: &str) -> Result<CommandLine, CommandLineError> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    CommandLine::read(runtime, &words)
}

fn has_bundle(runtime: Runtime, line: &str, bundle: &str) {
    match read(runtime, line).map(|line| line.command) {
        Ok(Command::Makes(container)) => {
            assert_eq!(container.bundle(), Path::new(bundle), "{runtime:?}: {line}");
            assert_eq!(container.id, "ID", "{runtime:?}: {line}");
        }
        other => panic!("{runtime:?}: {line}: {other:?}"),
    }
}

fn speaks(runtime: Runtime, line: &str) {
    let command = read(runtime, line).map(|line| line.command);
    assert_eq!(command, Ok(Command::Speaks), "{runtime:?}: {line}");
}

fn passes(runtime: Runtime, line: &str) {
    let command = read(runtime, line).map(|line| line.command);
    assert!(
        matches!(command, Ok(Command::Other { .. })),
        "{runtime:?}: {line}: {command:?}"
    );
}

fn refuses(runtime: Runtime, line: &str, part: &str) {
    let message = read(runtime, line).unwrap_err().to_string();
    assert!(message.contains(part), "{runtime:?}: {line}: {message}");
}

const EVERY: [Runtime; 3] = [Runtime::Crun, Runtime::Runc, Runtime::Other];

#[test]
fn what_engines_write_is_read_under_every_runtime() {
    for runtime in EVERY {
        for (line, bundle) in [
            ("--root=/r create --bundle /b --pid-file /p ID", "/b"),
            ("--root /r --log /l --log-format json create -b /b ID", "/b"),
            ("--systemd-cgroup run --bundle=/b --detach ID", "/b"),
            ("--debug create ID", "."),
            (
                "--rootless=true create --console-socket /c --bundle b ID",
                "b",
            ),
            ("create --bundle /a --bundle /b ID", "/b"),
            ("create --bundle /b -- ID", "/b"),
            (
                "restore --bundle /b --image-path /i --work-path /w -d ID",
                "/b",
            ),
            (
                "run --preserve-fds 2 --no-pivot --no-new-keyring --keep -b /b ID",
                "/b",
            ),
        ] {
            has_bundle(runtime, line, bundle);
        }
    }
    has_bundle(
        Runtime::Runc,
        "create --pidfd-socket /s --bundle /b ID",
        "/b",
    );
}

#[test]
fn every_spelling_that_crun_honours_is_honoured() {
    for (line, bundle) in [
        ("create --bund /b ID", "/b"),
        ("create --b=/b ID", "/b"),
        ("create -b/b ID", "/b"),
        ("create -b=/b ID", "=/b"),
        ("create -bundle ID", "undle"),
        ("run -db/b ID", "/b"),
        ("run --det -b /b ID", "/b"),
        ("create --config config.json -b /b ID", "/b"),
        ("create -f config.json -b /b ID", "/b"),
        ("create --program-name x --HANG=0 -b /b ID", "/b"),
        ("-- create -b /b ID", "/b"),
    ] {
        has_bundle(Runtime::Crun, line, bundle);
    }
    match read(Runtime::Crun, "restore -b /b ID /image")
        .unwrap()
        .command
    {
        Command::Makes(container) => assert_eq!(container.id, "ID"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_spelling_that_runc_honours_is_honoured() {
    for (line, bundle) in [
        ("create -bundle /b ID", "/b"),
        ("create -bundle=/b ID", "/b"),
        ("create --b /b ID", "/b"),
        ("create -b=/b ID", "/b"),
        ("create ID --bundle /b", "/b"),
        ("create ID --bundle=/b --no-pivot", "/b"),
        ("-root /r create -bundle /b -pid-file /p ID", "/b"),
        ("create --bundle= ID", "."),
        ("create --bundle /a --bundle= ID", "."),
        ("create --no-pivot=true --bundle /b ID", "/b"),
    ] {
        has_bundle(Runtime::Runc, line, bundle);
    }
}

#[test]
fn help_and_usage_errors_are_the_runtimes_own() {
    for line in [
        "create --help",
        "run --usage",
        "run -?",
        "create --hel ID",
        "--help create ID",
        "--version",
        "-V",
        "create",
        "create --bundle /b",
        "create --bundle",
        "create ID OTHER",
        "create ID --bundle /b",
        "create --no-pivot=x ID",
        "create --bundle= ID",
        "restore",
        "restore A B C",
        "--root /r",
    ] {
        speaks(Runtime::Crun, line);
    }
    for line in [
        "create --help",
        "create -h ID",
        "create --bundle /b",
        "create --bundle",
        "create ID OTHER",
        "--version create ID",
        "--help",
    ] {
        speaks(Runtime::Runc, line);
    }
    for runtime in EVERY {
        assert_eq!(
            CommandLine::read(runtime, &[]).unwrap().command,
            Command::Speaks
        );
    }
}

#[test]
fn what_is_not_known_exactly_is_refused_and_named() {
    let crun = |line, part| refuses(Runtime::Crun, line, part);
    crun("create --unknown /b ID", "--unknown");
    crun("create -x ID", "-x");
    crun("create -d ID", "-d");
    crun("create --con /c ID", "begins with --con;");
    crun("create --no-n --no- ID", "--no-");
    crun("--roo=/r create ID", "begins with --roo;");
    crun("create --config other.json ID", "--config other.json");
    crun("create -fother.json ID", "--config other.json");
    crun("run --conf= ID", "--config");
    crun("--new-option value create -b /b ID", "--new-option");
    crun("creat ID", "\"creat\"");
    let runc = |line, part| refuses(Runtime::Runc, line, part);
    runc("create --bund /b ID", "--bund");
    runc("create -b/b ID", "-b/b");
    runc("create --help=false ID", "--help=false");
    runc("create --config /c ID", "--config");
    runc("--debug=x --new create ID", "--new");
    let other = |line, part| refuses(Runtime::Other, line, part);
    other("create --bund /b ID", "--bund");
    other("create -b/b ID", "-b/b");
    // crun would take "undle" and then find two IDs, so no container comes of it there.
    has_bundle(Runtime::Other, "create -bundle /b ID", "/b");
    other("create -b=/b ID", "differently");
    other("--rootless create --bundle /b ID", "--rootless");
    other("--strace create --bundle /b ID", "--strace");
    let words = ["create", "--bundle"].map(OsString::from);
    let bytes = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![b'/', 0xff]);
    let words = [&words[..], &[bytes, "ID".into()]].concat();
    assert!(matches!(
        CommandLine::read(Runtime::Crun, &words),
        Err(CommandLineError::NotText(_))
    ));
}

#[test]
fn verbs_that_make_no_container_pass() {
    for runtime in EVERY {
        for line in [
            "--root create start ID",
            "start create",
            "--debug exec ID run",
            "exec --process /p --pid-file /q ID",
            "delete --force ID",
            "--new-option state ID",
            "features",
        ] {
            if runtime == Runtime::Other && line.starts_with("--root create") {
                refuses(runtime, line, "--root");
            } else {
                passes(runtime, line);
            }
        }
    }
    passes(Runtime::Other, "--platform=kvm --network=none state ID");
    has_bundle(Runtime::Other, "--platform=kvm create --bundle /b ID", "/b");
}

#[test]
fn a_runtime_is_known_by_its_name() {
    for (path, runtime) in [
        ("/usr/bin/crun", Runtime::Crun),
        ("crun-wasm", Runtime::Crun),
        ("/x/runc", Runtime::Runc),
        ("/x/runc-1.5.1", Runtime::Runc),
        ("/x/runc.real", Runtime::Runc),
        ("/x/crun2", Runtime::Other),
        ("runsc", Runtime::Other),
        ("/crun/youki", Runtime::Other),
        ("", Runtime::Other),
    ] {
        assert_eq!(Runtime::named(Path::new(path)), runtime, "{path}");
    }
}

proptest! {
    #[test]
    fn no_words_make_the_parser_panic(
        words in prop::collection::vec("(create|run|restore|[-=bh? \u{85}é]{0,4}|\\PC{0,6})", 0..8),
    ) {
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        for runtime in EVERY {
            let _ = CommandLine::read(runtime, &words);
        }
    }

    /// If the runtime is unknown, a command line must mean the same under each, or is refused.
    #[test]
    fn an_unknown_runtime_reads_nothing_that_a_known_one_reads_otherwise(
        words in prop::collection::vec(
            prop::sample::select(&[
                "--bundle", "/a", "--bundle=/b", "-b", "-b=/c", "-bundle", "--pid-file", "ID", "--",
                "-", "--no-pivot", "--help", "-d",
            ][..]),
            0..6,
        ),
    ) {
        let words: Vec<OsString> = ["create"].into_iter().chain(words).map(OsString::from).collect();
        if let Ok(CommandLine { command: Command::Makes(either), .. }) =
            CommandLine::read(Runtime::Other, &words)
        {
            for runtime in [Runtime::Crun, Runtime::Runc] {
                match CommandLine::read(runtime, &words).map(|line| line.command) {
                    Ok(Command::Makes(one)) => prop_assert_eq!(&one, &either),
                    Ok(_) => {}
                    Err(error) => prop_assert!(false, "{:?}: {}", words, error),
                }
            }
        }
    }
}
