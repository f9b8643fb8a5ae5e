//! The files of a node in real folders.

use super::*;
use crate::{
    agent::source::{Release, packed_spec::PackedSpec},
    crd::{SeccompNodeSpec, node::UNKNOWN_GENERATION},
};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

/// A profile as the API server first has it.
fn wanted(name: &str, spec: &serde_json::Value) -> Wanted {
    Wanted {
        name: name.to_owned(),
        created: None,
        generation: Some(1),
        spec: PackedSpec::of(&spec.to_string()),
        is_held: true,
        release: Release::Never,
    }
}

/// Why a profile has failed, as the node reports it.
fn failure<'a>(report: &'a SeccompNodeSpec, name: &str) -> &'a str {
    let failed = report.failed.iter().find(|profile| profile.name == name);
    &failed
        .unwrap_or_else(|| panic!("{name}: {report:?}"))
        .reason
}

/// Whether the node reports that it has the file of a profile.
fn has(report: &SeccompNodeSpec, name: &str) -> bool {
    report.installed.iter().any(|profile| profile.name == name)
}

struct Node {
    folder: tempfile::TempDir,
    installer: Installer,
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let installer = Node::open(folder.path());
        Node { folder, installer }
    }

    /// One that has been started again under other rules for profiles, and knows these.
    fn restart(&mut self, limits: Limits, profiles: &[Wanted]) {
        let (root, state) = (
            self.folder.path().join("seccomp"),
            self.folder.path().join("state"),
        );
        self.installer = Installer::open(&root, &state, limits).unwrap();
        let names = profiles.iter().map(|profile| profile.name.clone());
        let names = names.collect();
        for profile in profiles {
            self.installer.set(profile.clone());
        }
        self.installer.keep_only(&names);
    }

    /// One that knows nothing yet.
    fn start(folder: &Path) -> Installer {
        Installer::open(
            &folder.join("seccomp"),
            &folder.join("state"),
            Limits::default(),
        )
        .unwrap()
    }

    /// One that knows all profiles: that there is none.
    fn open(folder: &Path) -> Installer {
        let mut installer = Node::start(folder);
        installer.keep_only(&BTreeSet::new());
        installer
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("seccomp/operator").join(name)
    }

    fn set(&mut self, name: &str, spec: &serde_json::Value) -> Done {
        self.installer.set(wanted(name, spec));
        self.settle()
    }

    /// Makes the files right, as soon as it is known what they do.
    fn settle(&mut self) -> Done {
        self.settle_telling(&|_| {})
    }

    fn settle_telling(&mut self, written: &dyn Fn(Duration)) -> Done {
        let mut all = self.installer.settle(written).unwrap();
        let more = self.settle_checked_telling(written);
        all.written += more.written;
        all.repaired += more.repaired;
        all.removed += more.removed;
        all
    }

    /// Takes in every pending result.
    fn settle_checked(&mut self) -> Done {
        self.settle_checked_telling(&|_| {})
    }

    fn settle_checked_telling(&mut self, written: &dyn Fn(Duration)) -> Done {
        let mut all = Done::default();
        while self.installer.is_checking() {
            if let Some(name) = self.installer.effects.next_blocking() {
                self.installer.mark_checked(&name);
            }
            let more = self.installer.settle(written).unwrap_or_default();
            all.written += more.written;
            all.repaired += more.repaired;
            all.removed += more.removed;
        }
        all
    }
}

#[test]
fn a_profile_becomes_a_file_and_a_restart_writes_nothing() {
    let mut node = Node::new();
    assert_eq!(node.set("a", &json!({"allow": ["mkdir"]})).written, 1);
    assert!(node.file("a.json").is_file());
    node.installer = Node::open(node.folder.path());
    assert_eq!(node.set("a", &json!({"allow": ["mkdir"]})), Done::default());
    assert_eq!(node.installer.report().count, 1);
    node.installer.keep_only(&BTreeSet::new());
    assert_eq!(node.settle().removed, 1);
    assert!(!node.file("a.json").exists());
}

#[test]
fn edits_deletions_and_links_are_repaired() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    let right = fs::read(node.file("a.json")).unwrap();
    let changes: [&dyn Fn(&Path); 3] = [
        &|file| fs::write(file, "{}").unwrap(),
        &|file| fs::remove_file(file).unwrap(),
        &|file| {
            fs::remove_file(file).unwrap();
            symlink("/etc/passwd", file).unwrap();
        },
    ];
    for change in changes {
        change(&node.file("a.json"));
        node.installer.touched("a.json");
        assert_eq!(node.settle().repaired, 1);
        assert_eq!(fs::read(node.file("a.json")).unwrap(), right);
    }
}

#[test]
fn the_same_filter_written_otherwise_is_no_repair() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    let first = node.installer.report();
    let done = node.set("a", &json!({"allow": ["mkdir"], "defaultErrnoRet": 1}));
    assert_eq!((done.written, done.repaired), (1, 0));
    assert_eq!(node.installer.report(), first);
}

#[test]
fn a_foreign_file_stays_and_the_profile_fails_until_it_is_gone() {
    let mut node = Node::new();
    fs::write(node.file("a.json"), "mine").unwrap();
    node.set("a", &json!({"allow": ["mkdir"]}));
    assert_eq!(fs::read(node.file("a.json")).unwrap(), b"mine");
    assert!(failure(&node.installer.report(), "a").contains("left alone"));
    fs::remove_file(node.file("a.json")).unwrap();
    node.installer.touched("a.json");
    assert_eq!(node.settle().written, 1);
    assert!(node.installer.report().failed.is_empty());
}

#[test]
fn a_linked_folder_is_reported_and_used_once_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("seccomp")).unwrap();
    symlink("/tmp", folder.path().join("seccomp/operator")).unwrap();
    let installer = Node::open(folder.path());
    let mut node = Node { folder, installer };
    node.set("a", &json!({"allow": ["mkdir"]}));
    assert!(node.installer.report().problem.unwrap().contains("rm "));
    assert!(!node.installer.is_settled());
    fs::remove_file(node.folder.path().join("seccomp/operator")).unwrap();
    assert!(node.installer.reopen());
    assert_eq!(node.settle().written, 1);
    assert!(node.installer.is_settled());
}

#[test]
fn a_base_that_comes_later_completes_those_on_top_of_it() {
    let mut node = Node::new();
    node.set(
        "top",
        &json!({"baseProfileName": "base", "allow": ["mkdir"]}),
    );
    assert!(failure(&node.installer.report(), "top").contains("base"));
    node.set("base", &json!({"allow": ["rmdir"]}));
    assert_eq!(node.installer.report().count, 2);
    assert!(
        fs::read_to_string(node.file("top.json"))
            .unwrap()
            .contains("rmdir")
    );
}

#[test]
fn a_specification_that_is_not_valid_leaves_the_last_good_file_and_holds_up_no_other() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    node.installer
        .set(wanted("b", &json!({"allow": ["rmdir"]})));
    let good = fs::read(node.file("a.json")).unwrap();
    for (invalid, why) in [
        (json!({"allow": "text"}), "can't be parsed"),
        (json!({"defaultAction": "SCMP_ACT_NO"}), "SCMP_ACT_NO"),
        (json!({"baseProfileName": "none"}), "\"none\""),
    ] {
        assert_eq!(node.set("a", &invalid).removed, 0);
        assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
        let report = node.installer.report();
        assert!(failure(&report, "a").contains(why), "{report:?}");
        assert!(failure(&report, "a").ends_with("; generation 1 stays on the node"));
        assert!(!has(&report, "a"));
        fs::write(node.file("a.json"), "{}").unwrap();
        node.installer.touched("a.json");
        assert_eq!(node.settle().repaired, 1);
        assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
        assert!(has(&report, "b"));
    }
    assert_eq!(node.set("a", &json!({"allow": ["rmdir"]})).written, 1);
    node.installer.unset("a");
    assert_eq!(node.settle().removed, 1);
}

#[test]
fn before_every_profile_is_known_files_are_restored_from_their_copies() {
    let mut node = Node::new();
    for name in ["a", "b", "c"] {
        node.set(name, &json!({"allow": ["mkdir"]}));
    }
    let right = fs::read(node.file("a.json")).unwrap();
    fs::write(node.file("a.json"), "{}").unwrap();
    let copy = node.folder.path().join("state/files/b");
    fs::write(copy, "torn").unwrap();
    fs::remove_file(node.file("b.json")).unwrap();
    node.installer = Node::start(node.folder.path());
    let done = node.settle();
    assert_eq!((done.repaired, done.removed), (1, 0));
    assert_eq!(fs::read(node.file("a.json")).unwrap(), right);
    assert!(!node.file("b.json").exists(), "its copy is torn");
    assert_eq!(node.installer.settle(&|_| {}), None);

    fs::remove_file(node.file("c.json")).unwrap();
    node.installer.touched("c.json");
    node.installer.touched("stranger.json");
    assert_eq!(node.settle().repaired, 1);

    // Half of the list is there; then all of it, in which c is not.
    let spec = json!({"allow": ["mkdir"]});
    node.installer.set(wanted("a", &spec));
    node.installer.set(wanted("b", &spec));
    assert_eq!(node.installer.settle(&|_| {}), None);
    node.installer
        .keep_only(&["a", "b"].map(str::to_owned).into());
    let done = node.settle();
    assert_eq!((done.written, done.repaired, done.removed), (1, 0, 1));
    assert!(node.file("b.json").exists() && !node.file("c.json").exists());
    let copies = fs::read_dir(node.folder.path().join("state/files")).unwrap();
    assert_eq!(copies.count(), 2);
}

#[test]
fn a_ledger_that_can_not_be_written_adds_no_file() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    // The log is replaced by one that takes no byte.
    node.installer.ledger = Ledger::full();
    node.set("b", &json!({"allow": ["mkdir"]}));
    assert!(!node.file("b.json").exists());
    let report = node.installer.report();
    assert!(
        failure(&report, "b").starts_with("the ledger: "),
        "{report:?}"
    );
    assert_eq!(report.failed_count, 1);
    node.installer.unset("a");
    node.settle();
    let problem = node.installer.report().problem.unwrap();
    assert!(
        problem.starts_with("2 files can't be updated: the ledger: "),
        "{problem}"
    );
    // There is room again.
    node.installer.ledger = Ledger::open(&node.folder.path().join("state")).unwrap();
    node.installer.try_again(Instant::now());
    node.settle();
    assert!(node.file("b.json").exists() && !node.installer.has_problem());
    assert_eq!(node.installer.report().failed_count, 0);
}

#[test]
fn only_a_written_file_tells_how_long_it_took() {
    let mut node = Node::new();
    let told = std::cell::Cell::new(0);
    let count = |_: Duration| told.set(told.get() + 1);
    node.installer
        .set(wanted("a", &json!({"allow": ["mkdir"]})));
    node.settle_telling(&count);
    assert_eq!(told.get(), 1);
    node.installer.check_all();
    node.settle_telling(&count);
    assert_eq!(told.get(), 1);
}

#[test]
fn a_profile_whose_name_ends_in_json_has_a_file_of_just_that_name() {
    let mut node = Node::new();
    node.set("a.json", &json!({"allow": ["mkdir"]}));
    assert!(node.file("a.json").is_file() && !node.file("a.json.json").exists());
    fs::write(node.file("a.json"), "{}").unwrap();
    node.installer.touched("a.json");
    assert_eq!(node.settle().repaired, 1);
    node.installer.unset("a.json");
    assert_eq!(node.settle().removed, 1);
    assert!(!node.file("a.json").exists());
}

#[test]
fn the_file_of_an_earlier_agent_goes_and_a_foreign_one_in_its_new_place_stays() {
    let mut node = Node::new();
    let folder = node.folder.path().to_owned();
    fs::write(folder.join("state/ledger"), "+a.json\n+b.json\n").unwrap();
    for file in ["a.json.json", "b.json.json", "b.json"] {
        fs::write(node.file(file), "{}").unwrap();
    }
    node.installer = Node::start(&folder);
    for name in ["a.json", "b.json"] {
        node.installer
            .set(wanted(name, &json!({"allow": ["mkdir"]})));
    }
    let both = ["a.json", "b.json"].map(str::to_owned).into();
    node.installer.keep_only(&both);
    let done = node.settle();
    assert_eq!((done.written, done.removed), (1, 2));
    assert!(!node.file("a.json.json").exists() && !node.file("b.json.json").exists());
    assert_ne!(fs::read(node.file("a.json")).unwrap(), b"{}");
    assert_eq!(fs::read(node.file("b.json")).unwrap(), b"{}");
    assert!(
        failure(&node.installer.report(), "b.json").contains("does not belong to the operator")
    );
}

#[test]
fn no_file_goes_while_there_may_be_profiles_that_are_not_known() {
    let mut node = Node::new();
    for name in ["a", "b", "c"] {
        node.set(name, &json!({"allow": ["mkdir"]}));
    }
    let good = fs::read(node.file("b.json")).unwrap();
    node.installer = Node::start(node.folder.path());
    let allowed = |name: &str, call: &str| wanted(name, &json!({"allow": [call]}));
    node.installer.set(allowed("a", "rmdir"));
    node.installer.keep_all();
    assert_eq!(node.settle().written, 1, "a is known");
    fs::write(node.file("b.json"), "{}").unwrap();
    for _ in 0..2 {
        node.installer.check_all();
        assert_eq!(node.settle().removed, 0);
        assert_eq!(fs::read(node.file("b.json")).unwrap(), good);
        assert!(node.file("c.json").exists());
    }
    let report = node.installer.report();
    assert!(failure(&report, "b").contains("the last good file stays"));
    assert!(has(&report, "a"));
    // One that is known wants the file of one that is not.
    node.installer.set(allowed("c.json", "unlink"));
    node.settle();
    assert!(
        fs::read_to_string(node.file("c.json"))
            .unwrap()
            .contains("unlink")
    );
    node.installer.check_all();
    assert_eq!(node.settle(), Done::default());

    node.installer.set(allowed("b", "mkdir"));
    node.installer
        .keep_only(&["b", "c.json"].map(str::to_owned).into());
    assert_eq!(node.settle().removed, 1);
    assert!(node.file("b.json").exists() && !node.file("a.json").exists());
    assert!(node.installer.report().failed.is_empty());
}

#[test]
fn of_two_profiles_that_want_one_file_the_older_one_has_it_whoever_came_first() {
    let created = |name: &str, second: i64, call: &str| Wanted {
        created: k8s_openapi::jiff::Timestamp::from_second(second).ok(),
        ..wanted(name, &json!({"allow": [call]}))
    };
    for (older, newer) in [("a", "a.json"), ("a.json", "a")] {
        for order in [[older, newer], [newer, older]] {
            let mut node = Node::new();
            for name in order {
                let second = if name == older { 1 } else { 2 };
                let call = if name == older { "mkdir" } else { "rmdir" };
                node.installer.set(created(name, second, call));
                node.settle();
            }
            let says = |node: &Node, call: &str| {
                let text = fs::read_to_string(node.file("a.json")).unwrap();
                assert!(text.contains(call), "{older} {order:?}: {text}");
            };
            says(&node, "\"mkdir\"");
            let report = node.installer.report();
            assert!(has(&report, older) && report.count == 1);
            assert!(
                failure(&report, newer).contains(&format!("the older SeccompProfile {older:?}"))
            );

            node.installer = Node::start(node.folder.path());
            for (name, second, call) in [(newer, 2, "rmdir"), (older, 1, "mkdir")] {
                node.installer.set(created(name, second, call));
            }
            let both = [older, newer].map(str::to_owned).into();
            node.installer.keep_only(&both);
            assert_eq!(node.settle(), Done::default(), "after a restart");
            says(&node, "\"mkdir\"");

            node.installer.unset(older);
            node.settle();
            says(&node, "\"rmdir\"");
            assert!(node.installer.report().failed.is_empty());
            node.installer.unset(newer);
            assert_eq!(node.settle().removed, 1);
            assert!(!node.file("a.json").exists());
        }
    }
}

#[test]
fn a_newer_profile_touches_nothing_while_the_older_one_is_not_valid() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    let good = fs::read(node.file("a.json")).unwrap();
    node.set("a", &json!({"defaultAction": "SCMP_ACT_NO"}));
    node.set("a.json", &json!({"allow": ["rmdir"]}));
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
    node.installer.unset("a.json");
    node.settle();
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
}

/// Kills what it denies already: libseccomp leaves the second rule out.
fn contradictory() -> serde_json::Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]})
}

#[test]
fn a_profile_that_would_not_do_what_it_says_leaves_the_last_good_file_and_names_its_rules() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    node.installer
        .set(wanted("b", &json!({"allow": ["rmdir"]})));
    let good = fs::read(node.file("a.json")).unwrap();
    assert_eq!(node.set("a", &contradictory()).written, 1, "b alone");
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
    fs::write(node.file("a.json"), "{}").unwrap();
    node.installer.touched("a.json");
    assert_eq!(node.settle().repaired, 1);
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
    node.set("new", &contradictory());
    assert!(!node.file("new.json").exists());
    let report = node.installer.report();
    for name in ["a", "new"] {
        let why = failure(&report, name);
        for part in [
            "spec.syscalls[1]: mkdir",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_ERRNO (1), which spec.syscalls[0] says",
        ] {
            assert!(why.contains(part), "{why}");
        }
    }
    assert!(has(&report, "b"));
    node.set("a", &json!({"allow": ["unlink"]}));
    assert_ne!(fs::read(node.file("a.json")).unwrap(), good);
    assert!(has(&node.installer.report(), "a"));
}

#[test]
fn a_new_file_waits_to_be_checked_and_the_previous_one_is_put_back_at_once() {
    let mut node = Node::new();
    let spec = json!({"allow": ["mkdir"]});
    node.installer.set(wanted("a", &spec));
    let done = node.installer.settle(&|_| {}).unwrap();
    assert!(done == Done::default() && node.installer.is_checking());
    assert!(!node.file("a.json").exists() && !node.installer.is_settled());
    assert_eq!(node.settle_checked().written, 1);
    assert!(node.installer.is_settled());
    let good = fs::read(node.file("a.json")).unwrap();

    node.installer = Node::open(node.folder.path());
    fs::write(node.file("a.json"), "{}").unwrap();
    node.installer.set(wanted("a", &spec));
    let done = node.installer.settle(&|_| {}).unwrap();
    assert!(done.written == 1 && node.installer.is_checking());
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
    assert!(has(&node.installer.report(), "a"));
}

#[test]
fn a_disabled_profile_keeps_its_file_until_its_generation_is_released() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    let disabled = |generation: i64, release| Wanted {
        generation: Some(generation),
        release,
        ..wanted("a", &json!({"allow": ["mkdir"], "state": "Disabled"}))
    };
    let first = [InstalledProfile {
        generation: Some(1),
        ..node.installer.report().installed[0].clone()
    }];
    node.installer.set(disabled(2, Release::Never));
    assert_eq!(node.settle(), Done::default());
    assert_eq!(node.installer.report().installed, first);
    // Another agent knows it from the copy alone, and repairs the file.
    node.installer = Node::start(node.folder.path());
    node.installer.set(disabled(2, Release::Never));
    node.installer.keep_only(&["a".to_owned()].into());
    fs::write(node.file("a.json"), "{}").unwrap();
    assert_eq!(node.settle().repaired, 1);
    assert_eq!(node.installer.report().installed, first);
    assert!(node.installer.report().failed.is_empty());
    node.installer.set(disabled(2, Release::IfDisabled));
    assert_eq!(node.settle().removed, 1);
    assert_eq!(node.installer.report().count, 0);
    // One that never had a file gets none.
    node.installer.set(disabled(3, Release::Never));
    assert_eq!(node.settle(), Done::default());
    assert!(!node.file("a.json").exists());
}

#[test]
fn a_profile_that_nobody_holds_yet_gets_no_file_and_leaves_that_of_an_earlier_one() {
    let mut node = Node::new();
    let unheld = |call: &str| Wanted {
        is_held: false,
        ..wanted("a", &json!({"allow": [call]}))
    };
    node.installer.set(unheld("mkdir"));
    assert_eq!(node.settle(), Done::default());
    assert!(!node.file("a.json").exists());
    let report = node.installer.report();
    assert!(!has(&report, "a") && report.failed.is_empty());
    node.set("a", &json!({"allow": ["mkdir"]}));
    let good = fs::read(node.file("a.json")).unwrap();
    node.installer.set(unheld("rmdir"));
    fs::write(node.file("a.json"), "{}").unwrap();
    node.installer.touched("a.json");
    assert_eq!(node.settle().repaired, 1);
    assert_eq!(fs::read(node.file("a.json")).unwrap(), good);
    node.installer.unset("a");
    assert_eq!(node.settle().removed, 1);
}

#[test]
fn a_profile_that_is_let_go_loses_its_file_though_it_exists_and_can_still_be_a_base() {
    let mut node = Node::new();
    node.set("base", &json!({"allow": ["mkdir"]}));
    node.set("top", &json!({"baseProfileName": "base"}));
    node.installer.set(Wanted {
        release: Release::Now,
        ..wanted("base", &json!({"allow": ["mkdir"]}))
    });
    assert_eq!(node.settle().removed, 1);
    assert!(!node.file("base.json").exists());
    let report = node.installer.report();
    assert!(has(&report, "top") && !has(&report, "base") && report.failed.is_empty());
}

#[test]
fn a_report_names_the_generation_that_is_on_the_node() {
    let mut node = Node::new();
    let generation = |node: &Node| node.installer.report().installed[0].generation;
    node.set("a", &json!({"allow": ["mkdir"]}));
    assert_eq!(generation(&node), Some(1));
    node.installer.set(Wanted {
        generation: Some(2),
        ..wanted("a", &json!({"allow": ["mkdir"]}))
    });
    assert_eq!(node.settle(), Done::default(), "it says the same");
    assert_eq!(generation(&node), Some(2));
    let invalid = || Wanted {
        generation: Some(3),
        ..wanted("a", &json!({"allow": "text"}))
    };
    node.installer.set(invalid());
    node.settle();
    assert_eq!(node.installer.report().failed[0].generation, Some(2));
    node.installer = Node::start(node.folder.path());
    node.installer.set(invalid());
    node.installer.keep_only(&["a".to_owned()].into());
    node.settle();
    let report = node.installer.report();
    assert_eq!(report.failed[0].generation, Some(2), "after a restart");
    assert!(failure(&report, "a").ends_with("; generation 2 stays on the node"));
}

#[test]
fn a_write_that_fails_leaves_the_copy_of_the_file_and_a_file_without_a_copy_is_not_denied() {
    let mut node = Node::new();
    node.set("a", &json!({"allow": ["mkdir"]}));
    let good = fs::read(node.file("a.json")).unwrap();
    let copy = node.folder.path().join("state/files/a");
    // Where a folder is, no file can be put.
    fs::remove_file(node.file("a.json")).unwrap();
    fs::create_dir_all(node.file("a.json").join("x")).unwrap();
    node.set("a", &json!({"allow": ["rmdir"]}));
    assert!(!failure(&node.installer.report(), "a").is_empty());
    assert!(fs::read(&copy).unwrap().ends_with(&good));
    fs::remove_dir_all(node.file("a.json")).unwrap();
    fs::write(node.file("a.json"), &good).unwrap();

    fs::remove_file(&copy).unwrap();
    node.installer = Node::start(node.folder.path());
    node.set("a", &json!({"allow": "text"}));
    node.installer.keep_only(&["a".to_owned()].into());
    node.settle();
    let report = node.installer.report();
    assert_eq!(report.failed[0].generation, Some(UNKNOWN_GENERATION));
    assert!(failure(&report, "a").ends_with("; the last valid file stays"));
}

#[test]
fn without_a_ledger_only_a_file_that_is_right_is_ours() {
    let mut node = Node::new();
    for name in ["a", "b"] {
        node.set(name, &json!({"allow": ["mkdir"]}));
    }
    let right = fs::read(node.file("a.json")).unwrap();
    fs::write(node.file("b.json"), "{}").unwrap();
    fs::remove_dir_all(node.folder.path().join("state")).unwrap();
    node.installer = Node::open(node.folder.path());
    for name in ["a", "b"] {
        node.set(name, &json!({"allow": ["mkdir"]}));
    }
    assert!(has(&node.installer.report(), "a"));
    assert!(failure(&node.installer.report(), "b").contains("left alone"));
    node.installer.unset("a");
    node.installer.unset("b");
    node.settle();
    assert!(!node.file("a.json").exists() && node.file("b.json").exists());
    assert!(!right.is_empty());
}

/// A file that is there stays, because containers may need it; nothing new that breaks the rules comes.
#[test]
fn a_profile_that_breaks_the_operators_rules_gets_no_file_and_keeps_the_one_it_has() {
    let forbidding = |name: &str| Limits {
        forbidden_calls: [name.to_owned()].into(),
        ..Limits::default()
    };
    let mut node = Node::new();
    node.restart(forbidding("ptrace"), &[]);
    node.installer
        .set(wanted("good", &json!({"allow": ["mkdir"]})));
    node.installer
        .set(wanted("bad", &json!({"allow": ["ptrace"]})));
    node.settle();
    let report = node.installer.report();
    assert!(
        node.file("good.json").exists() && !node.file("bad.json").exists(),
        "{report:?}"
    );
    assert!(has(&report, "good") && !has(&report, "bad"));
    assert_eq!(
        failure(&report, "bad"),
        "the operator's configuration does not allow it: it lets through ptrace (spec.allow), \
         forbidden by --forbidden-syscalls"
    );
    let before = fs::read(node.file("good.json")).unwrap();
    let mut edited = wanted("good", &json!({"allow": ["mkdir", "ptrace"]}));
    edited.generation = Some(2);
    node.installer.set(edited.clone());
    node.settle();
    assert_eq!(fs::read(node.file("good.json")).unwrap(), before);
    let report = node.installer.report();
    assert!(failure(&report, "good").ends_with("; generation 1 stays on the node"));

    // Rules that come later.
    node.restart(Limits::default(), std::slice::from_ref(&edited));
    node.settle();
    let installed = fs::read(node.file("good.json")).unwrap();
    assert_ne!(installed, before);
    node.restart(forbidding("mkdir"), std::slice::from_ref(&edited));
    node.settle();
    assert_eq!(fs::read(node.file("good.json")).unwrap(), installed);
    let report = node.installer.report();
    assert!(failure(&report, "good").ends_with("; generation 2 stays on the node"));
    fs::remove_file(node.file("good.json")).unwrap();
    node.installer.touched("good.json");
    node.settle();
    assert_eq!(
        fs::read(node.file("good.json")).unwrap(),
        installed,
        "it is not repaired"
    );
}
