//! A node where the gate is whole: with the files that ship, a stand-in for CRI-O that prints what it
//! works by, and containers.

use super::super::{Arguments, Level, Report, look};
use crate::node::Node;
pub(super) use crate::node::stand::{BINARY, Stand};
use humantime::format_rfc3339;
use portcullis_profile::{Engine, settings::crio::CrioConfig, stamp};
use serde_json::json;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

pub(super) const VERIFY: &str = "etc/crio/hooks.d/portcullis-verify.json";

impl Stand {
    /// A node where CRI-O runs and the gate is whole.
    pub(super) fn crio() -> Stand {
        let stand = Stand::base();
        stand.ship("crio.conf.d", "etc/crio/crio.conf.d");
        stand.write(
            "etc/crio/crio.conf.d/10-crio.conf",
            "[crio.runtime.runtimes.crun]\nruntime_path = '/usr/bin/crun'\nmonitor_path = '/usr/libexec/crio/conmon'\n",
        );
        stand.ship("hooks.d", "etc/crio/hooks.d");
        stand.write("proc/100/comm", "crio\n");
        stand.write("proc/100/cmdline", "/usr/bin/crio\0");
        stand.asked();
        stand.started(stand.age());
        stand
    }

    /// How long ago the node booted, in seconds.
    pub(super) fn age(&self) -> u64 {
        let booted = Node::at_root(self.root.path().to_owned(), true)
            .booted()
            .unwrap();
        booted.elapsed().unwrap().as_secs()
    }

    /// CRI-O started so many seconds after the node booted.
    pub(super) fn started(&self, seconds: u64) {
        let ticks = seconds * 100; // USER_HZ
        let fields = "0 ".repeat(18);
        self.write(
            "proc/100/stat",
            &format!("100 (crio) S {fields}{ticks} 0\n"),
        );
    }

    /// A stand-in that prints what CRI-O works by: its files as they are now.
    pub(super) fn asked(&self) {
        let config = CrioConfig::load(
            &self.at("etc/crio/crio.conf"),
            &self.at("etc/crio/crio.conf.d"),
        )
        .unwrap();
        let mut text = format!(
            "[crio]\n[crio.runtime]\ndefault_runtime = {:?}\nhooks_dir = {:?}\n[crio.runtime.runtimes]\n",
            config.default_runtime, config.hooks_dir
        );
        for name in config.runtimes.keys() {
            let handler = config.handler(name).unwrap();
            let path = handler.path.unwrap_or_else(|| "/usr/bin/crun".into());
            let own = path.strip_prefix("/").unwrap().to_str().unwrap();
            if !self.at(own).exists() {
                continue; // as CRI-O ignores it
            }
            let platforms: Vec<String> = handler
                .platform_paths
                .iter()
                .map(|(platform, to)| format!("{platform:?} = {to:?}"))
                .collect();
            let lines = [
                format!("[crio.runtime.runtimes.{name}]"),
                format!("runtime_path = {path:?}"),
                format!("runtime_type = {:?}", handler.kind),
                "monitor_path = '/usr/libexec/crio/conmon'".to_owned(),
                format!("platform_runtime_paths = {{ {} }}", platforms.join(", ")),
            ];
            text.push_str(&lines.join("\n"));
            text.push('\n');
        }
        self.write("running.toml", &text);
        let running = self.at("running.toml");
        self.program(
            "usr/bin/crio",
            &format!(
                "[ \"$*\" = 'status config' ] || exit 3\ncat {}",
                running.display()
            ),
        );
    }

    /// A node where Podman's hooks are named in containers.conf.
    pub(super) fn podman() -> Stand {
        let stand = Stand::base();
        stand.ship("containers.conf.d", "etc/containers/containers.conf.d");
        stand.ship("podman-hooks.d", "etc/portcullis/podman-hooks.d");
        stand
    }

    /// A container that crun knows, made by CRI-O or Podman with or without our hook.
    pub(super) fn container(&self, id: &str, manager: &str, hooked: bool, kind: &str) {
        let bundle = format!("run/containers/{id}");
        let created = format_rfc3339(SystemTime::now()).to_string();
        let status = json!({ "pid": 1, "bundle": format!("/{bundle}"), "created": created });
        self.write(&format!("run/crun/{id}/status"), &status.to_string());
        let hook = json!({ "path": "/usr/libexec/portcullis/portcullis-hook", "args": ["portcullis-hook", "verify"] });
        let hooks = if hooked { vec![hook] } else { Vec::new() };
        let config = json!({
            "annotations": { "io.container.manager": manager, "io.kubernetes.cri-o.ContainerType": kind },
            "hooks": { "createRuntime": hooks },
        });
        self.write(&format!("{bundle}/config.json"), &config.to_string());
    }

    pub(super) fn stamp(&self, engine: Engine, id: &str) {
        fs::create_dir_all(self.at("run/portcullis")).unwrap();
        let folder = self.at("run/portcullis/decided");
        stamp::leave(&folder, engine, id, "verify", "accepted").unwrap();
    }

    /// Writes a file of the node again until it is newer than everything there.
    pub(super) fn renew(&self, path: &str) {
        let node = Node::at_root(self.root.path().to_owned(), true);
        let own = Path::new("/").join(path);
        let before = SystemTime::now();
        let text = fs::read(self.at(path)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.changed(&own) <= Some(before) {
            assert!(Instant::now() < deadline, "the clock stands still");
            fs::write(self.at(path), &text).unwrap();
        }
    }

    /// Moves a folder away and back until that is newer than everything there.
    pub(super) fn moved(&self, path: &str) {
        let node = Node::at_root(self.root.path().to_owned(), true);
        let before = SystemTime::now();
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.moved(&Path::new("/").join(path)) <= Some(before) {
            assert!(Instant::now() < deadline, "the clock stands still");
            fs::rename(self.at(path), self.at("away")).unwrap();
            fs::rename(self.at("away"), self.at(path)).unwrap();
        }
    }

    pub(super) fn report(&self, engine: Option<Engine>, more: Arguments) -> Report {
        let trusted = Arguments {
            execute: true,
            ..more
        };
        self.report_of(engine, trusted)
    }

    pub(super) fn report_of(&self, engine: Option<Engine>, more: Arguments) -> Report {
        let arguments = Arguments {
            root: self.root.path().to_owned(),
            ..more
        };
        look(Path::new("/etc/portcullis/hook.toml"), engine, &arguments)
    }

    pub(super) fn says(&self, engine: Option<Engine>, level: Level, part: &str) {
        let report = self.report(engine, Arguments::default());
        let found = report.findings.iter().any(|finding| {
            let line = format!("{}: {}; {}", finding.subject, finding.text, finding.remedy);
            finding.level == level && line.contains(part)
        });
        assert!(found, "{part:?} is not in {:#?}", report.lines());
        assert_eq!(
            report.good,
            level != Level::Problem,
            "{:#?}",
            report.lines()
        );
    }

    pub(super) fn is_good(&self, engine: Option<Engine>) -> Report {
        let report = self.report(engine, Arguments::default());
        assert!(report.good, "{:#?}", report.lines());
        report
    }
}
