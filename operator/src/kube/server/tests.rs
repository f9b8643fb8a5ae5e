//! The server with well-behaved and misbehaving clients, on real sockets.

use super::*;
use crate::kube::metrics::{Closed, ClosedLabels};
use nix::sys::resource::setrlimit;
use prometheus_client::registry::Registry;
use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

/// Longer than anything here takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(60);
/// Set in the process that serves with few descriptors.
const SERVER: &str = "SERVER_TEST_FEW_DESCRIPTORS";
/// The size of the body of `/large`: more than the sockets' buffers take.
const LARGE: usize = 32 << 20;

fn routes() -> Routes {
    Routes::default()
        .get("/healthz", || text(StatusCode::OK, "ok\n"))
        .get("/large", || text(StatusCode::OK, vec![b'x'; LARGE]))
}

fn metrics() -> ServerMetrics {
    ServerMetrics::register(&mut Registry::default())
}

async fn start_with(acceptor: impl Acceptor, limits: Limits) -> (Server, ServerMetrics) {
    let (address, metrics) = (SocketAddr::from(([127, 0, 0, 1], 0)), metrics());
    let server = Server::start(address, acceptor, routes(), limits, metrics.clone())
        .await
        .unwrap();
    (server, metrics)
}

async fn start(limits: Limits) -> (Server, ServerMetrics) {
    start_with(Plain, limits).await
}

/// Limits under which time closes nothing.
fn patient(connections: usize) -> Limits {
    Limits {
        connections,
        header_timeout: DEADLINE * 2,
        connection_timeout: DEADLINE * 2,
        ..Limits::default()
    }
}

/// The same, under which nobody makes room for others either.
fn full(connections: usize) -> Limits {
    Limits {
        idle_grace: DEADLINE * 2,
        asked_grace: DEADLINE * 2,
        ..patient(connections)
    }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// A connection whose large answer has begun, and waits for a caller who reads on.
async fn being_answered(server: &Server) -> TcpStream {
    let mut connection = connect(server).await;
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut begin = [0; 12];
    connection.read_exact(&mut begin).await.unwrap();
    connection
}

/// Everything until the end of the connection; an error counts as the end too.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut all)).await;
    let _ = read.expect("the connection is still open");
    all
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(rest(&mut stream).await).unwrap()
}

async fn probe(address: SocketAddr) {
    let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer:?}");
}

fn closed(metrics: &ServerMetrics, reason: Closed) -> u64 {
    let labels = ClosedLabels { reason };
    metrics.connections_closed.get_or_create(&labels).get()
}

/// Waits until so many were closed for this reason: the server counts after a caller sees the end.
async fn counts_to(metrics: &ServerMetrics, reason: Closed, count: u64) {
    let end = Instant::now() + DEADLINE;
    while closed(metrics, reason) < count {
        assert!(Instant::now() < end, "{}", closed(metrics, reason));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(closed(metrics, reason), count);
}

#[tokio::test]
async fn a_path_a_method_and_head_are_answered_as_http_has_it() {
    let (server, _) = start(Limits::default()).await;
    let address = server.address();
    let answer = async |method: &str, path: &str| {
        ask(
            address,
            &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        )
        .await
    };
    let head = answer("HEAD", "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-length: 3\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
    let unknown = answer("GET", "/health").await;
    assert!(
        unknown.starts_with("HTTP/1.1 404 Not Found\r\n"),
        "{unknown}"
    );
    let unknown = answer("DELETE", "/").await;
    assert!(
        unknown.starts_with("HTTP/1.1 404 Not Found\r\n"),
        "{unknown}"
    );
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let wrong = answer(method, "/healthz").await;
        assert!(wrong.starts_with("HTTP/1.1 405 "), "{wrong}");
        assert!(wrong.contains("allow: GET, HEAD\r\n"), "{wrong}");
    }
    let query = answer("GET", "/healthz?verbose").await;
    assert!(query.starts_with("HTTP/1.1 200 OK\r\n"), "{query}");
}

/// The answer would be lost if the connection were closed while the caller still sends.
#[tokio::test]
async fn a_refusal_reaches_a_caller_with_a_large_body() {
    let (server, _) = start(patient(16)).await;
    let body = vec![b'x'; 8 << 20];
    for (path, status) in [("/nowhere", "404"), ("/healthz", "405")] {
        let mut stream = connect(&server).await;
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_headers_without_end_too() {
    let (server, _) = start(patient(16)).await;
    let answer = ask(server.address(), "\x16\x03\x01 hello\r\n\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer:?}"
    );
    let long = format!(
        "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
        "y".repeat(100_000)
    );
    let mut stream = connect(&server).await;
    let _ = stream.write_all(long.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    probe(server.address()).await;
}

/// This used to make every probe fail: 120 idle connections, then eight more every five seconds.
/// Here they come faster, and there are more of them.
#[tokio::test]
async fn probes_are_answered_beside_hundreds_of_idle_connections() {
    let (server, metrics) = start(Limits {
        connections: 64,
        ..patient(64)
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(&server).await);
    }
    for _ in 0..20 {
        for _ in 0..8 {
            idle.push(connect(&server).await);
        }
        probe(server.address()).await;
    }
    assert!(closed(&metrics, Closed::Displaced) >= 200 + 8 * 20 - 64);
    assert_eq!(closed(&metrics, Closed::Late), 0);
}

#[tokio::test]
async fn callers_who_send_a_byte_at_a_time_are_closed_and_probes_answered_meanwhile() {
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..patient(256)
    };
    let (server, metrics) = start(limits).await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut stream = connect(&server).await;
        slow.spawn(async move {
            let end = Instant::now() + DEADLINE;
            let request = "GET /healthz HTTP/1.1\r\nX: ".bytes();
            for byte in request.chain(std::iter::repeat(b'y')) {
                assert!(Instant::now() < end, "it could go on and on");
                let (mut answer, byte) = ([0; 1], [byte]);
                tokio::select! {
                    biased;
                    _ = stream.read(&mut answer) => return,
                    () = sleep(Duration::from_millis(20)) => {}
                }
                if stream.write_all(&byte).await.is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..10 {
        probe(server.address()).await;
    }
    while let Some(ended) = slow.join_next().await {
        ended.unwrap();
    }
    counts_to(&metrics, Closed::Late, 100).await;
    assert_eq!(closed(&metrics, Closed::Displaced), 0);
}

#[tokio::test]
async fn the_oldest_idle_connection_makes_room_and_one_that_is_being_answered_does_not() {
    let (server, metrics) = start(patient(3)).await;
    let mut busy = being_answered(&server).await;
    let mut older = connect(&server).await;
    let mut newer = connect(&server).await;
    let last = connect(&server).await;
    assert!(rest(&mut older).await.is_empty());
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    newer.write_all(request).await.unwrap();
    assert!(rest(&mut newer).await.ends_with(b"ok\n"));
    counts_to(&metrics, Closed::Displaced, 1).await;
    drop(last);
    let body = rest(&mut busy).await;
    assert!(body.len() > LARGE, "{} bytes", body.len());
}

/// A burst of API requests is one of connections to the webhook.
#[tokio::test]
async fn callers_who_come_all_at_once_wait_and_do_not_replace_each_other() {
    let (server, metrics) = start_with(Handshake, full(8)).await;
    let address = server.address();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        callers.spawn(ask(address, "!GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    while let Some(answer) = callers.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("!HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
    assert_eq!(closed(&metrics, Closed::Displaced), 0);
}

#[tokio::test]
async fn a_request_in_progress_is_finished_before_another_one_takes_its_place() {
    let (server, metrics) = start(full(1)).await;
    let mut busy = being_answered(&server).await;
    let mut waiting = connect(&server).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    waiting.write_all(request).await.unwrap();
    assert!(rest(&mut busy).await.len() > LARGE);
    assert!(rest(&mut waiting).await.ends_with(b"ok\n"));
    assert_eq!(closed(&metrics, Closed::Displaced), 0);
}

#[tokio::test]
async fn one_whose_answer_takes_too_long_makes_room_in_the_end() {
    let limits = Limits {
        asked_grace: Duration::from_millis(100),
        ..full(1)
    };
    let (server, metrics) = start(limits).await;
    let _stuck = being_answered(&server).await;
    probe(server.address()).await;
    assert_eq!(closed(&metrics, Closed::Displaced), 1);
}

#[tokio::test]
async fn a_caller_who_does_not_read_its_answer_is_closed() {
    let limits = Limits {
        connection_timeout: Duration::from_millis(200),
        ..patient(16)
    };
    let (server, metrics) = start(limits).await;
    let mut stream = connect(&server).await;
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    counts_to(&metrics, Closed::Late, 1).await;
    assert!(rest(&mut stream).await.len() < LARGE);
}

#[tokio::test]
async fn a_connection_serves_one_request() {
    let (server, _) = start(patient(16)).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = ask(server.address(), &request.repeat(2)).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_server_that_ends_answers_what_was_asked_and_waits_for_nobody_else() {
    let (server, _) = start(patient(16)).await;
    let address = server.address();
    let mut idle = connect(&server).await;
    let mut asking = being_answered(&server).await;
    let reading = tokio::spawn(async move { rest(&mut asking).await.len() });
    timeout(DEADLINE, server.shutdown()).await.unwrap();
    assert!(rest(&mut idle).await.is_empty());
    assert!(reading.await.unwrap() > LARGE);
    assert!(TcpStream::connect(address).await.is_err());
}

/// A handshake, as TLS would have one: the caller sends a byte, and is sent it back.
struct Handshake;

impl Acceptor for Handshake {
    type Stream = TcpStream;

    async fn accept(&self, mut connection: TcpStream) -> io::Result<TcpStream> {
        let byte = connection.read_u8().await?;
        connection.write_u8(byte).await?;
        Ok(connection)
    }
}

#[tokio::test]
async fn a_handshake_comes_before_http_and_has_to_come_in_time() {
    let limits = Limits {
        header_timeout: Duration::from_secs(3),
        ..patient(16)
    };
    let (server, metrics) = start_with(Handshake, limits).await;
    let mut silent = connect(&server).await;
    let answer = ask(
        server.address(),
        "!GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("!HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(rest(&mut silent).await.is_empty());
    counts_to(&metrics, Closed::Late, 1).await;
}

/// Runs this test again in a process that may have 64 descriptors, and serves until its standard
/// input ends.
#[tokio::test]
async fn probes_are_answered_where_descriptors_are_few() {
    if env::var_os(SERVER).is_some() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let limits = Limits {
            header_timeout: DEADLINE * 2,
            connection_timeout: DEADLINE * 2,
            ..Limits::default()
        };
        let (server, _) = start(limits).await;
        println!("address {}", server.address());
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
            .await
            .unwrap()
            .unwrap();
        return;
    }
    let name = "kube::server::tests::probes_are_answered_where_descriptors_are_few";
    let mut child = Command::new("/proc/self/exe")
        .args(["--exact", name, "--nocapture"])
        .env(SERVER, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let address: SocketAddr = lines
        .find_map(|line| Some(line.split_once("address ")?.1.parse().unwrap()))
        .unwrap();
    let mut idle = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        probe(address).await;
    }
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_default_limits_leave_descriptors_to_the_rest_of_the_process() {
    let limits = Limits::default();
    assert!((MIN_CONNECTIONS..=MAX_CONNECTIONS).contains(&limits.connections));
    assert!(limits.header_timeout < Duration::from_secs(1));
}
