//! What `--remove` takes away, and what it leaves for containers that exist.

use super::*;
use std::time::SystemTime;

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
        said.contains("handler portcullis-crun stays: needed by 1 container (c1)"),
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

#[test]
fn the_unit_that_would_write_it_again_is_named() {
    let stand = packaged();
    set_up(&stand);
    let said = || with(&stand, removal()).unwrap().lines.join("\n");
    stand.write(UNIT.trim_start_matches('/'), "");
    assert!(said().contains("systemctl mask portcullis-setup-crio"));
    stand.remove(UNIT.trim_start_matches('/'));
    set_up(&stand);
    assert!(!said().contains("mask"));
}
