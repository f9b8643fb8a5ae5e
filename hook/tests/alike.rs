//! The four callers of the evaluator decide alike for every row, engine and setting: `inject`,
//! `portcullis-runtime` and `explain` when applying, `verify` and `explain` when verifying.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const HOOK: &str = env!("CARGO_BIN_EXE_portcullis-hook");
const RUNTIME: &str = env!("CARGO_BIN_EXE_portcullis-runtime");
const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// A node: settings and profiles in a folder.
struct Node {
    folder: tempfile::TempDir,
    engine: &'static str,
}

/// How a program ended and what it printed.
#[derive(Debug)]
struct Ended {
    code: u8,
    stdout: String,
    stderr: String,
}

fn denying(errno: u16) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]})
}

impl Node {
    fn new(engine: &'static str, setting: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("root")).unwrap();
        fs::write(path.join("root/p.json"), denying(61).to_string()).unwrap();
        fs::write(path.join("default.json"), denying(63).to_string()).unwrap();
        let root = path.display();
        let settings = format!(
            "seccomp_root = '{root}/root'\nruntime_default = '{root}/default.json'\nwait_ms = 0\n\
             gate_socket = '{root}/none.sock'\nlog_level = 'error'\n{setting}\n"
        );
        fs::write(path.join("hook.toml"), settings).unwrap();
        Node { folder, engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bundle(&self, config: &Value) -> PathBuf {
        let bundle = self.path("bundle");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    fn hook(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut command = Command::new(HOOK);
        command
            .args(arguments)
            .arg("--settings")
            .arg(self.path("hook.toml"))
            .args(["--engine", self.engine]);
        ended(&mut command, stdin)
    }

    fn explained(&self, bundle: &Path) -> Value {
        let ended = self.hook(
            &["explain", "--json", "--bundle", bundle.to_str().unwrap()],
            "",
        );
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
    }

    fn wrapped(&self, bundle: &Path) -> (Ended, Value) {
        let mut command = Command::new(RUNTIME);
        let settings = self.path("hook.toml");
        command
            .args(["--portcullis-settings", settings.to_str().unwrap()])
            .args(["--portcullis-engine", self.engine])
            .args(["--portcullis-runtime", "/bin/true", "create", "--bundle"])
            .args([bundle.to_str().unwrap(), "ID"]);
        let ended = ended(&mut command, "");
        (ended, read(&bundle.join("config.json")))
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn ended(command: &mut Command, stdin: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses early does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap().try_into().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What `explain` says of one stage: code and message.
fn said(explained: &Value, stage: &str) -> (u8, String) {
    let code = explained[stage]["code"].as_u64().unwrap_or(0);
    let message = explained[stage]["message"].as_str().unwrap();
    (code.try_into().unwrap(), message.to_owned())
}

#[test]
fn of_rules_of_which_one_would_not_be_there_every_caller_names_both() {
    let node = Node::new("cri-o", "");
    let killed = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    fs::write(node.path("root/p.json"), killed.to_string()).unwrap();
    let config = json!({"process": {}, "linux": {"seccomp": killed},
        "annotations": {POD: "localhost/p.json"}});
    let bundle = node.bundle(&config);
    let explained = node.explained(&bundle);
    let state = json!({"ociVersion": "1.0.2", "id": "ID", "status": "created", "pid": 1,
        "bundle": bundle});
    let verified = node.hook(&["verify"], &state.to_string());
    let injected = node.hook(&["inject"], &config.to_string());
    let (wrapped, _) = node.wrapped(&bundle);
    let mut all: Vec<(u8, String)> = ["apply", "verify"].map(|at| said(&explained, at)).into();
    all.extend([verified, injected, wrapped].map(|ended| (ended.code, ended.stderr)));
    for (code, message) in all {
        assert_eq!(code, 7, "{message}");
        for part in [
            "syscalls[1]: mkdir",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_ERRNO (1), which syscalls[0] says",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn every_caller_decides_alike_for_every_row_engine_and_setting() {
    let filters = [
        None,
        Some(json!({})),
        Some(denying(61)),
        Some(denying(62)),
        Some(denying(63)),
        Some(json!([])),
    ];
    let references = [
        None,
        Some("localhost/p.json"),
        Some("localhost/missing.json"),
        Some("localhost/../x"),
        Some("runtime/default"),
        Some("unconfined"),
    ];
    let settings = [
        "",
        "require = 'any-filter'",
        "replace_default = 'any'",
        "replace_default = 'never'",
        "mode = 'warn'",
        "broken = true",
    ];
    let (mut set, mut refused) = (0, 0);
    for engine in ["cri-o", "containerd", "podman"] {
        for setting in settings {
            let node = Node::new(engine, setting);
            for filter in &filters {
                for reference in references {
                    let mut config = json!({"process": {}, "linux": {"x-kept": 1}});
                    if let Some(filter) = filter {
                        config["linux"]["seccomp"] = filter.clone();
                    }
                    if let Some(reference) = reference {
                        config["annotations"] = json!({POD: reference});
                    }
                    let about = format!("{engine} {setting:?} {config}");
                    let bundle = node.bundle(&config);
                    let explained = node.explained(&bundle);

                    let state = json!({"ociVersion": "1.0.2", "id": "ID", "status": "created",
                        "pid": 1, "bundle": bundle})
                    .to_string();
                    let verified = node.hook(&["verify"], &state);
                    let (code, message) = said(&explained, "verify");
                    let starts = code == 0 || setting == "mode = 'warn'";
                    assert_eq!(
                        verified.code,
                        if starts { 0 } else { code },
                        "{about} {verified:?}"
                    );
                    assert!(
                        code == 0 || verified.stderr.contains(&message),
                        "{about} {verified:?}"
                    );

                    let injected = node.hook(&["inject"], &config.to_string());
                    let (wrapped, written) = node.wrapped(&bundle);
                    let (code, message) = said(&explained, "apply");
                    let starts = code == 0 || setting == "mode = 'warn'";
                    for ended in [&injected, &wrapped] {
                        assert_eq!(
                            ended.code,
                            if starts { 0 } else { code },
                            "{about} {ended:?}"
                        );
                        assert!(
                            code == 0 || ended.stderr.contains(&message),
                            "{about} {ended:?}"
                        );
                    }
                    if starts {
                        let printed: Value = serde_json::from_str(&injected.stdout).unwrap();
                        assert_eq!(printed, written, "{about}");
                        set += usize::from(written != config);
                    } else {
                        assert_eq!(
                            (injected.stdout.as_str(), &written),
                            ("", &config),
                            "{about}"
                        );
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(set > 30 && refused > 100, "{set} set, {refused} refused");
}
