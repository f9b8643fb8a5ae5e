//! Decisions on containers as a runtime describes them, with a seccomp root on disk.

use super::*;
use crate::agent::nri::{container::tells_filters, policy};
use portcullis_nri::{
    Code,
    api::{Container, Hook, Hooks, LinuxContainer, PodSandbox, ProfileType, SecurityProfile},
};
use portcullis_profile::{
    Engine, parse_filter,
    root::SeccompRoot,
    select::annotations::{CONTAINER_ANNOTATION_PREFIX, POD_ANNOTATION},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use tokio::sync::mpsc;

const REFERENCE: &str = "localhost/operator/p.json";
const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW",
    "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":61}]}"#;

struct Node {
    folder: tempfile::TempDir,
    gate: Gate,
    decisions: mpsc::Receiver<Decision>,
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("root/operator")).unwrap();
        fs::write(path("root/operator/p.json"), PROFILE).unwrap();
        fs::write(path("hook.toml"), "wait_ms = 0\n").unwrap();
        let (sender, decisions) = mpsc::channel(16);
        let shared = Shared {
            root: path("root"),
            decided: path("decided"),
            memo: Memo::at(&path("checked"), "agent"),
            decisions: sender,
        };
        let options = Options {
            socket: "/none".into(),
            settings: path("hook.toml"),
            hook: "/hook".into(),
            host: folder.path().to_owned(),
        };
        let ledger = Ledger::open(folder.path()).unwrap();
        Node {
            gate: Gate::new(options, shared, ledger),
            folder,
            decisions,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// As the plugin does: at once where that is possible.
    fn answers(&self, subject: &Subject, abilities: &Abilities) -> Answer<Creation> {
        let at_once = self.gate.conclude_at_once(subject, abilities);
        let concluded = at_once.unwrap_or_else(|| {
            let evaluation = self.gate.decide(subject, abilities);
            self.gate.conclude(subject, &evaluation)
        });
        self.gate.publish(concluded.decision);
        concluded.answer
    }

    fn decides(&self, subject: &Subject) -> Answer<Creation> {
        self.answers(subject, &abilities(true))
    }
}

fn abilities(sets_filters: bool) -> Abilities {
    Abilities {
        runtime: "containerd v2.1.0".into(),
        sets_filters,
        limit: Duration::from_secs(60),
    }
}

fn subject(engine: Engine, annotations: &[(&str, &str)]) -> Subject {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let pod = PodSandbox {
        namespace: "shop".into(),
        name: "web".into(),
        annotations: annotations.iter().map(owned).collect(),
        ..PodSandbox::default()
    };
    let container = Container {
        id: "abc".into(),
        name: "c".into(),
        ..Container::default()
    };
    Subject::new(engine, tells_filters(engine, "v2.4.0"), pod, container)
}

const DEFAULT: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW",
    "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;

/// A container whose field asks for the engine's default, and that has this policy.
fn asking(policy: &str) -> Subject {
    let filter = parse_filter(policy.as_bytes()).unwrap();
    let container = Container {
        id: "abc".into(),
        name: "c".into(),
        linux: Some(LinuxContainer {
            seccomp_profile: Some(SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                localhost_ref: String::new(),
            }),
            seccomp_policy: Some(policy::of_filter(&filter)),
            ..LinuxContainer::default()
        }),
        ..Container::default()
    };
    let pod = PodSandbox {
        namespace: "shop".into(),
        name: "web".into(),
        ..PodSandbox::default()
    };
    Subject::new(Engine::Containerd, true, pod, container)
}

fn selecting(reference: &str) -> Subject {
    subject(Engine::Containerd, &[(POD_ANNOTATION, reference)])
}

fn policy(creation: &Creation) -> Option<String> {
    let set = creation.seccomp_policy.as_ref()?;
    Some(policy::to_json(&set.policy()))
}

fn hooks(creation: Creation) -> Option<Hooks> {
    creation.adjust?.hooks
}

#[test]
fn the_selected_filter_is_set_and_remembered() {
    let mut node = Node::new();
    let creation = node.decides(&selecting(REFERENCE)).unwrap();
    let set = policy(&creation).unwrap();
    assert!(set.contains("mkdir") && set.contains("61"), "{set}");
    assert!(set.contains("portcullis-1-"), "{set}");
    assert_eq!(creation.adjust, None);
    assert!(node.gate.ledger.knows("abc"));
    let stamps = stamp::read(&node.folder.path().join("decided")).unwrap();
    assert_eq!((&*stamps[0].id, &*stamps[0].verb), ("abc", "nri"));
    let decision = node.decisions.try_recv().unwrap();
    assert_eq!(decision.outcome, Outcome::Applied);
    assert_eq!(decision.container.as_deref(), Some("c"));
}

#[test]
fn a_refusal_names_pod_container_annotation_reference_and_reason() {
    let mut node = Node::new();
    let refused = node.decides(&selecting("localhost/operator/none.json"));
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.code, Code::FailedPrecondition);
    let expected = format!(
        "pod shop/web, container c, annotation {POD_ANNOTATION}, reference \
         localhost/operator/none.json: no such file below {}",
        node.folder.path().join("root").display()
    );
    assert_eq!(refusal.message, expected);
    assert_eq!(node.decisions.try_recv().unwrap().outcome, Outcome::Refused);
    std::os::unix::fs::symlink("p.json", node.folder.path().join("root/operator/l.json")).unwrap();
    let link = node.decides(&selecting("localhost/operator/l.json"));
    assert!(link.unwrap_err().message.contains("symbolic link"));
}

#[test]
fn what_selects_nothing_or_is_exempt_is_left_without_being_looked_at() {
    let node = Node::new();
    let leaves = |annotations: &[(&str, &str)]| {
        let subject = subject(Engine::Containerd, annotations);
        node.gate.leaves(&subject)
    };
    let sibling = format!("{CONTAINER_ANNOTATION_PREFIX}sibling");
    assert!(leaves(&[]) && leaves(&[(&sibling, REFERENCE)]));
    assert!(!leaves(&[(POD_ANNOTATION, REFERENCE)]));
    assert!(!leaves(&[(POD_ANNOTATION, "../x")]));
    assert!(!leaves(&[("run.oci.hooks.stderr", "/x")]));
    let mut exempt = selecting(REFERENCE);
    exempt.identity.namespace = Some("kube-system".into());
    assert!(node.gate.leaves(&exempt));
    node.write("hook.toml", "require = \"any-filter\"\n");
    assert!(!leaves(&[]));
    let bare = node.decides(&subject(Engine::Containerd, &[]));
    assert!(bare.unwrap_err().message.contains("any-filter"));
    node.write("hook.toml", "nonsense = true # and longer\n");
    assert!(leaves(&[]) && !leaves(&[(POD_ANNOTATION, REFERENCE)]));
    let refused = node.decides(&selecting(REFERENCE)).unwrap_err().message;
    assert!(refused.contains("nonsense"), "{refused}");
}

#[test]
fn where_cri_o_says_nothing_of_the_filter_or_the_name_the_container_is_refused() {
    let node = Node::new();
    let refused = |subject: &Subject| node.decides(subject).unwrap_err().message;
    let pods = subject(Engine::CriO, &[(POD_ANNOTATION, REFERENCE)]);
    assert!(refused(&pods).contains("does not say which filter"));
    let own = format!("{CONTAINER_ANNOTATION_PREFIX}c");
    let annotations = [(&*own, "unconfined"), (POD_ANNOTATION, REFERENCE)];
    let mut nameless = subject(Engine::CriO, &annotations);
    nameless.identity.container = None;
    assert!(refused(&nameless).contains("does not name the container"));
}

#[test]
fn a_runtime_that_drops_policies_refuses() {
    let node = Node::new();
    let refused = node.answers(&selecting(REFERENCE), &abilities(false));
    let message = refused.unwrap_err().message;
    assert!(message.contains("containerd v2.1.0 drops"), "{message}");
}

/// Gives the node a hook; `false` if this test is not root's, so the hook would not be used.
fn has_hook(node: &Node) -> bool {
    let hook = node.folder.path().join("hook");
    node.write("hook", "");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fs::metadata(&hook).unwrap().uid() == 0
}

#[test]
fn a_container_that_asks_to_be_recorded_gets_the_hooks_for_that() {
    let mut node = Node::new();
    let asking = |more: &[(&str, &str)]| {
        let mut all = vec![("portcullis.dev/record", "true")];
        all.extend(more);
        subject(Engine::Containerd, &all)
    };
    assert!(!node.gate.leaves(&asking(&[])));
    let without = node.decides(&asking(&[])).unwrap();
    assert_eq!(without, Creation::default());
    let message = node.decisions.try_recv().unwrap().message;
    assert!(message.contains("the node has no hook /hook"), "{message}");
    if !has_hook(&node) {
        return;
    }
    let verbs =
        |hooks: &[Hook]| -> Vec<String> { hooks.iter().map(|hook| hook.args[1].clone()).collect() };
    let hooks = hooks(node.decides(&asking(&[])).unwrap()).unwrap();
    let expected = "portcullis-hook record --engine=containerd --nri --namespace=shop --pod=web \
         --container=c --asks=portcullis.dev/record=true";
    assert_eq!(hooks.create_runtime[0].args.join(" "), expected);
    assert_eq!(
        hooks.poststop[0].args.join(" "),
        "portcullis-hook collect --engine=containerd"
    );
    assert_eq!(verbs(&hooks.create_runtime), ["record"]);
    // It is recorded before it is verified.
    let both = asking(&[(POD_ANNOTATION, REFERENCE)]);
    let hooks = self::hooks(node.decides(&both).unwrap()).unwrap();
    assert_eq!(verbs(&hooks.create_runtime), ["record", "verify"]);
    let mut exempt = asking(&[]);
    exempt.identity.namespace = Some("kube-system".into());
    assert!(self::hooks(node.decides(&exempt).unwrap()).is_some());
    let own = asking(&[("portcullis.dev/record", "false")]);
    assert!(node.gate.leaves(&own));
}

#[test]
fn denials_stay_in_force_while_a_container_is_recorded() {
    let mut node = Node::new();
    node.write("hook.toml", "wait_ms = 0\n[record]\nlog_denials = true\n");
    let annotations = [
        (POD_ANNOTATION, REFERENCE),
        ("portcullis.dev/record", "true"),
    ];
    let set = node
        .decides(&subject(Engine::Containerd, &annotations))
        .unwrap();
    assert!(policy(&set).unwrap().contains("61"));
    let message = node.decisions.try_recv().unwrap().message;
    assert!(message.contains("denials stay in force"), "{message}");
}

#[test]
fn the_nodes_hook_verifies_what_was_set() {
    let node = Node::new();
    if !has_hook(&node) {
        return;
    }
    assert_eq!(node.gate.verify_hook().as_deref(), Some("/hook"));
    let hooks = hooks(node.decides(&selecting(REFERENCE)).unwrap()).unwrap();
    let args = hooks.create_runtime[0].args.join(" ");
    let expected = format!(
        "portcullis-hook verify --engine=containerd --nri --namespace=shop --pod=web \
         --container=c --nri-set-filter --annotation={POD_ANNOTATION} --reference={REFERENCE}"
    );
    assert_eq!(args, expected);
    let free = node.decides(&selecting("unconfined")).unwrap();
    assert_eq!(free, Creation::default());
}

#[test]
fn a_default_errno_that_nri_drops_is_said() {
    let mut node = Node::new();
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38}"#;
    node.write("root/operator/p.json", text);
    assert!(node.decides(&selecting(REFERENCE)).is_ok());
    let message = node.decisions.try_recv().unwrap().message;
    assert!(message.contains("default errno 38"), "{message}");
}

#[test]
fn what_depends_on_capabilities_is_refused_where_the_engine_would_resolve_it() {
    let node = Node::new();
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["reboot"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_BOOT"]}}]}"#;
    node.write("root/operator/p.json", text);
    let mut container = Container {
        id: "abc".into(),
        name: "c".into(),
        ..Container::default()
    };
    let word = "io.kubernetes.cri-o.SeccompProfilePath";
    container
        .annotations
        .insert(word.into(), "Unconfined".into());
    let pod = PodSandbox {
        annotations: [(POD_ANNOTATION.into(), REFERENCE.into())].into(),
        ..PodSandbox::default()
    };
    let refused = node.decides(&Subject::new(Engine::CriO, false, pod, container));
    assert!(refused.unwrap_err().message.contains("capabilities"));
}

#[test]
fn a_container_that_nothing_decided_on_is_a_gap_until_it_has_its_filter() {
    let mut node = Node::new();
    let limit = Duration::from_secs(60);
    let running = [selecting(REFERENCE), subject(Engine::Containerd, &[])];
    assert_eq!(node.gate.gaps(&running, limit), ["shop/web/c"]);
    let decision = node.decisions.try_recv().unwrap();
    assert_eq!(decision.outcome, Outcome::Warned);
    assert!(decision.message.starts_with(GAP), "{}", decision.message);
    node.gate.ledger.note("abc", false).unwrap();
    assert!(node.gate.gaps(&running, limit).is_empty());
    assert!(node.gate.gaps(&[], limit).is_empty());
    assert!(!node.gate.ledger.knows("abc"), "it is gone");
    let decided = Path::new(&node.folder.path()).join("decided");
    stamp::leave(&decided, Engine::Containerd, "abc", "runtime", "applied").unwrap();
    assert!(node.gate.gaps(&running, limit).is_empty());
}

#[test]
fn a_filter_that_was_set_and_never_reached_the_runtime_is_a_gap() {
    let mut node = Node::new();
    let limit = Duration::from_secs(60);
    node.decides(&selecting(REFERENCE)).unwrap();
    node.decisions.try_recv().unwrap();
    assert_eq!(
        node.gate.gaps(&[selecting(REFERENCE)], limit),
        ["shop/web/c"]
    );
    let decision = node.decisions.try_recv().unwrap();
    assert!(decision.message.starts_with(LOST), "{}", decision.message);
    // One that warned has started without a filter, as it was told to.
    node.write("hook.toml", "mode = \"warn\"\nwait_ms = 0\n");
    let missing = selecting("localhost/operator/none.json");
    node.decides(&missing).unwrap();
    assert!(node.gate.gaps(&[missing], limit).is_empty());
}

#[test]
fn a_container_that_was_not_decided_on_in_time_is_refused_and_reported_once() {
    let mut node = Node::new();
    let subject = selecting(REFERENCE);
    let late = Gate::too_late(&subject, Duration::from_secs(1));
    // What is decided after that is not concluded.
    node.gate.decide(&subject, &abilities(true));
    let concluded = node.gate.conclude(&subject, &late);
    node.gate.publish(concluded.decision);
    let refused = concluded.answer.unwrap_err();
    assert!(refused.message.contains("1000"), "{}", refused.message);
    assert_eq!(node.decisions.try_recv().unwrap().outcome, Outcome::Refused);
    assert!(node.decisions.try_recv().is_err());
    assert!(!node.gate.ledger.has_set("abc"));
}

#[test]
fn the_nodes_own_default_takes_the_place_of_the_engines() {
    let mut node = Node::new();
    let engines = asking(DEFAULT);
    assert!(node.gate.leaves(&engines));
    let settings = format!(
        "wait_ms = 0\nruntime_default = {:?}\n",
        node.folder.path().join("own.json")
    );
    node.write("hook.toml", &settings);
    assert!(!node.gate.leaves(&engines));
    let missing = node.decides(&engines).unwrap_err().message;
    assert!(missing.contains("own.json"), "{missing}");
    node.write("own.json", PROFILE);
    node.decisions.try_recv().unwrap();
    let limit = Duration::from_secs(60);
    node.gate.ledger.forget("abc").unwrap();
    fs::remove_dir_all(node.folder.path().join("decided")).unwrap();
    assert_eq!(node.gate.gaps(&[asking(DEFAULT)], limit), ["shop/web/c"]);
    let older = node.decisions.try_recv().unwrap().message;
    assert!(older.starts_with(OLDER), "{older}");
    let set = policy(&node.decides(&engines).unwrap()).unwrap();
    assert!(set.contains("61"), "{set}");
    let message = node.decisions.try_recv().unwrap().message;
    assert!(message.contains("the node's own default"), "{message}");
    // It says so until the runtime has it.
    assert_eq!(node.gate.gaps(&[engines], limit), ["shop/web/c"]);
    let decision = node.decisions.try_recv().unwrap();
    assert!(decision.message.starts_with(LOST), "{}", decision.message);
    assert!(node.gate.gaps(&[asking(PROFILE)], limit).is_empty());
}

#[test]
fn one_that_allows_more_than_the_engines_leaves_that() {
    let mut node = Node::new();
    let settings = format!(
        "wait_ms = 0\nruntime_default = {:?}\n",
        node.folder.path().join("own.json")
    );
    node.write("hook.toml", &settings);
    node.write("own.json", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    let kept = node.decides(&asking(DEFAULT)).unwrap();
    assert_eq!(kept, Creation::default());
    let message = node.decisions.try_recv().unwrap().message;
    assert!(
        message.contains("runtime_default allows mkdir"),
        "{message}"
    );
}

impl Node {
    /// Waits until the files' versions are reliable.
    fn settle(&self) {
        let root = SeccompRoot::open(&self.folder.path().join("root")).unwrap();
        for file in fs::read_dir(self.folder.path().join("root/operator")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let path = format!("operator/{name}").parse().unwrap();
            while !root.version(&path).unwrap().is_settled() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn sets(&self, reference: &str) -> String {
        policy(&self.decides(&selecting(reference)).unwrap()).unwrap()
    }
}

#[test]
fn a_known_profile_is_the_one_on_disk_whatever_changes() {
    let node = Node::new();
    node.sets(REFERENCE);
    assert!(
        node.gate.known.paths().is_empty(),
        "it was written just now"
    );
    node.settle();
    let set = node.sets(REFERENCE);
    assert_eq!(node.gate.known.paths(), ["operator/p.json"]);
    assert_eq!(node.sets(REFERENCE), set);
    // Of the same length, in place and by a new file.
    for errno in ["62", "63"] {
        let file = if errno == "62" { "p.json" } else { "new.json" };
        let text = PROFILE.replace("61", errno);
        node.write(&format!("root/operator/{file}"), &text);
        let path = |name: &str| node.folder.path().join("root/operator").join(name);
        fs::rename(path(file), path("p.json")).unwrap();
        assert!(
            node.sets(REFERENCE)
                .contains(&format!("\"errnoRet\":{errno}"))
        );
        node.settle();
        for _ in 0..2 {
            assert!(
                node.sets(REFERENCE)
                    .contains(&format!("\"errnoRet\":{errno}"))
            );
        }
    }
    node.write("hook.toml", "max_profile_bytes = 10\nwait_ms = 0\n");
    let refused = node.decides(&selecting(REFERENCE)).unwrap_err().message;
    assert!(refused.contains("larger than 10 bytes"), "{refused}");
    node.write("hook.toml", "wait_ms = 0\n");
    assert!(node.sets(REFERENCE).contains("\"errnoRet\":63"));
    fs::remove_file(node.folder.path().join("root/operator/p.json")).unwrap();
    let refused = node.decides(&selecting(REFERENCE)).unwrap_err().message;
    assert!(refused.contains("no such file"), "{refused}");
}

#[test]
fn what_is_known_is_answered_at_once_as_it_was_answered_before() {
    let mut node = Node::new();
    node.settle();
    let at_once = |node: &Node, subject: &Subject, abilities: &Abilities| {
        let concluded = node.gate.conclude_at_once(subject, abilities)?;
        Some(concluded.answer)
    };
    let wanted = selecting(REFERENCE);
    let sets = abilities(true);
    assert!(at_once(&node, &wanted, &sets).is_none(), "nothing is known");
    let before = node.answers(&wanted, &sets).unwrap();
    let reported = node.decisions.try_recv().unwrap();
    node.gate.ledger.forget("abc").unwrap();
    let known = node.gate.conclude_at_once(&wanted, &sets).unwrap();
    assert_eq!(known.answer.unwrap(), before);
    let time = reported.time;
    assert_eq!(
        Decision {
            time,
            ..known.decision
        },
        reported
    );
    assert!(node.gate.ledger.has_set("abc"));
    let dropped = at_once(&node, &wanted, &abilities(false)).unwrap();
    assert!(dropped.unwrap_err().message.contains("containerd v2.1.0"));
    // Another engine, one that is to be recorded, and one that selects nothing.
    let other = [
        subject(Engine::CriO, &[(POD_ANNOTATION, REFERENCE)]),
        subject(
            Engine::Containerd,
            &[
                (POD_ANNOTATION, REFERENCE),
                ("portcullis.dev/record", "true"),
            ],
        ),
        subject(Engine::Containerd, &[]),
        selecting("localhost/operator/none.json"),
    ];
    for other in &other {
        assert!(at_once(&node, other, &sets).is_none(), "{other:?}");
    }
    node.write("hook.toml", "wait_ms = 1\n# other settings\n");
    assert!(at_once(&node, &wanted, &sets).is_none());
    node.write("root/operator/p.json", &PROFILE.replace("61", "62"));
    assert!(at_once(&node, &wanted, &sets).is_none());
    assert!(
        policy(&node.answers(&wanted, &sets).unwrap())
            .unwrap()
            .contains("62")
    );
}

#[test]
fn a_known_profile_is_not_taken_for_a_container_that_has_a_filter() {
    let node = Node::new();
    node.settle();
    node.sets(REFERENCE);
    assert_eq!(node.gate.known.paths().len(), 1);
    let mut container = Container {
        id: "abc".into(),
        name: "c".into(),
        ..Container::default()
    };
    let other = parse_filter(br#"{"defaultAction":"SCMP_ACT_KILL"}"#).unwrap();
    container.linux = Some(LinuxContainer {
        seccomp_policy: Some(policy::of_filter(&other)),
        ..Default::default()
    });
    let pod = PodSandbox {
        annotations: [(POD_ANNOTATION.into(), REFERENCE.into())].into(),
        ..PodSandbox::default()
    };
    let refused = node.decides(&Subject::new(Engine::Containerd, true, pod, container));
    assert!(refused.unwrap_err().message.contains("another filter"));
}

#[test]
fn what_is_known_is_bounded() {
    let node = Node::new();
    let condition = r#"{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":7,"op":"SCMP_CMP_EQ"}]}"#;
    let rules = vec![condition; 2000].join(",");
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#);
    for name in ["a", "b", "c"] {
        node.write(&format!("root/operator/{name}.json"), &text);
    }
    node.settle();
    for name in ["p", "a", "b", "a", "c"] {
        node.sets(&format!("localhost/operator/{name}.json"));
    }
    assert_eq!(
        node.gate.known.paths(),
        ["operator/a.json", "operator/c.json"]
    );
}
