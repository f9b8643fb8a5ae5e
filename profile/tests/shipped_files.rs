//! The files in `crio.d` are what their readers expect.
#![allow(clippy::unwrap_used)] // helpers of tests: a panic is the failure

use portcullis_profile::settings::{DEFAULT_PATH, MAX_WAIT_MS, Settings, crio::CrioConfig};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crio.d")
        .join(path)
}

#[test]
fn the_shipped_settings_are_the_defaults_and_every_documented_key_is_known() {
    let text = fs::read_to_string(shipped("hook.toml")).unwrap();
    let path = Path::new(DEFAULT_PATH);
    assert_eq!(Settings::parse(path, &text).unwrap(), Settings::default());
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => String::from("\n"),
        })
        .collect();
    let mut documented = Settings::parse(path, &uncommented).unwrap();
    // Where the default is to look for something, the file shows an example.
    assert!(documented.runtime_default.take().is_some());
    assert!(!std::mem::take(&mut documented.runtimes).is_empty());
    assert_eq!(documented, Settings::default());
}

fn check_hook(folder: &str, path: &Path) {
    let hook: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let at = |pointer: &str| hook.pointer(pointer).unwrap_or(&Value::Null).clone();
    let path = path.display();
    assert_eq!(at("/version"), "1.0.0", "{path}");
    assert_eq!(
        at("/hook/path"),
        "/usr/libexec/portcullis/portcullis-hook",
        "{path}"
    );
    assert_eq!(at("/hook/args/0"), "portcullis-hook", "{path}");
    let stages = at("/stages").as_array().unwrap().clone();
    assert_eq!(
        stages.len(),
        1,
        "{path}: two stages would run the hook twice"
    );
    // CRI-O does not start over a file with a stage that it does not know.
    let known: &[&str] = match folder {
        "hooks.d" => &["prestart", "createRuntime", "poststop"],
        _ => &["precreate", "prestart", "createRuntime", "poststop"],
    };
    assert!(
        known.contains(&stages[0].as_str().unwrap()),
        "{path}: {stages:?}"
    );
    let when = at("/when").as_object().unwrap().clone();
    assert!(
        !when.is_empty(),
        "{path}: without a condition it never runs"
    );
    for (key, value) in when
        .get("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for regex in [key.as_str(), value.as_str().unwrap()] {
            assert!(
                regex == ".*" || regex.starts_with('^') && regex.ends_with('$'),
                "{path}: {regex}"
            );
        }
    }
    let wait = MAX_WAIT_MS;
    assert!(
        at("/hook/timeout").as_u64().unwrap() * 1000 > 2 * wait,
        "{path}"
    );
    let podman = at("/hook/args")
        .as_array()
        .unwrap()
        .contains(&Value::from("podman"));
    assert_eq!(
        podman,
        folder == "podman-hooks.d",
        "{path}: whose annotations are believed"
    );
}

#[test]
fn hook_files_keep_to_the_schema_and_to_one_stage() {
    for (folder, count) in [("hooks.d", 3), ("podman-hooks.d", 4)] {
        let files: Vec<PathBuf> = fs::read_dir(shipped(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), count, "{folder}");
        for path in files {
            check_hook(folder, &path);
        }
    }
}

#[test]
fn a_container_is_recorded_before_it_is_verified() {
    // CRI-O and Podman run the hooks of a stage in the order of their files' names, and verify
    // accepts logged denials only of a container that is recorded already.
    for folder in ["hooks.d", "podman-hooks.d"] {
        let mut verbs: Vec<(String, String)> = fs::read_dir(shipped(folder))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let hook: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
                let verb = hook["hook"]["args"][1].as_str().unwrap().to_owned();
                (entry.file_name().into_string().unwrap(), verb)
            })
            .collect();
        verbs.sort();
        let at = |verb| verbs.iter().position(|(_, own)| own == verb).unwrap();
        assert!(at("record") < at("verify"), "{verbs:?}");
    }
}

#[test]
fn a_timer_writes_out_what_is_left_of_vanished_containers() {
    let unit = |name: &str| fs::read_to_string(shipped("../packaging/systemd").join(name)).unwrap();
    let service = unit("portcullis-collect.service");
    let verb = "ExecStart=/usr/libexec/portcullis/portcullis-hook collect --stale";
    assert!(service.lines().any(|line| line == verb), "{service}");
    let timer = unit("portcullis-collect.timer");
    for line in ["OnUnitActiveSec=1min", "WantedBy=timers.target"] {
        assert!(timer.lines().any(|own| own == line), "{timer}");
    }
}

/// CRI-O's configuration with our drop-ins alone.
fn with_drop_ins() -> CrioConfig {
    CrioConfig::load(Path::new("/nonexistent/crio.conf"), &shipped("crio.conf.d")).unwrap()
}

#[test]
fn the_drop_ins_keep_the_hook_folders_of_others_and_hide_nothing_of_ours() {
    let folders = with_drop_ins().hooks_dir;
    let first = CrioConfig::default().hooks_dir;
    assert_eq!(folders[..first.len()], first);
    assert!(folders.contains(&"/etc/containers/oci/hooks.d".into()));
    // The last folder's files hide others of their name, and Podman must not read ours.
    assert_eq!(folders.last().unwrap(), Path::new("/etc/crio/hooks.d"));
}

#[test]
fn the_handlers_lead_to_the_wrapper_have_a_monitor_and_open_no_annotation() {
    let config = with_drop_ins();
    // Who makes one the default decides that himself.
    assert_eq!(
        config.default_runtime,
        CrioConfig::default().default_runtime
    );
    for runtime in ["crun", "runc"] {
        let name = format!("portcullis-{runtime}");
        let handler = config.handler(&name).unwrap();
        let path = Path::new("/usr/libexec/portcullis").join(&name);
        assert_eq!(handler.path, Some(path), "{name}");
        assert_eq!(
            handler.root,
            Some(Path::new("/run").join(runtime)),
            "{name}"
        );
        assert_eq!(
            handler.monitor,
            Some("/usr/libexec/crio/conmon".into()),
            "{name}"
        );
        assert!(
            handler.is_oci() && handler.allowed_annotations.is_empty(),
            "{name}"
        );
        assert!(
            handler.platform_paths.is_empty() && !handler.inherits,
            "{name}"
        );
    }
    assert_eq!(config.runtimes.len(), 3);
}

#[test]
fn podmans_drop_in_adds_one_folder_to_those_that_podman_reads_by_itself() {
    let text = fs::read_to_string(shipped("containers.conf.d/50-portcullis.conf")).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let folders = table["engine"]["hooks_dir"].as_array().unwrap();
    let folders: Vec<&str> = folders.iter().map(|f| f.as_str().unwrap()).collect();
    let expected = [
        "/usr/share/containers/oci/hooks.d",
        "/etc/containers/oci/hooks.d",
        "/etc/portcullis/podman-hooks.d",
    ];
    assert_eq!(folders, expected);
    // CRI-O does not start over a file with Podman's own stage.
    assert!(!with_drop_ins().hooks_dir.contains(&expected[2].into()));
}
