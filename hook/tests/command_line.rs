//! Compares the command line parser with the real crun and runc: they open the `config.json` in the
//! bundle that the parser names, or the parser refuses the line.
//!
//! Every `config.json` is invalid, so no container is created; strace shows which one is opened.
#![allow(clippy::unwrap_used)] // a panic is the failure

use portcullis_hook::oci::command_line::{Command as Wanted, CommandLine, Runtime};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{
    cell::Cell,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Groups of words: options in every spelling that one of both might honour, and what could be
/// mistaken for one.
const GLOBALS: &[&[&str]] = &[
    &["--debug"],
    &["-debug"],
    &["--deb"],
    &["--systemd-cgroup"],
    &["--log-format", "json"],
    &["--log-format=json"],
    &["--log-f", "json"],
    &["--log", "log"],
    &["-log", "log"],
    &["--rootless=true"],
    &["--criu", "create"],
    &["--"],
    &["--version"],
    &["-v"],
    &["--new=create"],
    &["list"],
];
const VERBS: &[&[&str]] = &[&["create"], &["run"], &["restore"]];
const LOCALS: &[&[&str]] = &[
    &["--bundle", "a"],
    &["--bundle=b"],
    &["-b", "a"],
    &["-bb"],
    &["-b=b"],
    &["-bundle", "b"],
    &["-bundle=a"],
    &["--b", "b"],
    &["--bund=a"],
    &["--bun", "b"],
    &[" --bundle=b"],
    &["--bundle=b "],
    &["--bundle="],
    &["--bundle"],
    &["---bundle=a"],
    &["--bundle", "--"],
    &["--bundle", "-b"],
    &["-db", "a"],
    &["--pid-file", "p"],
    &["--pid", "p"],
    &["--pid-file", "-"],
    &["--pidfd-socket=s"],
    &["--no-pivot"],
    &["--no-pivot=false"],
    &["--no-pi"],
    &["--no-new-keyring"],
    &["--preserve-fds", "1"],
    &["--preserve-fds=-1"],
    &["-d"],
    &["--detach"],
    &["--keep"],
    &["--config", "config.json"],
    &["--conf=b/config.json"],
    &["-fb/config.json"],
    &["--help"],
    &["--usage"],
    &["-h"],
    &["-?"],
    &["--hel=x"],
    &["--program-name", "create"],
    &["--HANG=0"],
    &["--unknown"],
    &["--unknown=a"],
    &["-1"],
    &["-"],
    &["--"],
    &[""],
    &["a"],
];
const ID: &[&[&str]] = &[&["ID"]];

/// A folder with a `config.json` of its own and one in each of its bundles.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for bundle in [".", "a", "b", "undle", "=b", "=a"] {
            let bundle = folder.path().join(bundle);
            fs::create_dir_all(&bundle).unwrap();
            fs::write(bundle.join("config.json"), "broken").unwrap();
        }
        Folder(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    /// The configurations that a runtime opens.
    fn opened(&self, program: &str, words: &[OsString]) -> Vec<PathBuf> {
        let trace = self.path().join("trace");
        Command::new("strace")
            .args(["-f", "-y", "-qq", "-e", "trace=open,openat,openat2", "-o"])
            .arg(&trace)
            .arg(program)
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let text = fs::read_to_string(&trace).unwrap_or_default();
        let mut opened: Vec<PathBuf> = text
            .lines()
            .filter_map(|line| line.rsplit_once('<')?.1.split_once('>'))
            .map(|(path, _)| PathBuf::from(path))
            .filter(|path| path.file_name() == Some("config.json".as_ref()))
            .filter(|path| path.starts_with(self.path()))
            .collect();
        opened.dedup();
        opened
    }
}

fn group(of: &'static [&'static [&'static str]]) -> impl Strategy<Value = &'static [&'static str]> {
    prop::sample::select(of)
}

fn lines() -> impl Strategy<Value = Vec<OsString>> {
    let locals = |most| prop::collection::vec(group(LOCALS), 0..most);
    (
        prop::collection::vec(group(GLOBALS), 0..2),
        group(VERBS),
        locals(4),
        prop::option::weighted(0.9, group(ID)),
        prop::option::weighted(0.3, group(LOCALS)),
    )
        .prop_map(|(globals, verb, before, id, after)| {
            globals
                .into_iter()
                .chain([verb])
                .chain(before)
                .chain(id)
                .chain(after)
                .flatten()
                .map(OsString::from)
                .collect()
        })
}

/// The configuration that the parser says will be read, if any; an error where it refuses.
fn says(runtime: Runtime, words: &[OsString], folder: &Path) -> Result<Option<PathBuf>, ()> {
    let line = CommandLine::read(runtime, words).map_err(drop)?;
    Ok(match line.command {
        Wanted::Makes(container) => folder
            .join(container.bundle())
            .join("config.json")
            .canonicalize()
            .ok(),
        _ => None,
    })
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: {program} is not installed, so its command line is not compared");
    }
    there
}

fn holds(program: &str, runtime: Runtime, cases: u32) {
    if !is_there("strace") || !is_there(program) {
        return;
    }
    let folder = Folder::new();
    let root = folder.path().join("root");
    let (seen, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&lines(), |line| {
        let words: Vec<OsString> = ["--root".into(), root.clone().into_os_string()]
            .into_iter()
            .chain(line)
            .collect();
        let opened = folder.opened(program, &words);
        seen.set(seen.get() + u32::from(!opened.is_empty()));
        for known in [runtime, Runtime::Other] {
            match says(known, &words, &folder.path()) {
                Err(()) => refused.set(refused.get() + 1),
                Ok(said) => {
                    for path in &opened {
                        prop_assert_eq!(Some(path), said.as_ref(), "{:?}: {:?}", known, words);
                    }
                }
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{program}: {error}");
    }
    // Else nothing has been compared. About one line in six is whole; this is far below what chance gives.
    assert!(
        seen.get() > cases / 30,
        "{program} opened only {}",
        seen.get()
    );
    assert!(refused.get() < cases * 2, "every line was refused");
}

/// Cases for each runtime; `PORTCULLIS_CASES` gives more.
fn cases() -> u32 {
    std::env::var("PORTCULLIS_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(150)
}

#[test]
fn crun_reads_the_bundle_that_the_parser_names() {
    holds("crun", Runtime::Crun, cases());
}

#[test]
fn runc_reads_the_bundle_that_the_parser_names() {
    holds("runc", Runtime::Runc, cases());
}

/// Each spelling by itself, so that none depends on chance, and none that engines write is refused.
#[test]
fn every_spelling_by_itself_is_read_alike_or_refused() {
    for (program, runtime) in [("crun", Runtime::Crun), ("runc", Runtime::Runc)] {
        if !is_there("strace") || !is_there(program) {
            continue;
        }
        let folder = Folder::new();
        let root = folder.path().join("root");
        for (local, after) in LOCALS
            .iter()
            .flat_map(|local| [(*local, false), (*local, true)])
        {
            let id: &[&str] = &["ID"];
            let parts = if after { [id, local] } else { [local, id] };
            let words: Vec<OsString> = [OsString::from("--root"), root.clone().into()]
                .into_iter()
                .chain(["run".into()])
                .chain(parts.concat().into_iter().map(OsString::from))
                .collect();
            let opened = folder.opened(program, &words);
            if let Ok(said) = says(runtime, &words, &folder.path()) {
                assert!(
                    opened.iter().all(|path| Some(path) == said.as_ref()),
                    "{program}: {words:?}: opened {opened:?}, said {said:?}"
                );
            }
            if local.first() == Some(&"--bundle=b") && !after {
                assert_eq!(opened, [folder.path().join("b/config.json")], "{program}");
                assert!(says(runtime, &words, &folder.path()).is_ok());
            }
        }
    }
}
