//! The recorder in a real kernel: loading, pinning, starting and ending recordings, with processes
//! in cgroups of their own.
//!
//! Needs root and a kernel that can record; otherwise every case is reported as ignored, with the
//! reason. Each case has a BPF file system and cgroups of its own, which are removed at its end.
#![allow(clippy::unwrap_used)] // a panic is the failure

use libtest_mimic::{Arguments, Trial};
use nix::{
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
};
use portcullis_hook::{
    oci::config::OciConfig,
    recorder::{
        RecordError,
        active::Active,
        cgroup::{Cgroup, Population, population},
        finish::collect,
        intent::RecordingIntent,
        kernel::{BPFFS, KernelError, Loaded, Unloaded},
        layout::{SlotSetup, Window},
        live::{is_recorded, snapshot},
        metadata::End,
        recordings::Recordings,
        request::Request,
        stale::{Written, collect_stale},
        start::{Container, StartOutcome, start},
    },
};
use portcullis_profile::{
    Arch, Engine,
    filter::syscalls::number,
    parse_filter,
    select::identity::Identity,
    settings::{Record, Settings},
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

type Case = fn(&Node);

const CASES: &[(&str, Case)] = &[
    (
        "what_is_pinned_is_opened_again_and_not_loaded_twice",
        what_is_pinned_is_opened_again_and_not_loaded_twice,
    ),
    (
        "a_recorder_that_looks_at_another_hierarchy_is_refused",
        a_recorder_that_looks_at_another_hierarchy_is_refused,
    ),
    (
        "the_program_is_attached_from_the_first_recording_to_the_last",
        the_program_is_attached_from_the_first_recording_to_the_last,
    ),
    (
        "only_the_calls_of_the_recorded_cgroup_are_observed",
        only_the_calls_of_the_recorded_cgroup_are_observed,
    ),
    (
        "an_emptied_slot_holds_nothing_of_the_recording_before",
        an_emptied_slot_holds_nothing_of_the_recording_before,
    ),
    (
        "a_recording_starts_is_looked_at_and_is_collected",
        a_recording_starts_is_looked_at_and_is_collected,
    ),
    (
        "starting_twice_is_starting_once",
        starting_twice_is_starting_once,
    ),
    (
        "a_container_that_exited_is_written_out_and_said_to_have_exited",
        a_container_that_exited_is_written_out_and_said_to_have_exited,
    ),
    (
        "a_container_that_vanished_is_written_out_and_said_to_have_vanished",
        a_container_that_vanished_is_written_out_and_said_to_have_vanished,
    ),
    (
        "a_container_of_an_id_that_ran_before_leaves_both_recordings",
        a_container_of_an_id_that_ran_before_leaves_both_recordings,
    ),
    (
        "a_recording_that_the_kernel_refuses_leaves_nothing_behind",
        a_recording_that_the_kernel_refuses_leaves_nothing_behind,
    ),
    (
        "what_was_started_and_never_remembered_is_ended",
        what_was_started_and_never_remembered_is_ended,
    ),
    (
        "what_would_be_recorded_is_told_before_it_is",
        what_would_be_recorded_is_told_before_it_is,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each case mounts for itself; side by side they would compete for nothing but the CPU.
    arguments.test_threads = Some(1);
    let missing = missing();
    if let Some(why) = &missing {
        eprintln!("recorder: every case is ignored: {why}");
    }
    let trials = CASES
        .iter()
        .map(|(name, case)| {
            let case = *case;
            Trial::test(*name, move || {
                // A thread of its own, whose mounts go with it.
                thread::spawn(move || case(&Node::new()))
                    .join()
                    .map_err(|_| "it panicked".into())
            })
            .with_ignored_flag(missing.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What this machine lacks for these cases.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no type information".to_owned());
    }
    if cgroup_root().is_none() {
        return Some("no hierarchy of cgroups is mounted".to_owned());
    }
    None
}

/// Where cgroups can be made, in the hierarchy that the recorder would choose.
fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .map(PathBuf::from)
        .find(|root| root.join("cgroup.procs").exists())
}

/// A node of its own: a BPF file system, a recordings folder, a cgroup above its containers.
struct Node {
    recordings: tempfile::TempDir,
    bundle: tempfile::TempDir,
    cgroup: PathBuf,
    settings: Settings,
}

impl Node {
    fn new() -> Node {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none).unwrap();
        let recordings = tempfile::tempdir().unwrap();
        let bundle = tempfile::tempdir().unwrap();
        fs::write(bundle.path().join("config.json"), "{}").unwrap();
        let name = format!(
            "portcullis-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let cgroup = cgroup_root().unwrap().join(name);
        fs::create_dir(&cgroup).unwrap();
        let settings = Settings {
            record: Record {
                folders: vec![recordings.path().to_owned()],
                ..Record::default()
            },
            ..Settings::default()
        };
        Node {
            recordings,
            bundle,
            cgroup,
            settings,
        }
    }

    fn record(&self) -> &Record {
        &self.settings.record
    }

    /// A shell in a cgroup of its own, in the place of a container's init.
    fn init(&self, name: &str) -> Init {
        let folder = self.cgroup.join(name);
        fs::create_dir(&folder).unwrap();
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        fs::write(folder.join("cgroup.procs"), child.id().to_string()).unwrap();
        let said = child.stdout.take().unwrap();
        Init {
            child,
            said,
            folder,
        }
    }

    /// What the record hook does for a container.
    fn start(&self, id: &str, init: &Init) -> Result<StartOutcome, RecordError> {
        let config = OciConfig::parse("{}").unwrap();
        let container = Container {
            id,
            init: init.child.id(),
            bundle: self.bundle.path(),
            config: &config,
            identity: Identity {
                container: Some(id.to_owned()),
                ..Identity::default()
            },
            engine: Engine::Podman,
        };
        start(Request::default(), container, &self.settings)
    }

    /// Starts a recording that has to start, and says where its profile will be.
    fn started(&self, id: &str, init: &Init) -> PathBuf {
        match self.start(id, init).unwrap() {
            StartOutcome::Recording { profile, .. } => profile,
            StartOutcome::Unrecorded(why) => panic!("{why}"),
        }
    }

    fn remembered(&self) -> Vec<Active> {
        let (good, broken) = Recordings::new(self.record()).unwrap().all().unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        good
    }

    /// The recorder where it is loaded already.
    fn loaded(&self) -> Loaded {
        assert!(self.cgroup.exists());
        Unloaded::new(Path::new(BPFFS)).pinned().unwrap().unwrap()
    }

    fn stale(&self) -> Written {
        let mut results = collect_stale(self.record()).unwrap();
        assert_eq!(results.len(), 1, "{results:?}");
        results.remove(0).unwrap()
    }

    /// Whether nothing is attached and nothing remembered.
    fn is_at_rest(&self) -> bool {
        !self.loaded().is_attached().unwrap() && self.remembered().is_empty()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A cgroup can be removed a moment after its last process is gone.
        let until = Instant::now() + Duration::from_secs(30);
        while fs::remove_dir(&self.cgroup).is_err_and(|error| error.raw_os_error() != Some(2)) {
            for entry in fs::read_dir(&self.cgroup).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            assert!(
                Instant::now() < until || thread::panicking(),
                "{} stays",
                self.cgroup.display()
            );
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A container's init: a shell that does what it is told.
struct Init {
    child: Child,
    said: ChildStdout,
    folder: PathBuf,
}

impl Init {
    /// Runs a line in the shell and waits until it has run.
    fn runs(&mut self, line: &str) {
        self.tell(&format!("{line}; echo done"));
    }

    /// Executes the entry point: another shell.
    fn executes(&mut self) {
        self.tell("exec sh -c 'echo done; exec sh'");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut said = Vec::new();
        while !said.ends_with(b"done\n") {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap();
            let mut ready = [PollFd::new(self.said.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut ready, left), Ok(1), "no answer to {line}");
            let mut part = [0; 64];
            let read = self.said.read(&mut part).unwrap();
            assert!(read > 0, "the shell ended at {line}");
            said.extend_from_slice(&part[..read]);
        }
    }

    /// Ends it and waits until its cgroup is empty.
    fn exits(mut self) -> PathBuf {
        self.end();
        self.folder.clone()
    }

    fn end(&mut self) {
        self.child.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.end();
    }
}

/// Loads the recorder for this node's cgroups.
fn load(init: &Init) -> (Loaded, Cgroup) {
    let cgroup = Cgroup::of(init.child.id()).unwrap();
    let loaded = Unloaded::new(Path::new(BPFFS))
        .load(cgroup.hierarchy)
        .unwrap();
    (loaded, cgroup)
}

fn call(name: &str) -> u32 {
    number(name, Arch::HOST).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The metadata beside a profile.
fn metadata(profile: &Path) -> Value {
    let mut path = profile.as_os_str().to_owned();
    path.push(".metadata.json");
    json(Path::new(&path))
}

fn allows(profile: &Path, name: &str) -> bool {
    let filter = parse_filter(&fs::read(profile).unwrap()).unwrap();
    let mut names = filter.syscalls.iter().flat_map(|rule| &rule.names);
    names.any(|allowed| allowed == name)
}

fn what_is_pinned_is_opened_again_and_not_loaded_twice(node: &Node) {
    let unloaded = Unloaded::new(Path::new(BPFFS));
    assert!(unloaded.pinned().unwrap().is_none());
    unloaded.check().unwrap();
    let init = node.init("a");
    let (first, cgroup) = load(&init);
    first.prepare(3, &SlotSetup::default()).unwrap();
    first.start(cgroup.id, 3).unwrap();
    // The same maps, seen through a second opening.
    let (second, _) = load(&init);
    assert_eq!(second.recorded_cgroups().unwrap(), [(cgroup.id, 3)]);
    assert_eq!(second.slot_of(cgroup.id).unwrap(), Some(3));
    assert_eq!(second.slot_of(cgroup.id + 1).unwrap(), None);
    second.end(cgroup.id).unwrap();
    assert_eq!(first.recorded_cgroups().unwrap(), []);
}

fn a_recorder_that_looks_at_another_hierarchy_is_refused(node: &Node) {
    use portcullis_hook::recorder::cgroup::Hierarchy;
    let (_, cgroup) = load(&node.init("a"));
    let other = (0..6)
        .filter_map(Hierarchy::from_number)
        .find(|other| *other != cgroup.hierarchy)
        .unwrap();
    let error = Unloaded::new(Path::new(BPFFS)).load(other).unwrap_err();
    assert!(
        matches!(error, KernelError::OtherHierarchy { .. }),
        "{error}"
    );
}

fn the_program_is_attached_from_the_first_recording_to_the_last(node: &Node) {
    let (one, two) = (node.init("a"), node.init("b"));
    let (loaded, first) = load(&one);
    let (_, second) = load(&two);
    let attached = || loaded.is_attached().unwrap();
    assert!(!attached());
    loaded.start(first.id, 0).unwrap();
    assert!(attached());
    loaded.start(second.id, 1).unwrap();
    // A cgroup is recorded once.
    assert!(loaded.start(second.id, 2).is_err());
    loaded.end(first.id).unwrap();
    assert!(attached());
    loaded.end(second.id).unwrap();
    assert!(!attached());
    // Ending what has ended is nothing.
    loaded.end(second.id).unwrap();
}

fn only_the_calls_of_the_recorded_cgroup_are_observed(node: &Node) {
    let (mut inside, mut neighbour) = (node.init("a"), node.init("b"));
    let (loaded, cgroup) = load(&inside);
    let setup = SlotSetup {
        init: inside.child.id(),
        filters: 1,
        counted: vec![call("clone"), call("clone3"), call("vfork")],
        ..SlotSetup::default()
    };
    loaded.prepare(0, &setup).unwrap();
    loaded.start(cgroup.id, 0).unwrap();
    assert_eq!(loaded.observed(0).unwrap().window, Window::NotOpened);
    // What the init does before it executes the entry point is not the container's.
    inside.runs("cd /");
    neighbour.runs("mkdir -p /tmp");
    inside.runs("(exec true)");
    let before = loaded.observed(0).unwrap();
    assert_eq!(before.window, Window::NotOpened);
    assert!(before.before.contains(&call("chdir")));
    assert!(before.native.is_empty(), "{before:?}");
    // From here on the window is open.
    inside.executes();
    inside.runs("umask 022; sync");
    let after = loaded.observed(0).unwrap();
    assert_eq!(after.window, Window::OpenedByExec);
    for name in ["execve", "umask", "sync"] {
        assert!(after.native.contains(&call(name)), "{name}: {after:?}");
    }
    assert!(!after.native.contains(&call("chdir")), "{after:?}");
    neighbour.runs("mkdir -p /tmp");
    let mkdirs = ["mkdir", "mkdirat"].map(|name| number(name, Arch::HOST));
    let all = loaded.observed(0).unwrap().native;
    assert!(mkdirs.iter().flatten().all(|number| !all.contains(number)));
    assert!(after.forks >= 1 && after.unknown_abi.is_none());
}

fn an_emptied_slot_holds_nothing_of_the_recording_before(node: &Node) {
    let mut init = node.init("a");
    let (loaded, cgroup) = load(&init);
    // Without filters every call counts at once.
    loaded.prepare(0, &SlotSetup::default()).unwrap();
    loaded.start(cgroup.id, 0).unwrap();
    init.runs("true");
    loaded.end(cgroup.id).unwrap();
    assert!(loaded.observed(0).unwrap().native.contains(&call("write")));
    loaded.prepare(0, &SlotSetup::default()).unwrap();
    init.runs("true");
    let observed = loaded.observed(0).unwrap();
    assert_eq!(observed.window, Window::NotOpened);
    assert!(observed.native.is_empty());
}

fn a_recording_starts_is_looked_at_and_is_collected(node: &Node) {
    let mut init = node.init("a");
    let pid = init.child.id();
    assert!(is_recorded("abc", pid, node.record()).is_err());
    let profile = node.started("abc", &init);
    is_recorded("abc", pid, node.record()).unwrap();
    init.executes();
    init.runs("umask 022");
    let (active, observed) = snapshot("ab", node.record()).unwrap();
    assert!(observed.native.contains(&call("umask")));
    assert_eq!(active.filter, None);
    assert!(!profile.exists());
    // Only another container's.
    let other = node.init("b");
    assert!(is_recorded("abc", other.child.id(), node.record()).is_err());
    assert_eq!(
        collect("abc", node.record()).unwrap().as_ref(),
        Some(&profile)
    );
    assert!(allows(&profile, "umask") && allows(&profile, "execve"));
    assert!(!allows(&profile, "swapoff"));
    let metadata = metadata(&profile);
    assert_eq!(metadata["end"], "stopped");
    assert_eq!(metadata["window"], "execve");
    assert_eq!(metadata["runtimeBaseAdded"], true);
    assert!(is_recorded("abc", pid, node.record()).is_err());
    assert_eq!(collect("abc", node.record()).unwrap(), None);
    assert!(node.is_at_rest());
}

fn starting_twice_is_starting_once(node: &Node) {
    let init = node.init("a");
    assert_eq!(node.started("abc", &init), node.started("abc", &init));
    assert_eq!(node.remembered().len(), 1);
    assert_eq!(node.loaded().recorded_cgroups().unwrap().len(), 1);
}

fn a_container_that_exited_is_written_out_and_said_to_have_exited(node: &Node) {
    let mut init = node.init("a");
    let profile = node.started("abc", &init);
    init.executes();
    // While it runs nothing is stale.
    assert_eq!(collect_stale(node.record()).unwrap().len(), 0);
    let folder = init.exits();
    let active = &node.remembered()[0];
    assert_eq!(
        population(&folder, active.cgroup).unwrap(),
        Population::Empty
    );
    let written = node.stale();
    assert_eq!((written.end, &written.profile), (End::Exited, &profile));
    assert_eq!(metadata(&profile)["end"], "exited");
    assert!(allows(&profile, "execve") && node.is_at_rest());
}

fn a_container_that_vanished_is_written_out_and_said_to_have_vanished(node: &Node) {
    for (bundle_stays, end) in [(true, End::Exited), (false, End::Vanished)] {
        let mut init = node.init("a");
        let profile = node.started("abc", &init);
        init.executes();
        let folder = init.exits();
        fs::remove_dir(&folder).unwrap();
        if !bundle_stays {
            fs::remove_file(node.bundle.path().join("config.json")).unwrap();
        }
        assert_eq!(node.stale().end, end);
        assert_eq!(metadata(&profile)["end"], end.as_str());
        assert!(allows(&profile, "execve") && node.is_at_rest());
    }
}

fn a_container_of_an_id_that_ran_before_leaves_both_recordings(node: &Node) {
    let mut first = node.init("a");
    let earlier = node.started("abc", &first);
    first.executes();
    first.runs("umask 022");
    first.exits();
    let init = node.init("b");
    let second = node.started("abc", &init);
    assert_ne!(second, earlier);
    assert!(allows(&earlier, "umask"));
    assert_eq!(metadata(&earlier)["end"], "exited");
    assert_eq!(node.remembered().len(), 1);
    assert_eq!(node.remembered()[0].output().path(), second);
}

fn a_recording_that_the_kernel_refuses_leaves_nothing_behind(node: &Node) {
    let init = node.init("a");
    let (loaded, cgroup) = load(&init);
    // Its cgroup is recorded already, by nobody that is remembered.
    loaded.start(cgroup.id, 7).unwrap();
    assert!(node.start("abc", &init).is_err());
    assert_eq!(node.remembered(), []);
    assert_eq!(loaded.recorded_cgroups().unwrap(), []);
    assert!(node.is_at_rest());
}

fn what_was_started_and_never_remembered_is_ended(node: &Node) {
    let init = node.init("a");
    let (loaded, cgroup) = load(&init);
    Recordings::new(node.record()).unwrap().lock().unwrap();
    loaded.start(cgroup.id, 7).unwrap();
    assert_eq!(collect_stale(node.record()).unwrap().len(), 0);
    assert!(node.is_at_rest());
    // But not while a file can't be read that may be its own.
    loaded.start(cgroup.id, 7).unwrap();
    let torn = node.recordings.path().join(".active/torn.json");
    fs::write(&torn, "{").unwrap();
    assert!(collect_stale(node.record()).unwrap()[0].is_err());
    assert!(loaded.is_attached().unwrap());
    fs::remove_file(torn).unwrap();
    assert_eq!(collect_stale(node.record()).unwrap().len(), 0);
    assert!(node.is_at_rest());
}

fn what_would_be_recorded_is_told_before_it_is(node: &Node) {
    let text = r#"{"annotations": {"portcullis.dev/record": "true"}}"#;
    let intent = |settings: &Settings| {
        let config = OciConfig::parse(text).unwrap();
        let identity = Identity::of(Engine::Podman, config.annotations());
        RecordingIntent::of(Engine::Podman, &identity, &config, settings)
    };
    assert_eq!(intent(&node.settings), RecordingIntent::WillRecord);
    assert_eq!(fs::read_dir(node.recordings.path()).unwrap().count(), 0);
    let mut limited = node.settings.clone();
    limited.record.max_active = 1;
    assert_eq!(intent(&limited), RecordingIntent::WillRecord);
    let init = node.init("a");
    node.started("abc", &init);
    assert!(
        matches!(intent(&limited), RecordingIntent::Unrecorded(why) if why.contains("max_active"))
    );
    // Also while somebody starts or ends one.
    let held = Recordings::new(node.record()).unwrap().lock().unwrap();
    assert!(matches!(intent(&limited), RecordingIntent::Unrecorded(_)));
    is_recorded("abc", init.child.id(), node.record()).unwrap();
    drop(held);
    nix::mount::umount(BPFFS).unwrap();
    let found = intent(&node.settings);
    // Another BPF file system may be mounted below.
    assert!(
        matches!(&found, RecordingIntent::Impossible(why) if why.contains("mount -t bpf"))
            || found == RecordingIntent::WillRecord,
        "{found:?}"
    );
}
