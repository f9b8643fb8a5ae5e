//! A node with CRI-O, and what the tests do with it; the tests themselves are in files by what they test.

mod properties;
mod refused;
mod removal;
mod state;
mod written;

use super::*;
use crate::node::stand::Stand;
use portcullis_profile::settings::crio::CrioConfig;
use std::fs;

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
