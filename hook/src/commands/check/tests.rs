//! Where the gate is whole, where something is amiss, and what `check` says of it.

mod stand;

use super::*;
use portcullis_profile::check::Level;
use stand::{BINARY, Stand, VERIFY};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

const HANDLERS: &str = "etc/crio/crio.conf.d/20-portcullis-runtime.conf";

#[test]
fn a_whole_gate_is_whole() {
    let stand = Stand::crio();
    let report = stand.is_good(None);
    let warnings: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Warning)
        .collect();
    // The shipped handlers do not make themselves the default.
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].text.contains("default_runtime = \"crun\""));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn programs_of_a_root_that_is_not_trusted_are_not_executed() {
    let stand = Stand::crio();
    let ran = stand.at("ran");
    let leave_a_trace = format!("touch {}", ran.display());
    for program in [BINARY, "usr/bin/crio"] {
        stand.program(program, &leave_a_trace);
    }
    let report = stand.report_of(None, Arguments::default());
    assert!(!ran.exists());
    let said = |part| report.lines().iter().any(|line| line.contains(part));
    assert!(said("crio, which has defaults of its own, is not executed"));
    assert!(said("not executed below --root"));
    // The same programs, trusted.
    stand.report(None, Arguments::default());
    assert!(ran.exists());
}

/// A change of a whole node, and the problem that is found in it.
type Case = (&'static str, fn(&Stand), &'static str);

fn finds(cases: &[Case], make: fn() -> Stand, engine: Option<Engine>) {
    for (name, change, part) in cases {
        println!("{name}");
        let stand = make();
        change(&stand);
        stand.says(engine, Level::Problem, part);
    }
}

#[test]
fn what_setup_wrote_has_to_fit_and_what_it_took_away_has_to_be_gone() {
    let cases: [Case; 2] = [
        (
            "a handler was taken out, and CRI-O was not restarted",
            |stand| stand.remove(HANDLERS),
            "handler portcullis-crun: CRI-O's files no longer have it",
        ),
        (
            "setup's drop-in is of another configuration",
            |stand| {
                stand.write(
                    "etc/crio/crio.conf.d/99-portcullis.conf",
                    "# Written by \"portcullis-hook setup crio\". Do not edit it.\n# Made from sha256:00\n",
                );
                stand.remove("usr/bin/crio");
            },
            "99-portcullis.conf: CRI-O's configuration has changed since setup made it",
        ),
    ];
    finds(&cases, Stand::crio, None);
}

/// Where ok was said once, and annotated containers started unfiltered or were all refused.
#[test]
fn a_gate_that_is_not_there_is_not_ok() {
    let cases: [Case; 12] = [
        (
            "a handler's own profile is new",
            |stand| {
                let path = stand.at(HANDLERS);
                let text = fs::read_to_string(&path).unwrap();
                let own = text.replace(
                    "\nmonitor_path",
                    "\nseccomp_profile = '/etc/d.json'\nmonitor_path",
                );
                fs::write(path, own).unwrap();
            },
            "handler portcullis-crun: the running CRI-O has another seccomp_profile than its files",
        ),
        (
            "the folder of hook files is another one than CRI-O watches",
            |stand| stand.started(60),
            "hook folder /etc/crio/hooks.d: was made after cri-o started",
        ),
        (
            "the hooks drop-in is missing",
            |stand| {
                stand.remove("etc/crio/crio.conf.d/10-portcullis-hooks.conf");
                stand.asked();
            },
            "a hook that verifies: none for every container in /usr/share/containers/oci/hooks.d",
        ),
        (
            "a later drop-in replaces the list",
            |stand| {
                stand.write(
                    "etc/crio/crio.conf.d/99-own.conf",
                    "[crio.runtime]\nhooks_dir = ['/opt/hooks']\n",
                );
                stand.asked();
            },
            "a hook that verifies: none for every container in /opt/hooks",
        ),
        (
            "the handlers' drop-in is missing",
            |stand| {
                stand.remove(HANDLERS);
                stand.asked();
            },
            "CRI-O's handlers: none leads to portcullis-runtime",
        ),
        (
            "the wrapper is missing",
            |stand| {
                stand.remove("usr/libexec/portcullis/portcullis-runtime");
                stand.asked();
            },
            "handler portcullis-crun: CRI-O's files have it, and the running CRI-O ignores it",
        ),
        (
            "a later drop-in takes the handler's path away",
            |stand| {
                stand.write(
                    "etc/crio/crio.conf.d/99-own.conf",
                    "[crio.runtime.runtimes.portcullis-crun]\nallowed_annotations = ['io.containers.trace-syscall']\n",
                );
                stand.asked();
            },
            "handler portcullis-crun: /usr/bin/crun is not a link to portcullis-runtime; nothing sets a selected filter; \
             set its runtime_path to /usr/libexec/portcullis/portcullis-crun",
        ),
        (
            "the binary is missing",
            |stand| stand.remove(BINARY),
            "does not exist: cri-o skips the hook without a word",
        ),
        (
            "the binary is back, and CRI-O was not told",
            |stand| stand.renew(BINARY),
            "if it was away then, the hook is off; touch /etc/crio/hooks.d/portcullis-verify.json",
        ),
        (
            "the binary's folder is back, and CRI-O was not told",
            |stand| {
                stand.moved("usr/libexec/portcullis");
            },
            "if it was away then, the hook is off",
        ),
        (
            "CRI-O was not restarted",
            |stand| {
                stand.remove("etc/crio/crio.conf.d/10-portcullis-hooks.conf");
                stand.asked();
                stand.ship("crio.conf.d", "etc/crio/crio.conf.d");
            },
            "its files name the hook folder /etc/crio/hooks.d, and it does not use it; systemctl restart crio",
        ),
        (
            "a container started without the hook",
            |stand| stand.container("0123456789abcdef", "cri-o", false, "container"),
            "containers since: 1 started without the hook (0123456789ab)",
        ),
    ];
    finds(&cases, Stand::crio, None);
}

/// The running CRI-O still has the gate, and the next one would not.
#[test]
fn a_gate_that_ends_with_the_running_crio_is_not_ok() {
    let cases: [Case; 2] = [
        (
            "the hooks drop-in is gone, and CRI-O was not restarted",
            |stand| stand.remove("etc/crio/crio.conf.d/10-portcullis-hooks.conf"),
            "its files no longer name the hook folder /etc/crio/hooks.d",
        ),
        (
            "the handlers' drop-in is gone, and CRI-O was not restarted",
            |stand| stand.remove(HANDLERS),
            "handler portcullis-runc: CRI-O's files no longer have it",
        ),
    ];
    finds(&cases, Stand::crio, None);
}

/// A hook file of ours: its stage, its condition, its words after the program's name.
fn hook(stage: &str, when: &str, words: &str) -> String {
    format!(
        r#"{{"version": "1.0.0", "hook": {{"path": "/{BINARY}", "args": ["portcullis-hook", {words}], "timeout": 5}}, "when": {when}, "stages": ["{stage}"]}}"#
    )
}

#[test]
fn a_hook_file_is_read_as_crio_reads_it() {
    let always = r#"{"always": true}"#;
    let verify = r#""verify""#;
    let cases = [
        ("{".to_owned(), "EOF while parsing an object"),
        (
            hook("precreate", always, verify),
            "precreate is Podman's own",
        ),
        (
            hook("createruntime", always, verify),
            "unknown stage \"createruntime\"",
        ),
        (
            hook("poststop", always, verify),
            "verify belongs into stage createRuntime, not poststop",
        ),
        (
            hook("prestart\", \"createRuntime", always, verify),
            "runs more than once",
        ),
        (
            hook(
                "createRuntime",
                r#"{"always": true, "commands": ["sh"]}"#,
                verify,
            ),
            "does not run for every container",
        ),
        (
            hook(
                "createRuntime",
                r#"{"always": true, "hasBindMounts": false}"#,
                verify,
            ),
            "does not run for every container",
        ),
        (
            hook(
                "createRuntime",
                r#"{"always": true, "annotations": {"a": "b"}}"#,
                verify,
            ),
            "does not run for every container",
        ),
        (
            hook("createRuntime", r#"{"allways": true}"#, verify),
            "does not run for every container",
        ),
        (
            hook("createRuntime", r#"{"always": "yes"}"#, verify),
            "always is not true or false",
        ),
        (
            hook("createRuntime", always, r#""verfiy""#),
            "hook.args: error: unrecognized subcommand 'verfiy'",
        ),
        (
            hook("createRuntime", always, r#""verify", "--engine", "podman""#),
            "believes podman's annotations and is read by cri-o",
        ),
        (
            hook("createRuntime", always, verify).replace("\"timeout\": 5", "\"timeout\": 1"),
            "its timeout of 1 s is not more than twice wait_ms = 500",
        ),
        (
            hook("createRuntime", always, verify).replace("1.0.0", "2.0.0"),
            "unknown version \"2.0.0\"",
        ),
        (
            format!(r#"{{"hook": "/{BINARY}", "arguments": ["verify"], "stages": ["prestart"]}}"#),
            "does not run for every container",
        ),
    ];
    for (text, part) in cases {
        let stand = Stand::crio();
        stand.write(VERIFY, &text);
        stand.says(None, Level::Problem, part);
    }
    let stand = Stand::crio();
    let text = hook("createRuntime", always, verify);
    // Keys match in any case, as Go reads them.
    stand.write(
        VERIFY,
        &text
            .replace("\"stages\"", "\"Stages\"")
            .replace("\"when\"", "\"WHEN\""),
    );
    stand.is_good(None);
    symlink("/nonexistent", stand.at("etc/crio/hooks.d/linked.json")).unwrap();
    stand.is_good(None);
    stand.write(VERIFY, &text.replace("\"when\"", "\"wenn\": 1, \"when\""));
    stand.says(None, Level::Warning, "cri-o ignores wenn");
}

#[test]
fn hook_files_of_others_count_where_they_stop_crio_or_hide_ours() {
    let cases: [Case; 4] = [
        (
            "Podman's files",
            |stand| stand.ship("podman-hooks.d", "usr/share/containers/oci/hooks.d"),
            "precreate is Podman's own: CRI-O does not start over it",
        ),
        (
            "a broken file",
            |stand| stand.write("etc/crio/hooks.d/other.json", "{"),
            "hook file /etc/crio/hooks.d/other.json",
        ),
        (
            "a file that hides ours",
            |stand| {
                stand.program("usr/bin/true", "");
                stand.write(
                    "etc/crio/crio.conf.d/99.conf",
                    "[crio.runtime]\nhooks_dir = ['/etc/crio/hooks.d', '/own']\n",
                );
                stand.write(
                    "own/portcullis-verify.json",
                    r#"{"version": "1.0.0", "hook": {"path": "/usr/bin/true"}, "stages": ["poststop"]}"#,
                );
                stand.asked();
            },
            "hides /etc/crio/hooks.d/portcullis-verify.json and runs /usr/bin/true",
        ),
        (
            "a name that runs record after verify",
            |stand| {
                let from = stand.at("etc/crio/hooks.d/portcullis-record.json");
                fs::rename(from, stand.at("etc/crio/hooks.d/zz-record.json")).unwrap();
            },
            "runs after /etc/crio/hooks.d/portcullis-verify.json",
        ),
    ];
    finds(&cases, Stand::crio, None);
}

#[test]
fn what_the_gate_needs_is_looked_at() {
    const SETTINGS: &str = "etc/portcullis/hook.toml";
    let cases: [Case; 12] = [
        (
            "broken settings",
            |s| s.write(SETTINGS, "mod = 1\n"),
            "line 1: unknown field `mod`",
        ),
        (
            "a linked operator folder",
            |s| symlink("/tmp", s.at("var/lib/kubelet/seccomp/operator")).unwrap(),
            "rm /var/lib/kubelet/seccomp/operator",
        ),
        (
            "a default profile that is none",
            |s| s.write("etc/d.json", "{}"),
            "runtime_default /etc/d.json",
        ),
        (
            "no default profile",
            |s| s.remove("etc/d.json"),
            "runtime_default /etc/d.json",
        ),
        (
            "no bpf file system",
            |s| s.write("proc/self/mounts", "sysfs /sys sysfs rw 0 0\n"),
            "mount -t bpf bpf /sys/fs/bpf",
        ),
        (
            "a binary that others may change",
            |s| mode(s, BINARY, 0o777),
            "others than root may change it",
        ),
        (
            "a binary that is not executable",
            |s| mode(s, BINARY, 0o644),
            "is not executable",
        ),
        (
            "a binary that lacks a library",
            |s| s.program(BINARY, "echo no libseccomp >&2; exit 127"),
            "can't be executed (exit status: 127: no libseccomp)",
        ),
        (
            "no runtime behind the wrapper",
            |s| s.remove("usr/bin/runc"),
            "its runtime runc is in none of",
        ),
        (
            "a runtime in hook.toml that is not there",
            |s| s.write(SETTINGS, "[runtimes]\nportcullis-runc = '/none'\n"),
            "its runtime /none: No such file",
        ),
        (
            "no monitor",
            |s| s.remove("usr/libexec/crio/conmon"),
            "monitor_path /usr/libexec/crio/conmon",
        ),
        (
            "configuration that is broken",
            |s| s.write("etc/crio/crio.conf.d/99.conf", "[crio\n"),
            "99.conf, line 1",
        ),
    ];
    finds(&cases, Stand::crio, None);
}

#[test]
fn folders_have_to_be_there_and_to_be_roots_own() {
    for folder in ["var/lib/kubelet/seccomp", "var/lib/portcullis/recordings"] {
        let stand = Stand::crio();
        mode(&stand, folder, 0o777);
        stand.says(None, Level::Problem, &format!("chmod go-w /{folder}"));
        fs::remove_dir(stand.at(folder)).unwrap();
        stand.says(None, Level::Problem, &format!("mkdir -p /{folder}"));
        symlink("/tmp", stand.at(folder)).unwrap();
        stand.says(None, Level::Problem, "is a link to no folder");
        fs::create_dir(stand.at("tmp")).unwrap();
        stand.says(None, Level::Warning, "is a link; make it a folder");
    }
}

#[test]
fn a_path_for_this_platform_that_leads_past_the_wrapper_is_a_problem() {
    let stand = Stand::crio();
    let past = |platform: &str| {
        let handler = "[crio.runtime.runtimes.portcullis-crun]\nruntime_path = '/usr/libexec/portcullis/portcullis-crun'\n";
        let paths = format!("platform_runtime_paths = {{ '{platform}' = '/usr/bin/crun' }}\n");
        stand.write("etc/crio/crio.conf.d/99.conf", &format!("{handler}{paths}"));
        stand.asked();
    };
    let (own, other) = match std::env::consts::ARCH {
        "aarch64" => ("linux/arm64", "linux/amd64"),
        _ => ("linux/amd64", "linux/arm64"),
    };
    past(other);
    stand.says(None, Level::Warning, "past the wrapper to /usr/bin/crun");
    past(own);
    stand.says(None, Level::Problem, "past the wrapper to /usr/bin/crun");
}

#[test]
fn a_default_profile_that_is_no_file_is_a_warning_and_a_handlers_own_is_read() {
    let stand = Stand::crio();
    stand.remove("etc/portcullis/hook.toml");
    stand.says(
        None,
        Level::Warning,
        "CRI-O's default profile: is compiled in",
    );
    stand.write("etc/own.json", "{}");
    let running = fs::read_to_string(stand.at("running.toml")).unwrap();
    let handler = "[crio.runtime.runtimes.portcullis-runc]\n";
    let own = format!("{handler}seccomp_profile = '/etc/own.json'\n");
    stand.write("running.toml", &running.replace(handler, &own));
    stand.says(
        None,
        Level::Problem,
        "CRI-O's seccomp_profile /etc/own.json",
    );
    // What it executes tells it from the others, but not from one that executes the same.
    let ambiguous = |stand: &Stand| {
        let lines = stand.report(None, Arguments::default()).lines();
        lines.iter().any(|line| {
            line.contains(
                "the handlers portcullis-runc, second have one runtime_path and different",
            )
        })
    };
    assert!(!ambiguous(&stand));
    let second = "[crio.runtime.runtimes.second]\n\
                  runtime_path = '/usr/libexec/portcullis/portcullis-runc'\n";
    let both = running.replace(handler, &own) + second;
    stand.write("running.toml", &both);
    assert!(ambiguous(&stand));
}

fn mode(stand: &Stand, path: &str, mode: u32) {
    fs::set_permissions(stand.at(path), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_crio_that_can_not_be_asked_is_known_by_its_command_or_its_files() {
    let stand = Stand::crio();
    stand.remove("usr/bin/crio");
    stand.says(None, Level::Ok, "a hook that verifies");
    stand.says(None, Level::Warning, "the running CRI-O can't be asked");
    // Its files came after this CRI-O started, so it may work by others, however old their contents.
    stand.started(0);
    for file in fs::read_dir(stand.at("etc/crio/crio.conf.d")).unwrap() {
        let file = fs::File::open(file.unwrap().path()).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
    }
    stand.says(
        None,
        Level::Problem,
        "is newer than the running CRI-O; systemctl restart crio",
    );
    stand.remove("proc/100/comm");
    stand.says(None, Level::Warning, "CRI-O: does not run");
    let prints = |own: &str| {
        let default = "[crio.runtime]\nhooks_dir = ['/usr/share/containers/oci/hooks.d']\n[crio.runtime.runtimes.runc]\n";
        stand.write("default.toml", default);
        stand.write("own.toml", own);
        let script =
            "case \"$*\" in *default) f=default;; *--config-dir*config) f=own;; *) exit 3;; esac";
        let root = stand.root.path().display();
        stand.program("usr/bin/crio", &format!("{script}\ncat {root}/$f.toml"));
    };
    prints("# [crio.runtime]\n");
    stand.says(
        None,
        Level::Problem,
        "a hook that verifies: none for every container",
    );
    let files = ["10-portcullis-hooks.conf", "20-portcullis-runtime.conf"]
        .map(|file| fs::read_to_string(stand.at("etc/crio/crio.conf.d").join(file)).unwrap());
    prints(&files.concat());
    stand.is_good(None);
    stand.program("usr/bin/crio", "echo bad >&2; exit 1");
    stand.says(
        None,
        Level::Problem,
        "crio config --default: exit status: 1: bad",
    );
}

/// What the command line names is there after the next start, too.
#[test]
fn options_of_crio_need_not_be_in_its_files() {
    let stand = Stand::crio();
    stand.remove("etc/crio/crio.conf.d/10-portcullis-hooks.conf");
    stand.write(
        "proc/100/cmdline",
        "/usr/bin/crio\0--hooks-dir=/etc/crio/hooks.d\0",
    );
    stand.is_good(None);
}

#[test]
fn what_was_seen_is_said_and_settles_what_times_leave_open() {
    let stand = Stand::crio();
    stand.started(60);
    stand.renew(BINARY);
    stand.stamp(Engine::Podman, "podmans");
    stand.says(None, Level::Problem, "if it was away then, the hook is off");
    stand.stamp(Engine::CriO, "0123456789abcdef");
    stand.is_good(None);
    stand.container("0123456789abcdef", "cri-o", true, "container");
    stand.container("sandbox", "cri-o", false, "sandbox");
    stand.container("podmans", "libpod", false, "");
    fs::create_dir(stand.at("run/crun/no-container")).unwrap();
    let report = stand.is_good(None);
    let lines = report.lines().join("\n");
    assert!(lines.contains("for container 0123456789ab at "), "{lines}");
    assert!(lines.contains("1 were started with the hook"), "{lines}");
}

#[test]
fn containers_from_before_the_hook_are_a_warning() {
    let stand = Stand::crio();
    stand.container("0123456789abcdef", "cri-o", false, "container");
    stand.says(None, Level::Problem, "1 started without the hook");
    stand.renew(VERIFY);
    stand.says(
        None,
        Level::Warning,
        "1 that run were started without the hook",
    );
}

#[test]
fn a_container_of_runc_is_seen_too() {
    let stand = Stand::crio();
    stand.container("0123456789abcdef", "cri-o", false, "container");
    let text = fs::read_to_string(stand.at("run/crun/0123456789abcdef/status")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    let label = format!("bundle={}", status["bundle"].as_str().unwrap());
    let state =
        serde_json::json!({ "created": status["created"], "config": { "labels": ["a=b", label] } });
    stand.write("run/runc/0123456789abcdef/state.json", &state.to_string());
    fs::remove_dir_all(stand.at("run/crun")).unwrap();
    stand.says(
        None,
        Level::Problem,
        "1 started without the hook (0123456789ab)",
    );
}

#[test]
fn no_container_hides_behind_the_size_of_its_configuration_or_one_that_can_not_be_read() {
    let stand = Stand::crio();
    stand.container("0123456789abcdef", "cri-o", false, "container");
    let status = fs::read_to_string(stand.at("run/crun/0123456789abcdef/status")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let config = format!("{}/config.json", status["bundle"].as_str().unwrap());
    let config = config.trim_start_matches('/');
    let text = fs::read_to_string(stand.at(config)).unwrap();
    let mut large: serde_json::Value = serde_json::from_str(&text).unwrap();
    large["process"]["args"] = "x".repeat(2 * 1024 * 1024).into();
    stand.write(config, &large.to_string());
    stand.says(None, Level::Problem, "1 started without the hook");
    stand.write(config, "{");
    stand.says(None, Level::Warning, "1 can't be looked at");
    stand.write(config, &text);
    stand.write("run/crun/0123456789abcdef/status", "{}");
    stand.says(None, Level::Warning, "does not say where its bundle is");
}

#[test]
fn podmans_hooks_count_where_containers_conf_names_their_folder() {
    let podman = Some(Engine::Podman);
    let report = Stand::podman().is_good(podman);
    let levels = report.findings.iter().map(|finding| finding.level);
    assert_eq!(levels.max(), Some(Level::Ok), "{:#?}", report.lines());
    let cases: [Case; 5] = [
        (
            "containers.conf does not name the folder",
            |s| s.remove("etc/containers/containers.conf.d/50-portcullis.conf"),
            "none for every container in /usr/share/containers/oci/hooks.d, /etc/containers/oci/hooks.d",
        ),
        (
            "a later drop-in replaces the list",
            |s| {
                s.write(
                    "etc/containers/containers.conf.d/60.conf",
                    "[engine]\nhooks_dir = ['/x']\n",
                );
            },
            "none for every container in /x",
        ),
        (
            "containers.conf is broken",
            |s| s.write("etc/containers/containers.conf", "[engine\n"),
            "/etc/containers/containers.conf: line 1",
        ),
        (
            "CRI-O's files",
            |s| s.ship("hooks.d", "etc/portcullis/podman-hooks.d"),
            "believes cri-o's annotations and is read by podman",
        ),
        (
            "the binary is missing",
            |s| s.remove(BINARY),
            "podman skips the hook without a word",
        ),
    ];
    finds(&cases, Stand::podman, podman);
}

#[test]
fn hooks_that_only_the_command_line_names_are_a_warning() {
    let stand = Stand::podman();
    stand.remove("etc/containers/containers.conf.d/50-portcullis.conf");
    let arguments = Arguments {
        hooks: vec!["/etc/portcullis/podman-hooks.d".into()],
        ..Arguments::default()
    };
    let report = stand.report(Some(Engine::Podman), arguments);
    assert!(report.good, "{:#?}", report.lines());
    let forgets = |line: &String| line.starts_with("warning") && line.contains("forgets it");
    assert!(report.lines().iter().any(forgets), "{:#?}", report.lines());
}
