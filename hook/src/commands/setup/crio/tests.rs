//! What is written for which configuration, what is refused, and that all of it can be taken back.

use super::*;
use crate::node::stand::Stand;
use portcullis_profile::settings::crio::CrioConfig;
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::SystemTime,
};

const FOLDER: &str = "etc/crio/crio.conf.d";
const OWN: &str = "etc/crio/crio.conf.d/99-portcullis.conf";
const SETTINGS: &str = "/etc/portcullis/hook.toml";

/// What CRI-O's packages install.
const PACKAGED: &str = "\
[crio.image]
signature_policy = '/etc/crio/policy.json'
[crio.runtime]
default_runtime = 'crun'
[crio.runtime.runtimes.crun]
runtime_path = '/usr/libexec/crio/crun'
runtime_root = '/run/crun'
monitor_path = '/usr/libexec/crio/conmon'
allowed_annotations = ['io.containers.trace-syscall']
[crio.runtime.runtimes.runc]
runtime_path = '/usr/libexec/crio/runc'
runtime_root = '/run/runc'
monitor_path = '/usr/libexec/crio/conmon'
";

/// A node with everything installed but the drop-in, and these files of CRI-O's.
fn node(files: &[(&str, &str)]) -> Stand {
    let stand = Stand::base();
    stand.ship("hooks.d", "etc/crio/hooks.d");
    for runtime in ["crun", "runc"] {
        stand.program(&format!("usr/libexec/crio/{runtime}"), "");
    }
    fs::create_dir_all(stand.at(FOLDER)).unwrap();
    for (name, text) in files {
        stand.write(&format!("{FOLDER}/{name}"), text);
    }
    stand
}

fn packaged() -> Stand {
    node(&[("10-crio.conf", PACKAGED)])
}

fn with(stand: &Stand, more: Arguments) -> Result<Outcome, Refused> {
    let root = stand.root.path().to_owned();
    act(Path::new(SETTINGS), &Arguments { root, ..more })
}

fn set_up(stand: &Stand) -> String {
    with(stand, Arguments::default()).unwrap().lines.join("\n")
}

fn default_runtime() -> Arguments {
    Arguments {
        default_runtime: true,
        ..Arguments::default()
    }
}

fn removal() -> Arguments {
    Arguments {
        remove: true,
        ..Arguments::default()
    }
}

fn own(stand: &Stand) -> String {
    fs::read_to_string(stand.at(OWN)).unwrap()
}

/// Everything below /etc, by path.
fn snapshot(stand: &Stand) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else {
                all.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(&stand.at("etc"), &mut all);
    all
}

/// The configuration that CRI-O has.
fn read(stand: &Stand) -> CrioConfig {
    CrioConfig::load(&stand.at("etc/crio/crio.conf"), &stand.at(FOLDER)).unwrap()
}

/// Refuses, naming this, and changes nothing.
fn refuses(stand: &Stand, more: Arguments, part: &str) {
    let before = snapshot(stand);
    let Refused { message, .. } = with(stand, more).unwrap_err();
    assert!(message.contains(part), "{message:?} lacks {part:?}");
    assert!(!message.contains('\n'), "{message}");
    assert_eq!(snapshot(stand), before);
}

/// Sets up, compares with the golden file, and repeats it; then takes it back.
fn golden(stand: &Stand, more: &Arguments, expected: &str) -> String {
    let before = snapshot(stand);
    let dry = Arguments {
        dry_run: true,
        ..more.clone()
    };
    let printed = with(stand, dry).unwrap().text.unwrap();
    assert_eq!(snapshot(stand), before, "a dry run changes nothing");
    let said = with(stand, more.clone()).unwrap().lines.join("\n");
    let text = own(stand);
    assert_eq!(printed, text);
    let without_digest: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with("# Made from"))
        .collect();
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(without_digest, expected, "{text}");
    let written = fs::metadata(stand.at(OWN)).unwrap();
    assert_eq!(written.permissions().mode() & 0o7777, 0o644);
    assert!(set_up(stand).contains("nothing was changed"));
    let same = fs::metadata(stand.at(OWN)).unwrap();
    assert_eq!(written.modified().unwrap(), same.modified().unwrap());
    assert_eq!(
        state(
            &Node::at_root(stand.root.path().to_owned(), false),
            Path::new(SETTINGS),
            None
        ),
        State::Current
    );
    with(stand, removal()).unwrap();
    assert_eq!(snapshot(stand), before);
    said
}

#[test]
fn packaged_handlers_have_ours_beside_them() {
    golden(
        &packaged(),
        &Arguments::default(),
        include_str!("tests/packaged.conf"),
    );
}

#[test]
fn ours_can_be_the_default() {
    let stand = node(&[
        ("10-crio.conf", PACKAGED),
        (
            "20-default.conf",
            "[crio.runtime]\ndefault_runtime = 'runc'\n",
        ),
    ]);
    let said = golden(
        &stand,
        &default_runtime(),
        include_str!("tests/default.conf"),
    );
    assert!(
        said.contains("default_runtime: portcullis-runc instead of runc"),
        "{said}"
    );
}

#[test]
fn earlier_hook_folders_are_kept_and_every_setting_of_a_handler_is_copied() {
    let stand = node(&[
        ("10-crio.conf", PACKAGED),
        (
            "20-hooks.conf",
            "[crio.runtime]\nhooks_dir = ['/opt/a', '/opt/b']\n",
        ),
        (
            "30-hooks.conf",
            "[crio.runtime]\nhooks_dir = ['/opt/b', '/opt/c']\n",
        ),
        (
            "40-runc.conf",
            "[crio.runtime.runtimes.runc]
            runtime_path = '/usr/libexec/crio/runc'
            Runtime_Root = '/run/other'
            monitor_path = '/usr/libexec/crio/conmon'
            monitor_cgroup = 'pod'
            monitor_env = ['A=b', 'C=d']
            seccomp_profile = '/etc/own.json'
            container_create_timeout = 300
            no_sync_log = true
            new_in_2031 = { a = [1, 2.5], when = 2031-01-02T03:04:05Z }
            default_annotations = { 'a.b/c' = 'd' }
            platform_runtime_paths = { 'linux/arm64' = '/usr/bin/crun-arm64' }
            [crio.runtime.runtimes.kata]
            runtime_type = 'vm'
            runtime_path = '/usr/bin/containerd-shim-kata-v2'
            [crio.runtime.runtimes.pods]
            runtime_type = 'pod'
            runtime_path = '/usr/libexec/crio/crun'
            [crio.runtime.runtimes.gone]
            runtime_path = '/opt/crun'
            [crio.runtime.runtimes.wasm]
            runtime_path = '/bin/wasm'
            [crio.runtime.runtimes.'like.default']
            runtime_path = '/ignored'
            seccomp_profile = '/etc/like.json'
            monitor_path = '/usr/libexec/crio/conmon'
            inherit_default_runtime = true
            allowed_annotations = ['run.oci.handler', 'devices.crio.io', 'run']
            ",
        ),
    ]);
    stand.program("bin/wasm", "");
    let said = golden(
        &stand,
        &Arguments::default(),
        include_str!("tests/everything.conf"),
    );
    for part in [
        "hooks_dir: /etc/crio/hooks.d is added (/opt/b, /opt/c, /etc/crio/hooks.d)",
        "handler kata is skipped: its runtime_type is \"vm\"",
        "handler pods is skipped: its runtime_type is \"pod\"",
        "handler gone is skipped, as CRI-O does: its runtime_path /opt/crun",
        "handler wasm is skipped: /bin/wasm is neither crun nor runc",
        "without platform_runtime_paths",
        "without run.oci.handler, run in allowed_annotations",
    ] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
}

#[test]
fn what_no_file_says_is_cri_os_default_and_its_monitor_is_found() {
    let stand = node(&[]);
    fs::remove_dir_all(stand.at("usr/libexec/crio")).unwrap();
    stand.program("usr/libexec/crio/conmon", "");
    let said = golden(
        &stand,
        &Arguments::default(),
        include_str!("tests/built-in.conf"),
    );
    assert!(
        said.contains("monitor_path is /usr/libexec/crio/conmon"),
        "{said}"
    );
}

#[test]
fn the_default_stays_ours_until_it_is_removed() {
    let stand = packaged();
    with(&stand, default_runtime()).unwrap();
    assert!(set_up(&stand).contains("nothing was changed"));
    assert_eq!(read(&stand).default_runtime, "portcullis-crun");
    with(&stand, removal()).unwrap();
    assert_eq!(read(&stand).default_runtime, "crun");
}

#[test]
fn handlers_that_lead_to_the_wrapper_are_left_alone() {
    let stand = packaged();
    stand.ship("crio.conf.d", FOLDER);
    let said = set_up(&stand);
    assert!(
        said.contains("handler portcullis-crun leads to portcullis-runtime already"),
        "{said}"
    );
    assert!(
        said.contains("is not needed: CRI-O has all of it already"),
        "{said}"
    );
    assert!(!stand.at(OWN).exists());
    // Without the drop-ins by hand, setup takes their place.
    for file in ["10-portcullis-hooks.conf", "20-portcullis-runtime.conf"] {
        stand.remove(&format!("{FOLDER}/{file}"));
    }
    assert!(set_up(&stand).contains("wrote "));
    assert_eq!(read(&stand).runtimes.len(), 4);
}

/// A change of a node, and why nothing is written then.
type Case = (fn(&Stand), &'static str);

fn all_refused(cases: &[Case]) {
    for (change, part) in cases {
        let stand = packaged();
        change(&stand);
        refuses(&stand, Arguments::default(), part);
    }
}

#[test]
fn what_can_not_be_right_is_refused_and_named() {
    let cases: [Case; 5] = [
        (
            |s| s.write("etc/crio/crio.conf.d/20.conf", "[crio\n"),
            "crio.conf.d/20.conf, line 1",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/99-z.conf",
                    "[crio.runtime]\nhooks_dir = ['/z']\n",
                );
            },
            "99-z.conf is read after 99-portcullis.conf and replaces hooks_dir: rename it",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/a/b.conf",
                    "[crio.runtime.runtimes.portcullis-crun]\nruntime_path = '/bin/sh'\n",
                );
            },
            "has a handler portcullis-crun that does not lead to portcullis-runtime",
        ),
        (
            |s| s.remove("usr/libexec/crio/crun"),
            "CRI-O's default handler crun: its runtime_path /usr/libexec/crio/crun",
        ),
        (
            |s| s.remove("usr/libexec/crio/conmon"),
            "CRI-O's handler crun monitor_path /usr/libexec/crio/conmon: ",
        ),
    ];
    all_refused(&cases);
    let kata = "[crio.runtime]\ndefault_runtime = 'kata'\n[crio.runtime.runtimes.kata]\nruntime_type = 'vm'\n";
    refuses(
        &node(&[("10-crio.conf", PACKAGED), ("20.conf", kata)]),
        default_runtime(),
        "CRI-O's default_runtime is \"kata\", and no portcullis-kata can be set beside it",
    );
}

#[test]
fn links_settings_and_files_that_can_not_be_right_are_refused_too() {
    let cases: [Case; 10] = [
        (
            |s| s.remove("usr/libexec/portcullis/portcullis-runc"),
            "ln -s portcullis-runtime /usr/libexec/portcullis/portcullis-runc",
        ),
        (
            |s| {
                s.remove("usr/libexec/portcullis/portcullis-runc");
                s.program("usr/libexec/portcullis/portcullis-runc", "");
            },
            "portcullis-runc is not a link to portcullis-runtime",
        ),
        (
            |s| {
                s.write(
                    "etc/portcullis/hook.toml",
                    "[runtimes]\nportcullis-crun = '/usr/bin/runc'\n",
                );
            },
            "write portcullis-crun = \"/usr/libexec/crio/crun\" under [runtimes] in hook.toml",
        ),
        (
            |s| s.write("etc/portcullis/hook.toml", "[runtimes\n"),
            "/etc/portcullis/hook.toml",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/20.conf",
                    "[crio.runtime]\ndefault_runtime = 'none'\n",
                );
            },
            "CRI-O's default_runtime is \"none\"",
        ),
        (
            |s| s.write("etc/crio/crio.conf.d/99-portcullis.conf", "# mine\n"),
            "99-portcullis.conf was not written by setup",
        ),
        (
            |s| symlink("/etc/passwd", s.at(OWN)).unwrap(),
            "99-portcullis.conf is a link",
        ),
        (
            |s| {
                fs::rename(s.at(FOLDER), s.at("etc/elsewhere")).unwrap();
                symlink("../elsewhere", s.at(FOLDER)).unwrap();
            },
            "crio.conf.d: is not a regular file",
        ),
        (
            |s| {
                fs::rename(s.at("etc/crio"), s.at("etc/elsewhere")).unwrap();
                symlink("elsewhere", s.at("etc/crio")).unwrap();
            },
            "99-portcullis.conf: ",
        ),
        (
            |s| {
                s.write("proc/100/comm", "crio\n");
                s.write("proc/100/cmdline", "/usr/bin/crio\0--hooks-dir=/x\0");
                s.write(
                    "proc/100/stat",
                    &format!("100 (crio) S {}0 0\n", "0 ".repeat(18)),
                );
            },
            "CRI-O's command line has --hooks-dir",
        ),
    ];
    all_refused(&cases);
}

/// Asked about the drop-in by CRI-O itself: a stand-in that reads the folder it is given.
#[test]
fn cri_o_has_the_last_word() {
    let stand = packaged();
    let trusted = || Arguments {
        execute: true,
        ..Arguments::default()
    };
    let default = "[crio.runtime]\nhooks_dir = ['/built-in']\n[crio.runtime.runtimes.runc]\nruntime_root = '/run/r'\n";
    stand.write("default.toml", default);
    let cat = |last: &str| {
        let root = stand.root.path().display();
        let script = format!(
            "case \"$*\" in 'config --default') cat {root}/default.toml; exit;; esac\n{last}"
        );
        stand.program("usr/bin/crio", &script);
    };
    cat("echo 'level=fatal msg=\"no such key\"' >&2; exit 1");
    refuses(
        &stand,
        trusted(),
        "CRI-O does not accept its files with 99-portcullis.conf (crio config: exit status: 1: level=fatal",
    );
    cat("grep -h '^\\[crio.runtime' $2/00000000");
    refuses(&stand, trusted(), "crio config reads hooks_dir of");
    // Our file is the last of the folder.
    cat("cat $2/00000001");
    with(&stand, trusted()).unwrap();
    let hooks = read(&stand).hooks_dir;
    assert_eq!(hooks, ["/built-in", "/etc/crio/hooks.d"].map(PathBuf::from));
}

#[test]
fn check_says_when_the_configuration_has_changed_since() {
    let stand = packaged();
    let state = || {
        state(
            &Node::at_root(stand.root.path().to_owned(), false),
            Path::new(SETTINGS),
            None,
        )
    };
    assert_eq!(state(), State::Absent);
    set_up(&stand);
    assert_eq!(state(), State::Current);
    // What is not copied makes no difference.
    stand.write(
        "etc/crio/crio.conf.d/20.conf",
        "[crio.runtime]\nlog_level = 'debug'\n",
    );
    assert_eq!(state(), State::Current);
    stand.write(
        "etc/crio/crio.conf.d/20.conf",
        "[crio.runtime]\nhooks_dir = ['/new']\n",
    );
    assert_eq!(state(), State::Outdated);
    set_up(&stand);
    assert_eq!(state(), State::Current);
    stand.write(OWN, &own(&stand).replace("/new", "/other"));
    assert_eq!(state(), State::Edited);
    stand.remove("usr/libexec/portcullis/portcullis-crun");
    assert!(matches!(state(), State::Wrong(why) if why.contains("ln -s")));
    stand.program("usr/bin/crio", "");
    assert_eq!(state(), State::Unknown);
}

/// A container of crun's, whose sandbox names this handler.
fn container(stand: &Stand, id: &str, sandbox: &str, handler: Option<&str>) {
    let storage = "var/lib/containers/storage/overlay-containers";
    let bundle = format!("{storage}/{id}/userdata");
    let status = serde_json::json!({ "bundle": format!("/{bundle}"), "created": humantime::format_rfc3339(SystemTime::now()).to_string() });
    stand.write(&format!("run/crun/{id}/status"), &status.to_string());
    let config = |annotations: serde_json::Value| {
        serde_json::json!({ "annotations": annotations }).to_string()
    };
    let own = serde_json::json!({ "io.container.manager": "cri-o", "io.kubernetes.cri-o.SandboxID": sandbox, "io.kubernetes.cri-o.ContainerType": "container" });
    stand.write(&format!("{bundle}/config.json"), &config(own));
    if let Some(handler) = handler {
        let sandboxes = serde_json::json!({ "io.kubernetes.cri-o.RuntimeHandler": handler });
        stand.write(
            &format!("{storage}/{sandbox}/userdata/config.json"),
            &config(sandboxes),
        );
    }
}

#[test]
fn handlers_that_containers_need_stay_until_these_are_gone() {
    let stand = packaged();
    let before = snapshot(&stand);
    with(&stand, default_runtime()).unwrap();
    container(&stand, "c1", "s1", Some("portcullis-crun"));
    container(&stand, "c2", "s2", Some(""));
    container(&stand, "c3", "s3", Some("runc"));
    let outcome = with(&stand, removal()).unwrap();
    assert!(outcome.is_unfinished);
    let said = outcome.lines.join("\n");
    assert!(
        said.contains("handler portcullis-crun stays: 1 containers are under it (c1)"),
        "{said}"
    );
    let left = read(&stand);
    let names: Vec<&String> = left.runtimes.keys().collect();
    assert_eq!(names, ["crun", "portcullis-crun", "runc"]);
    assert_eq!(left.default_runtime, "crun");
    assert_eq!(left.hooks_dir, CrioConfig::default().hooks_dir);
    let node = Node::at_root(stand.root.path().to_owned(), false);
    assert_eq!(state(&node, Path::new(SETTINGS), None), State::Leaving);
    // What can't be known counts.
    container(&stand, "c4", "s4", None);
    let said = with(&stand, removal()).unwrap().lines.join("\n");
    assert!(
        said.contains("is not known (container c4: there is no "),
        "{said}"
    );
    for id in ["c1", "c4"] {
        fs::remove_dir_all(stand.at("run/crun").join(id)).unwrap();
    }
    assert!(!with(&stand, removal()).unwrap().is_unfinished);
    assert_eq!(snapshot(&stand), before);
    set_up(&stand);
    container(&stand, "c5", "s5", Some("portcullis-runc"));
    let force = Arguments {
        force: true,
        ..removal()
    };
    assert!(!with(&stand, force).unwrap().is_unfinished);
    assert_eq!(snapshot(&stand), before);
}

#[test]
fn a_default_that_another_file_makes_ours_is_not_taken_away() {
    let stand = packaged();
    set_up(&stand);
    stand.write(
        "etc/crio/crio.conf.d/50.conf",
        "[crio.runtime]\ndefault_runtime = 'portcullis-crun'\n",
    );
    assert!(set_up(&stand).contains("wrote "), "the digest has changed");
    refuses(&stand, removal(), "50.conf");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever CRI-O's files say, it afterwards has what it had, and exactly ours beside it.
    #[test]
    fn cri_o_has_what_it_had_and_exactly_ours(
        handlers in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>(), any::<bool>()), 1..5),
        folders in prop::option::of(prop::collection::vec("/[a-c]", 0..3)),
        is_default: bool,
    ) {
        let stand = packaged();
        for (number, (name, runtime, own_profile, inherits)) in handlers.iter().enumerate() {
            let name = ["crun", "runc", "fast", "a b"][*name];
            let runtime = ["/usr/libexec/crio/crun", "/usr/libexec/crio/runc", "/bin/other"][*runtime];
            let mut text = format!("[crio.runtime.runtimes.'{name}']\nruntime_path = '{runtime}'\nmonitor_path = '/usr/libexec/crio/conmon'\nunknown = [{number}]\n");
            if *own_profile {
                text.push_str("seccomp_profile = '/own'\n");
            }
            if *inherits && name != "crun" {
                text.push_str("inherit_default_runtime = true\n");
            }
            stand.write(&format!("{FOLDER}/{}.conf", 20 + number), &text);
        }
        stand.program("bin/other", "");
        if let Some(folders) = &folders {
            stand.write(&format!("{FOLDER}/50.conf"), &format!("[crio.runtime]\nhooks_dir = {folders:?}\n"));
        }
        let before = read(&stand);
        let more = if is_default { default_runtime() } else { Arguments::default() };
        if let Err(Refused { message, .. }) = with(&stand, more) {
            let default_is_other = before.handler("crun").unwrap().path == Some("/bin/other".into());
            prop_assert!(default_is_other, "{}", message);
            prop_assert!(!stand.at(OWN).exists());
            return Ok(());
        }
        let after = read(&stand);
        let mut hooks = before.hooks_dir.clone();
        hooks.push("/etc/crio/hooks.d".into());
        prop_assert_eq!(&after.hooks_dir, &hooks);
        for (name, handler) in &after.runtimes {
            let Some(beside) = name.strip_prefix("portcullis-") else {
                prop_assert_eq!(Some(handler), before.runtimes.get(name));
                continue;
            };
            let old = before.handler(beside).unwrap();
            let runtime = old.path.as_deref().unwrap().file_name().unwrap().to_str().unwrap();
            let path = PathBuf::from(format!("/usr/libexec/portcullis/portcullis-{runtime}"));
            prop_assert_eq!(handler.path.as_ref(), Some(&path));
            let same = |handler: &portcullis_profile::settings::crio::Handler| (
                handler.is_oci(), handler.root.clone(), handler.monitor.clone(), handler.seccomp_profile.clone(),
                handler.table.get("unknown").cloned(),
            );
            prop_assert_eq!(same(handler), same(&old));
            prop_assert!(!handler.inherits);
        }
        let ours = before.runtimes.keys().filter(|name| before.handler(name).unwrap().path != Some("/bin/other".into()));
        prop_assert_eq!(after.runtimes.len(), before.runtimes.len() + ours.count());
        let default = if is_default { "portcullis-crun" } else { "crun" };
        prop_assert_eq!(&after.default_runtime, default);
        with(&stand, removal()).unwrap();
        prop_assert_eq!(read(&stand), before);
    }
}
