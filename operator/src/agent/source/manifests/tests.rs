//! Folders of manifests that are edited, broken and removed.

use super::*;

const HEAD: &str = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\n";

fn manifest(name: &str, call: &str) -> String {
    format!("{HEAD}metadata: {{name: {name}}}\nspec: {{allow: [{call}]}}\n")
}

/// A host with a folder of manifests.
struct Host {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    manifests: Manifests,
}

impl Host {
    fn new() -> Host {
        let state = tempfile::tempdir().unwrap();
        Host {
            folder: tempfile::tempdir().unwrap(),
            manifests: Manifests::open(state.path()).unwrap(),
            state,
        }
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    fn restart(&mut self) {
        self.manifests = Manifests::open(self.state.path()).unwrap();
    }

    /// Whether the profiles are all.
    fn is_complete(&mut self) -> bool {
        self.manifests.read(self.folder.path()).unwrap().is_complete
    }

    /// Each profile with the call that it allows.
    fn profiles(&mut self) -> Vec<String> {
        let read = self.manifests.read(self.folder.path()).unwrap();
        let calls = read.profiles.into_iter().map(|(name, spec)| {
            let spec: serde_json::Value = serde_json::from_str(&spec.text()).unwrap();
            format!("{name} {}", spec["allow"][0].as_str().unwrap_or("-"))
        });
        calls.collect()
    }
}

/// Edits that leave nothing of a manifest of one profile right.
fn broken() -> Vec<Vec<u8>> {
    let good = manifest("a", "mkdir");
    let mut broken: Vec<Vec<u8>> = [
        String::new(),
        "# nothing\n---\n".to_owned(),
        "a: [".to_owned(),
        good.replace("allow", "alow"),
        good.replace("v1alpha1", "v1"),
        good.replace("name: a", ""),
        good.replace("mkdir", "'"),
        good.replace("spec:", "spec: ~ #"),
        good[..good.len() / 2].to_owned(),
        format!("{good}metadata: {{name: b}}\n"),
        "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1),
    ]
    .map(String::into_bytes)
    .into();
    broken.push(vec![0xff, 0xfe]);
    broken
}

#[test]
fn a_broken_edit_leaves_what_the_manifest_said_before_also_over_a_restart() {
    for text in broken() {
        let mut host = Host::new();
        host.write("a.yaml", manifest("a", "mkdir"));
        assert_eq!(host.profiles(), ["a mkdir"]);
        host.write("a.yaml", &text);
        for _ in 0..3 {
            let shown = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
            assert_eq!(host.profiles(), ["a mkdir"], "{shown}");
            host.restart();
        }
        host.write("a.yaml", manifest("a", "rmdir"));
        assert_eq!(host.profiles(), ["a rmdir"]);
    }
}

#[test]
fn a_manifest_that_is_removed_takes_its_profiles_along_also_when_it_is_broken_or_no_agent_runs() {
    for is_broken in [false, true] {
        for restarts in [false, true] {
            let mut host = Host::new();
            host.write("a.yaml", manifest("a", "mkdir"));
            host.write("b.yaml", manifest("b", "mkdir"));
            host.profiles();
            if is_broken {
                host.write("a.yaml", "a: [");
                assert_eq!(host.profiles(), ["a mkdir", "b mkdir"]);
            }
            host.remove("a.yaml");
            if restarts {
                host.restart();
            }
            assert_eq!(host.profiles(), ["b mkdir"]);
            host.write("a.yaml", "a: [");
            assert_eq!(host.profiles(), ["b mkdir"], "it is forgotten");
        }
    }
}

#[test]
fn what_is_right_in_a_broken_manifest_counts_and_nothing_is_taken_for_removed() {
    let mut host = Host::new();
    let three = ["a", "b", "c"].map(|name| manifest(name, "mkdir"));
    host.write("x.yaml", three.join("---\n"));
    assert_eq!(host.profiles(), ["a mkdir", "b mkdir", "c mkdir"]);
    let text = [manifest("a", "rmdir"), "b: [\n".to_owned()].join("---\n");
    host.write("x.yaml", &text);
    assert_eq!(host.profiles(), ["a rmdir", "b mkdir", "c mkdir"]);
    host.restart();
    assert_eq!(host.profiles(), ["a rmdir", "b mkdir", "c mkdir"]);
    host.write("x.yaml", manifest("a", "rmdir"));
    assert_eq!(host.profiles(), ["a rmdir"]);
}

#[test]
fn a_profile_that_moves_to_another_manifest_counts_there() {
    let mut host = Host::new();
    host.write("1.yaml", manifest("a", "mkdir"));
    host.profiles();
    host.write("1.yaml", "a: [");
    host.write("2.yaml", manifest("a", "rmdir"));
    assert_eq!(host.profiles(), ["a rmdir"]);
    host.write("1.yaml", manifest("a", "mkdir"));
    assert_eq!(host.profiles(), ["a mkdir"], "the first of two");
    host.remove("1.yaml");
    assert_eq!(host.profiles(), ["a rmdir"]);
}

/// Whatever has become of the copies: nothing is taken for removed that may be in a manifest that
/// can't be read.
#[test]
fn where_a_broken_manifest_has_no_copy_its_profiles_are_not_taken_for_removed() {
    let remove = |copy: &Path| fs::remove_file(copy).unwrap();
    let damage = |copy: &Path| fs::write(copy, "{").unwrap();
    let empty = |copy: &Path| fs::write(copy, r#"{"manifest": "/x", "profiles": {}}"#).unwrap();
    for spoil in [remove as fn(&Path), damage, empty] {
        let mut host = Host::new();
        host.write("a.yaml", manifest("a", "mkdir"));
        host.write("b.yaml", manifest("b", "mkdir"));
        assert!(host.is_complete());
        for entry in fs::read_dir(host.state.path().join("manifests")).unwrap() {
            spoil(&entry.unwrap().path());
        }
        host.restart();
        host.write("a.yaml", "a: [");
        for text in [
            "a: {",
            &format!("{}---\na: {{", manifest("c", "mkdir")),
            "a: [",
        ] {
            assert!(!host.is_complete());
            host.restart();
            assert!(!host.is_complete());
            host.write("a.yaml", text);
        }
        assert_eq!(host.profiles(), ["b mkdir"]);
        host.write("a.yaml", manifest("a", "rmdir"));
        assert!(host.is_complete());
        assert_eq!(host.profiles(), ["a rmdir", "b mkdir"]);
        host.write("a.yaml", "a: [");
        assert!(host.is_complete(), "it is known again");
        host.write("new.yaml", "a: [");
        assert!(!host.is_complete());
        host.remove("new.yaml");
        assert!(host.is_complete());
    }
}

#[test]
fn only_visible_manifests_are_read_and_of_each_what_is_right() {
    let mut host = Host::new();
    host.write(
        "1.yaml",
        manifest("a", "mkdir") + "---\n---\n" + &manifest("b", "mkdir"),
    );
    host.write("2.yml", manifest("a", "rmdir"));
    host.write(
        "3.json",
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}"#,
    );
    host.write(
        "4.yaml",
        manifest("c", "mkdir") + "---\n" + &manifest("c", "rmdir"),
    );
    host.write(".5.yaml", manifest("hidden", "mkdir"));
    host.write("6.txt", manifest("text", "mkdir"));
    host.write("7.json", "\u{feff}".to_owned() + &manifest("d", "mkdir"));
    fs::create_dir(host.folder.path().join("8.yaml")).unwrap();
    nix::unistd::mkfifo(
        &host.folder.path().join("9.yaml"),
        nix::sys::stat::Mode::S_IRUSR,
    )
    .unwrap();
    assert_eq!(
        host.profiles(),
        ["a mkdir", "b mkdir", "c mkdir", "d mkdir"]
    );
}

#[test]
fn a_folder_that_can_not_be_read_is_an_error_and_not_an_empty_one() {
    let mut host = Host::new();
    assert!(
        host.manifests
            .read(&host.folder.path().join("none"))
            .is_err()
    );
}
