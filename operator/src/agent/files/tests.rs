//! The keeper on real folders: changes come from a channel, and from others who change the files.

use super::*;
use crate::agent::{
    Source,
    gate::Traces,
    source::{Release, Wanted, packed_spec::PackedSpec},
};
use crate::kube::metrics::exposition;
use futures::{StreamExt, channel::mpsc};
use portcullis_profile::program::{Limits, Memo};
use prometheus_client::registry::Registry;
use std::fs;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node with an agent's keeper on it.
struct Node {
    folder: tempfile::TempDir,
    health: Health,
    changes: mpsc::UnboundedSender<Result<Change, String>>,
    reports: watch::Receiver<Option<SeccompNodeSpec>>,
}

impl Node {
    fn root(&self) -> PathBuf {
        self.folder.path().join("seccomp")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root().join(folder::NAME).join(format!("{name}.json"))
    }

    fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.changes.unbounded_send(Ok(change)).unwrap();
        }
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(DEADLINE, wait).await.is_ok(), "not: {what}");
    }

    async fn report(&mut self, holds: impl Fn(&SeccompNodeSpec) -> bool) -> SeccompNodeSpec {
        let report = self
            .reports
            .wait_for(|report| report.as_ref().is_some_and(&holds));
        let report = timeout(DEADLINE, report).await.expect("no such report");
        report.unwrap().clone().unwrap()
    }
}

/// Runs a keeper beside a course of events on its node, until that ends; gives its metrics.
async fn on_a_node(course: impl AsyncFnOnce(&mut Node)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::default();
    let metrics = AgentMetrics::register(&mut registry);
    let (report, reports) = watch::channel(None);
    let path = |name: &str| folder.path().join(name);
    let options = Options {
        source: Source::Folder(path("manifests")),
        root: path("seccomp"),
        state: path("state"),
        gate_socket: path("gate.sock"),
        gate_traces: Traces {
            check: path("check.json"),
            decided: path("decided"),
        },
        memo: Memo::none(),
        limits: Limits::default(),
        nri: None,
    };
    let mut keeper = Keeper::open(&options, report, &metrics).unwrap();
    let (changes, told) = mpsc::unbounded();
    let health = Health::default();
    let mut node = Node {
        folder,
        health: health.clone(),
        changes,
        reports,
    };
    tokio::select! {
        result = keeper.run(told.boxed(), &health) => panic!("the keeper has ended: {result:?}"),
        () = course(&mut node) => {}
    }
    exposition(&registry)
}

fn spec(name: &str) -> String {
    format!(r#"{{"allow": ["{name}"]}}"#)
}

fn listed(name: &str, spec: impl AsRef<str>) -> Change {
    Change::Listed(Wanted {
        name: name.to_owned(),
        created: None,
        generation: None,
        is_held: true,
        release: Release::IfDisabled,
        spec: PackedSpec::of(spec.as_ref()),
    })
}

fn list(profiles: &[(&str, &str)]) -> Vec<Change> {
    let listed = profiles.iter().map(|(name, call)| listed(name, spec(call)));
    let mut changes = vec![Change::Begin];
    changes.extend(listed);
    changes.push(Change::Complete);
    changes
}

fn has(metrics: &str, line: &str) {
    assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
}

#[tokio::test]
async fn a_list_becomes_files_and_the_agent_is_ready_once_it_is_whole() {
    let metrics = on_a_node(async |node| {
        let mut half = list(&[("a", "mkdir")]);
        let wrong = r#"{"defaultAction": "SCMP_ACT_NO"}"#;
        half.insert(2, listed("b", wrong));
        half.pop();
        node.tell(half);
        let changes = node.changes.clone();
        node.until("taken in", || changes.is_empty()).await;
        assert!(!node.health.is_ready() && !node.file("a").exists());
        node.tell([Change::Complete]);
        let file = node.file("a");
        node.until("a file", || file.is_file()).await;
        let report = node.report(|report| report.synced).await;
        assert_eq!(report.count, 1);
        assert!(node.health.is_ready());
        assert!(
            report.failed[0].reason.contains("SCMP_ACT_NO"),
            "{report:?}"
        );
    })
    .await;
    has(&metrics, "portcullis_agent_files_written_total 1");
    has(&metrics, "portcullis_agent_profiles{state=\"installed\"} 1");
    has(&metrics, "portcullis_agent_profiles{state=\"failed\"} 1");
    has(&metrics, "portcullis_agent_file_write_seconds_count 1");
}

#[tokio::test]
async fn a_list_that_begins_anew_counts_only_once_it_is_whole() {
    on_a_node(async |node| {
        node.tell(list(&[("a", "mkdir"), ("b", "mkdir")]));
        node.report(|report| report.count == 2).await;
        // It breaks off, and begins again without b.
        node.tell([Change::Begin, listed("a", spec("mkdir"))]);
        node.tell(list(&[("a", "rmdir")]));
        let (a, b) = (node.file("a"), node.file("b"));
        node.until("b has gone", || !b.exists()).await;
        let is_new = || fs::read_to_string(&a).is_ok_and(|text| text.contains("rmdir"));
        node.until("a is the new one", is_new).await;
        node.tell([Change::Unset("a".to_owned())]);
        node.report(|report| report.count == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_somebody_touches_is_repaired_without_a_change_in_the_cluster() {
    let metrics = on_a_node(async |node| {
        node.tell(list(&[("a", "mkdir")]));
        let file = node.file("a");
        node.until("a file", || file.is_file()).await;
        let right = fs::read(&file).unwrap();
        fs::write(&file, "{}").unwrap();
        let is_right = || fs::read(&file).is_ok_and(|text| text == right);
        node.until("repaired", is_right).await;
        fs::remove_file(&file).unwrap();
        node.until("there again", is_right).await;
    })
    .await;
    has(&metrics, "portcullis_agent_files_repaired_total 2");
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_filled_and_watched_from_then_on() {
    let metrics = on_a_node(async |node| {
        node.tell(list(&[("a", "mkdir")]));
        let file = node.file("a");
        node.until("a file", || file.is_file()).await;
        let folder = node.root().join(folder::NAME);
        fs::rename(&folder, node.root().join("old")).unwrap();
        node.until("in the new folder", || file.is_file()).await;
        fs::remove_file(&file).unwrap();
        node.until("watched", || file.is_file()).await;
        fs::rename(&folder, node.root().join("older")).unwrap();
        std::os::unix::fs::symlink(node.root().join("old"), &folder).ok();
        if fs::symlink_metadata(&folder).unwrap().is_symlink() {
            let report = node.report(|report| report.problem.is_some()).await;
            assert!(report.problem.unwrap().contains("rm "));
            fs::remove_file(&folder).unwrap();
        }
        node.until("mended", || file.is_file()).await;
        node.report(|report| report.problem.is_none() && report.count == 1)
            .await;
    })
    .await;
    has(&metrics, "portcullis_agent_folder_unusable 0");
}

#[tokio::test]
async fn an_outage_of_the_api_server_stops_no_repair() {
    on_a_node(async |node| {
        node.tell(list(&[("a", "mkdir")]));
        let file = node.file("a");
        node.until("a file", || file.is_file()).await;
        let outage = Err("the API server: no answer".to_owned());
        node.changes.unbounded_send(outage).unwrap();
        fs::remove_file(&file).unwrap();
        node.until("there again", || file.is_file()).await;
    })
    .await;
}
