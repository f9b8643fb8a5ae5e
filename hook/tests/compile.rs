//! Filters that libseccomp never finishes compiling: every program refuses them in time with a
//! reason, and leaves no process behind.

#![allow(clippy::unwrap_used)]

use nix::{
    sys::{
        prctl::set_child_subreaper,
        signal::{Signal, kill},
    },
    unistd::{Pid, SysconfVar, sysconf},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const HOOK: &str = env!("CARGO_BIN_EXE_portcullis-hook");
const RUNTIME: &str = env!("CARGO_BIN_EXE_portcullis-runtime");
const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// A call with a rule of three conditions and a later one of two, of an errno that no test has
/// used: findings are remembered.
fn endless() -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let errno = 1 + (now.subsec_micros() + NEXT.fetch_add(1, Ordering::Relaxed)) % 4000;
    let at = |index: u8, op: &str, value: u64| json!({"index": index, "op": op, "value": value});
    let (a, b, c) = (
        at(0, "SCMP_CMP_LT", 9),
        at(2, "SCMP_CMP_GE", 3),
        at(1, "SCMP_CMP_EQ", 1),
    );
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": [a, b, c]},
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": [a, b]}]})
}

/// A node with that profile, and a bundle that selects it and may have it.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("p.json"), endless().to_string()).unwrap();
        let settings = format!(
            "seccomp_root = '{0}'\nwait_ms = 0\ngate_socket = '{0}/none.sock'\n",
            path.display()
        );
        fs::write(path.join("hook.toml"), settings).unwrap();
        Node(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn configured(&self, has_filter: bool) -> String {
        let mut config =
            json!({"process": {}, "linux": {}, "annotations": {POD: "localhost/p.json"}});
        if has_filter {
            let text = fs::read(self.path().join("p.json")).unwrap();
            config["linux"]["seccomp"] = serde_json::from_slice(&text).unwrap();
        }
        fs::write(self.path().join("config.json"), config.to_string()).unwrap();
        config.to_string()
    }

    fn start(program: &str, arguments: &[&str], stdin: &str) -> Child {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(stdin.as_bytes()).unwrap();
        child
    }

    fn hook(&self, verb: &str, stdin: &str) -> Child {
        let settings = self.path().join("hook.toml");
        let settings = settings.to_str().unwrap();
        Node::start(
            HOOK,
            &[verb, "--engine", "podman", "--settings", settings],
            stdin,
        )
    }
}

fn is_refused(child: Child) {
    let output: Output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(
        said.contains("did not finish within 2 s on the rules for mkdir"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_filter_without_an_end_is_neither_set_nor_accepted() {
    let node = Node::new();
    is_refused(node.hook("inject", &node.configured(false)));
    node.configured(true);
    let state = json!({"ociVersion": "1.0.2", "id": "ID", "status": "created", "pid": 1,
        "bundle": node.path()});
    is_refused(node.hook("verify", &state.to_string()));
    node.configured(false);
    let (folder, settings) = (node.path(), node.path().join("hook.toml"));
    let arguments = [
        "--portcullis-config",
        settings.to_str().unwrap(),
        "--portcullis-engine=podman",
        "--portcullis-runtime=/bin/true",
        "create",
        "--bundle",
        folder.to_str().unwrap(),
        "ID",
    ];
    is_refused(Node::start(RUNTIME, &arguments, ""));
}

/// The processes that compile for another one.
fn compiling_for(parent: u32) -> Vec<u32> {
    let is_of = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line == format!("portcullis-compile\0{parent}\0").as_bytes()
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_of)
        .collect()
}

/// Waits until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What `/proc` says of a process behind its name (`stat`, proc(5)): its state comes first.
fn fields(process: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process is there and runs; one that has ended waits for its parent to be told.
fn runs(process: u32) -> bool {
    let state = fields(process).into_iter().next();
    state.is_some_and(|state| !matches!(&*state, "Z" | "X"))
}

/// The processor time that a process has used.
fn time_used(process: u32) -> Duration {
    let fields = fields(process);
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    let second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_millis(ticks * 1000 / u64::try_from(second).unwrap())
}

#[test]
fn who_compiles_ends_with_whom_it_compiles_for() {
    // Orphans become this process's children, and stay until it has asked how they ended.
    set_child_subreaper(true).unwrap();
    // The hook gives up after a while, maybe before this test has looked.
    let seen = (0..20).find_map(|_| {
        let node = Node::new();
        let config = node.configured(false);
        let mut hook = node.hook("inject", &config);
        let mut compiling = Vec::new();
        until("the hook does not end", || {
            compiling = compiling_for(hook.id());
            !compiling.is_empty() || hook.try_wait().unwrap().is_some()
        });
        let id = i32::try_from(hook.id()).unwrap();
        // Nothing of the hook's own runs after that.
        let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        hook.wait().unwrap();
        (!compiling.is_empty()).then_some(compiling)
    });
    let [compiling] = seen.expect("somebody compiles")[..] else {
        panic!("several compile");
    };
    until("it outlives the hook", || !runs(compiling));
    // The hook would have ended it after 2 s, and left to itself it would have ended after 3 s of the
    // processor's time.
    assert!(time_used(compiling) < Duration::from_millis(2500));
}

#[test]
fn nobody_compiles_without_somebody_to_compile_for() {
    for program in [HOOK, RUNTIME] {
        for parent in [&[][..], &["1"], &["x"]] {
            use std::os::unix::process::CommandExt;
            let output = Command::new(program)
                .arg0("portcullis-compile")
                .args(parent)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(!output.status.success() && output.stdout.is_empty());
        }
    }
}
