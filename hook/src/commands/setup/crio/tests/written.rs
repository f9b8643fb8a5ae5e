//! What is written for which configuration, beside golden files, and that the same command can be repeated.

use super::*;
use std::os::unix::fs::PermissionsExt;

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
        include_str!("packaged.conf"),
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
    let said = golden(&stand, &default_runtime(), include_str!("default.conf"));
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
        include_str!("everything.conf"),
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
    let said = golden(&stand, &Arguments::default(), include_str!("built-in.conf"));
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
