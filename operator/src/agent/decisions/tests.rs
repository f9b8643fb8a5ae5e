//! Datagrams on a real socket: which are accepted, and what happens to them.

use super::{Distrust, Received, Socket, count, events, read, receive};
use crate::kube::{
    events::EventReason,
    metrics::{AgentMetrics, exposition},
};
use portcullis_profile::{
    Engine,
    gate::decision::{Decision, MAX_RECORD, MAX_VALUE, Outcome, VERSION},
};
use prometheus_client::registry::Registry;
use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// Set in the process that sends as another user.
const SENDER: &str = "GATE_TEST_SENDER";

fn decision() -> Decision {
    let text = |value: &str| Some(value.to_owned());
    Decision {
        version: VERSION,
        time: 1,
        verb: "inject".to_owned(),
        outcome: Outcome::Refused,
        code: 6,
        reason: "profile-missing".to_owned(),
        engine: Engine::CriO,
        namespace: text("shop"),
        pod: text("till-0"),
        uid: text("3f6c"),
        container: text("till"),
        id: text("abc"),
        annotation: text("seccomp.security.alpha.kubernetes.io/pod"),
        reference: text("localhost/operator/x.json"),
        message: "there is no such file".to_owned(),
    }
}

fn record() -> Vec<u8> {
    serde_json::to_vec(&decision()).unwrap()
}

fn send(path: &Path, bytes: &[u8]) {
    UnixDatagram::unbound()
        .unwrap()
        .send_to(bytes, path)
        .unwrap();
}

fn from_root(bytes: &[u8]) -> Received {
    Received {
        bytes: Some(bytes.to_vec()),
        uid: Some(0),
    }
}

#[tokio::test]
async fn a_record_arrives_with_its_sender_and_an_oversized_one_without_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/gate.sock");
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    send(&path, &record());
    let received = socket.receive().await.unwrap();
    assert_eq!(received.uid, Some(nix::unistd::getuid().as_raw()));
    assert_eq!(received.bytes, Some(record()));
    send(&path, &vec![b' '; MAX_RECORD + 1]);
    assert_eq!(socket.receive().await.unwrap().bytes, None);
    send(&path, &vec![b' '; MAX_RECORD]);
    assert!(socket.receive().await.unwrap().bytes.is_some());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    drop(Socket::bind(&path).unwrap());
    drop(UnixDatagram::bind(folder.path().join("gate.sock.new")).unwrap());
    let socket = Socket::bind(&path).unwrap();
    send(&path, b"x");
    assert_eq!(socket.receive().await.unwrap().bytes, Some(vec![b'x']));
    assert!(!socket.is_gone());
    fs::remove_file(&path).unwrap();
    assert!(socket.is_gone());
    fs::write(&path, "mine").unwrap();
    assert!(Socket::bind(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

/// Runs this test again as another user, who sends what root may send.
#[tokio::test]
async fn another_users_record_is_dropped_even_where_it_can_be_sent() {
    if let Some(path) = env::var_os(SENDER) {
        send(Path::new(&path), &record());
        return;
    }
    if !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: only root can send as another user");
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("gate.sock");
    let socket = Socket::bind(&path).unwrap();
    let sent = || {
        Command::new("/proc/self/exe")
            .args([
                "--exact",
                "agent::decisions::tests::another_users_record_is_dropped_even_where_it_can_be_sent",
            ])
            .env(SENDER, &path)
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(!sent(), "the mode alone keeps others out");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(sent());
    let received = socket.receive().await.unwrap();
    assert_eq!(received.uid, Some(65534));
    assert_eq!(read(received), Err(Distrust::Sender));
}

#[test]
fn only_whole_records_of_this_version_from_root_are_believed() {
    assert_eq!(read(from_root(&record())), Ok(decision()));
    for bytes in [
        &b""[..],
        b"x",
        b"{}",
        b"{\"version\":1}",
        b"[1]",
        &[0xff; 9],
    ] {
        assert_eq!(read(from_root(bytes)), Err(Distrust::Malformed));
    }
    let newer = b"{\"version\":2,\"whatever\":1}";
    assert_eq!(read(from_root(newer)), Err(Distrust::Version));
    let (bytes, uid) = (None, Some(0));
    assert_eq!(read(Received { bytes, uid }), Err(Distrust::Oversized));
    let (bytes, uid) = (Some(record()), None);
    assert_eq!(read(Received { bytes, uid }), Err(Distrust::Sender));
}

#[test]
fn the_longest_record_fits() {
    let mut longest = decision();
    let value = "\\".repeat(MAX_VALUE - 4);
    for part in [
        &mut longest.namespace,
        &mut longest.pod,
        &mut longest.uid,
        &mut longest.container,
        &mut longest.id,
        &mut longest.annotation,
        &mut longest.reference,
    ] {
        *part = Some(value.clone());
    }
    longest.message = value;
    let bytes = serde_json::to_vec(&longest.clone().bounded()).unwrap();
    assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
    assert_eq!(read(from_root(&bytes)), Ok(longest));
}

#[test]
fn an_event_names_the_pod_and_the_words_name_the_rest() {
    let notice = events::notice(&decision()).unwrap();
    assert_eq!(notice.about.name.as_deref(), Some("till-0"));
    assert_eq!(notice.about.uid.as_deref(), Some("3f6c"));
    assert_eq!(notice.reason, EventReason::SeccompRefused);
    assert_eq!(
        notice.note,
        "container till does not start: there is no such file (annotation \
         seccomp.security.alpha.kubernetes.io/pod, reference localhost/operator/x.json)"
    );
    for namespace in ["", "..", "a/b", "a?b", "A"] {
        let mut other = decision();
        other.namespace = Some(namespace.to_owned());
        assert!(events::notice(&other).is_none(), "{namespace}");
    }
}

#[tokio::test]
async fn refusals_are_queued_and_everything_is_counted_under_bounded_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let mut registry = Registry::default();
    let metrics = AgentMetrics::register(&mut registry);
    let (queue, mut queued) = mpsc::channel(1);
    let mut odd = decision();
    odd.reason = "of my own".to_owned();
    odd.outcome = Outcome::Accepted;
    count(&odd, &metrics);
    if !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: only root's records are counted");
        return;
    }
    let last = "portcullis_gate_datagrams_dropped_total{reason=\"oversized\"} 1";
    let tries = async {
        // Until the socket is bound there is nobody to send to.
        while !path.exists() {
            sleep(Duration::from_millis(5)).await;
        }
        for bytes in [&record()[..], &record(), b"x", &vec![0; MAX_RECORD * 2]] {
            send(&path, bytes);
        }
        while !exposition(&registry).contains(last) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = receive(&path, &queue, &metrics) => panic!("{result:?}"),
        result = timeout(Duration::from_secs(60), tries) => result.unwrap(),
    }
    assert_eq!(queued.try_recv(), Ok(decision()));
    let metrics = exposition(&registry);
    for line in [
        "portcullis_gate_decisions_total{outcome=\"accepted\",reason=\"other\"} 1",
        "portcullis_gate_decisions_total{outcome=\"refused\",reason=\"profile-missing\"} 2",
        "portcullis_gate_datagrams_dropped_total{reason=\"malformed\"} 1",
        "portcullis_gate_datagrams_dropped_total{reason=\"oversized\"} 1",
        "portcullis_gate_events_total{result=\"dropped\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
