//! What CRI-O makes of its files, file by file.

use super::*;
use std::os::unix::fs::symlink;

/// The configuration after these texts, in this order.
fn merged(texts: &[&str]) -> CrioConfig {
    let mut config = CrioConfig::default();
    for text in texts {
        config.merge(Path::new("crio.conf"), text).unwrap();
    }
    config
}

fn rejects(text: &str, part: &str) {
    let mut config = CrioConfig::default();
    let error = config.merge(Path::new("/c/x.conf"), text).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(part), "{message}");
    assert!(message.starts_with("/c/x.conf, line "), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

fn paths(all: &[&str]) -> Vec<PathBuf> {
    all.iter().map(PathBuf::from).collect()
}

#[test]
fn a_later_value_replaces_an_earlier_one_and_a_list_as_a_whole() {
    let config = merged(&[
        "[crio.runtime]\nhooks_dir = ['/a', '/b']\nseccomp_profile = '/one'\n",
        "[crio.runtime]\nhooks_dir = ['/c']\nprivileged_seccomp_profile = '/p'\n",
        "[crio.runtime]\nseccomp_profile = ''\n[crio.image]\npause_image = 'x'\n",
    ]);
    assert_eq!(config.hooks_dir, paths(&["/c"]));
    assert_eq!(config.seccomp_profile, None);
    assert_eq!(config.privileged_seccomp_profile, Some("/p".into()));
    let none = merged(&["[crio.runtime]\nhooks_dir = []\n"]);
    assert!(none.hooks_dir.is_empty());
    assert_eq!(
        merged(&["", "[crio]\nroot = '/r'\n"]),
        CrioConfig::default()
    );
}

#[test]
fn handlers_merge_by_name_and_one_that_is_mentioned_again_starts_from_nothing() {
    let config = merged(&[
        "[crio.runtime.runtimes.ours]\nruntime_path = '/o'\nmonitor_path = '/m'\n",
        "[crio.runtime.runtimes.kata]\nruntime_type = 'vm'\n",
        "[crio.runtime.runtimes.ours]\nallowed_annotations = ['io.containers.trace-syscall']\n",
    ]);
    let names: Vec<&str> = config.runtimes.keys().map(String::as_str).collect();
    assert_eq!(names, ["crun", "kata", "ours"]);
    let ours = &config.runtimes["ours"];
    assert_eq!((&ours.path, &ours.monitor), (&None, &None));
    assert_eq!(ours.allowed_annotations, ["io.containers.trace-syscall"]);
    assert!(ours.is_oci() && !config.runtimes["kata"].is_oci());
}

#[test]
fn every_key_of_a_handler_is_read_and_keys_match_in_any_case() {
    let config = merged(&["
        [Crio.Runtime]
        Default_Runtime = 'x'
        [crio.Runtime.runtimes.x]
        Runtime_Path = '/x'
        runtime_type = 'pod'
        runtime_root = '/run/x'
        monitor_path = '/m'
        seccomp_profile = '/s'
        allowed_annotations = ['a']
        platform_runtime_paths = { 'linux/arm64' = '/y' }
        inherit_default_runtime = false
        unknown = 3
        "]);
    assert_eq!(config.default_runtime, "x");
    let expected = Handler {
        path: Some("/x".into()),
        kind: "pod".to_owned(),
        root: Some("/run/x".into()),
        platform_paths: BTreeMap::from([("linux/arm64".to_owned(), "/y".into())]),
        inherits: false,
        monitor: Some("/m".into()),
        seccomp_profile: Some("/s".into()),
        allowed_annotations: vec!["a".to_owned()],
        table: config.runtimes["x"].table.clone(),
    };
    assert_eq!(config.handler("x"), Some(expected));
    let table = &config.runtimes["x"].table;
    assert_eq!(table["Runtime_Path"].as_str(), Some("/x"));
    assert_eq!(table["unknown"].as_integer(), Some(3));
    assert_eq!(table.len(), 9);
    assert_eq!(config.handler("none"), None);
}

#[test]
fn a_handler_inherits_path_type_and_root_of_the_default_one_alone() {
    let config = merged(&["
        [crio.runtime]
        default_runtime = 'ours'
        [crio.runtime.runtimes.ours]
        runtime_path = '/o'
        runtime_root = '/run/o'
        seccomp_profile = '/s'
        platform_runtime_paths = { 'linux/arm64' = '/y' }
        [crio.runtime.runtimes.copy]
        runtime_path = '/ignored'
        inherit_default_runtime = true
        "]);
    let copy = config.handler("copy").unwrap();
    assert_eq!(copy.path, Some("/o".into()));
    assert_eq!(copy.root, Some("/run/o".into()));
    assert_eq!(copy.seccomp_profile, None);
    assert!(copy.platform_paths.is_empty());
    assert_eq!(config.name_in_path("copy"), "ours");
    assert_eq!(config.name_in_path("crun"), "crun");
}

#[test]
fn a_handlers_own_profile_goes_before_the_one_for_all() {
    let config = merged(&["
        [crio.runtime]
        seccomp_profile = '/all'
        [crio.runtime.runtimes.own]
        runtime_path = '/o'
        seccomp_profile = '/own'
        "]);
    assert_eq!(config.default_profile(None), Some("/all".into()));
    assert_eq!(config.default_profile(Some("")), Some("/all".into()));
    assert_eq!(config.default_profile(Some("own")), Some("/own".into()));
    assert_eq!(CrioConfig::default().default_profile(None), None);
}

#[test]
fn without_a_handlers_name_the_path_that_was_executed_decides_or_nothing_does() {
    let config = merged(&["
        [crio.runtime.runtimes.own]
        runtime_path = '/o'
        seccomp_profile = '/own'
        [crio.runtime.runtimes.other]
        runtime_path = '/p'
        platform_runtime_paths = { 'linux/arm64' = '/q' }
        "]);
    let under = |runtime: &str| config.default_profile_under(Some(Path::new(runtime)));
    assert_eq!(under("/o"), Ok(Some("/own".into())));
    assert_eq!(under("/p"), Ok(None));
    assert_eq!(under("/q"), Ok(None));
    assert_eq!(under("/usr/bin/crun"), Ok(None));
    for unknown in [config.default_profile_under(None), under("/z")] {
        assert_eq!(unknown.unwrap_err().handlers, ["crun", "other", "own"]);
    }
    let alike = merged(&["[crio.runtime]\nseccomp_profile = '/all'\n"]);
    assert_eq!(alike.default_profile_under(None), Ok(Some("/all".into())));
}

/// What CRI-O 1.37 prints of its own handler, as far as files can say it.
#[test]
fn the_built_in_handler_is_what_its_table_says() {
    let own = CrioConfig::default().runtimes["crun"].clone();
    let text = toml::to_string(&own.table).unwrap();
    let read = merged(&[&format!("[crio.runtime.runtimes.own]\n{text}")]);
    assert_eq!(read.runtimes["own"], own);
}

#[test]
fn a_mistake_is_named_with_file_and_line() {
    rejects("\n[crio.runtime\n", "line 2");
    rejects("[crio.runtime]\n\nhooks_dir = '/x'", "line 3: hooks_dir");
    rejects(
        "[crio.runtime]\nhooks_dir = [\n'/x',\n3]",
        "line 4: hooks_dir",
    );
    rejects(
        "[crio.runtime]\nseccomp_profile = 3",
        "line 2: seccomp_profile",
    );
    rejects("crio = 1", "line 1: crio is integer, not a table");
    rejects("[crio.runtime.runtimes]\nx = 'y'", "line 2: a handler is");
    rejects(
        "[crio.runtime]\nhooks_dir = []\nHooks_Dir = []",
        "line 3: hooks_dir is given twice",
    );
    rejects(
        "[crio.runtime.runtimes.x]\ninherit_default_runtime = 'yes'",
        "line 2: inherit_default_runtime",
    );
    rejects(
        "[crio.runtime.runtimes.x.platform_runtime_paths]\n'linux/amd64' = 1",
        "line 2: linux/amd64",
    );
}

/// A file that sets the default handler's name.
fn write(folder: &Path, file: &str, name: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(
        path,
        format!("[crio.runtime]\ndefault_runtime = '{name}'\n"),
    )
    .unwrap();
}

fn load(folder: &Path) -> Result<CrioConfig, CrioConfigError> {
    CrioConfig::load(&folder.join("crio.conf"), &folder.join("crio.conf.d"))
}

#[test]
fn drop_ins_of_any_name_and_depth_are_read_in_lexical_order_after_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let last = |name: &str| {
        assert_eq!(load(folder.path()).unwrap().default_runtime, name);
    };
    last("crun");
    write(folder.path(), "crio.conf", "file");
    last("file");
    write(folder.path(), "crio.conf.d/10-a.conf", "first");
    last("first");
    write(folder.path(), "crio.conf.d/10-a.conf.rpmsave", "saved");
    last("saved");
    write(folder.path(), "crio.conf.d/20-folder/a.conf", "deep");
    last("deep");
    write(folder.path(), "crio.conf.d/20-folder.conf", "beside");
    last("beside");
    let elsewhere = tempfile::tempdir().unwrap();
    write(elsewhere.path(), "real", "linked");
    let link = folder.path().join("crio.conf.d/99-link.conf");
    symlink(elsewhere.path().join("real"), link).unwrap();
    last("linked");
}

#[test]
fn what_crio_can_not_read_is_an_error_that_names_it() {
    let rejects = |make: &dyn Fn(&Path), part: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("crio.conf.d")).unwrap();
        make(folder.path());
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    rejects(
        &|folder| symlink("/nonexistent/x", folder.join("crio.conf.d/x")).unwrap(),
        "crio.conf.d/x: ",
    );
    rejects(
        &|folder| symlink("/tmp", folder.join("crio.conf.d/x")).unwrap(),
        "crio.conf.d/x: is not a regular file",
    );
    rejects(
        &|folder| {
            let fifo = folder.join("crio.conf.d/x");
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        },
        "crio.conf.d/x: is not a regular file",
    );
    rejects(
        &|folder| fs::write(folder.join("crio.conf"), vec![b'#'; 1024 * 1024 + 1]).unwrap(),
        "crio.conf: is larger than 1048576 bytes",
    );
    rejects(
        &|folder| fs::write(folder.join("crio.conf"), b"#\n#\xff\n").unwrap(),
        "crio.conf, line 2: is not UTF-8",
    );
    rejects(
        &|folder| {
            fs::remove_dir(folder.join("crio.conf.d")).unwrap();
            symlink("/tmp", folder.join("crio.conf.d")).unwrap();
        },
        "crio.conf.d: is not a regular file",
    );
}

proptest::proptest! {
    /// Text that CRI-O would not read is one line of error, and never a panic.
    #[test]
    fn any_text_is_a_configuration_or_one_line_of_error(
        line in 0_usize..5,
        text in "[ -~\\n\\t\u{e9}]{0,40}",
    ) {
        let good = ["[crio.runtime]", "hooks_dir = ['/a']", "[crio.runtime.runtimes.x]", "runtime_path = '/x'"];
        let mut lines = good.to_vec();
        lines.insert(line, &text);
        let mut config = CrioConfig::default();
        if let Err(error) = config.merge(Path::new("c"), &lines.join("\n")) {
            let message = error.to_string();
            proptest::prop_assert!(!message.contains('\n') && message.contains("line "), "{}", message);
        }
    }
}
