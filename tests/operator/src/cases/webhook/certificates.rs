//! The webhook's certificates are replaced while pods are created, by one controller and by two that
//! share them.

use super::{WEB, always, bound, live};
use crate::{
    admission::pod,
    cases::cases,
    crowd::Crowd,
    http::free_address,
    stage::{NAMESPACE, Stage},
    wait::until,
};
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

cases![
    no_pod_is_refused_while_certificates_are_replaced,
    two_controllers_answer_at_once_and_either_may_go,
];

/// How long a certificate is valid in these cases, in seconds: as short as it may be.
const LIFE: &str = "--webhook-certificate-seconds=12";
/// What the leader says when it replaces one.
const REPLACED: &str = "the next certificate is served";
const PATH: &str = "operator/web.json";

/// Waits until a controller has replaced its certificate so many times.
async fn replaced(stage: &Stage, controller: usize, times: usize, crowd: &Crowd) -> Result<()> {
    let log = &stage.processes[controller];
    until("the certificates are replaced", async || {
        // What failed is said by its end.
        ensure!(!crowd.is_well() || log.count(REPLACED)? >= times);
        Ok(())
    })
    .await
}

async fn no_pod_is_refused_while_certificates_are_replaced(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    let first = stage.controller_with(&[LIFE])?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let crowd = Crowd::begin(stage, PATH);
    replaced(stage, first, 2, &crowd).await?;
    until("a thousand pods are created", async || {
        ensure!(
            !crowd.is_well() || crowd.created() >= 1_000,
            "{}",
            crowd.created()
        );
        Ok(())
    })
    .await?;
    eprintln!("{} pods, eight at once", crowd.end()?);
    // Another controller goes on with what is in the Secret, and makes a new one of rubbish.
    stage.processes.clear();
    let rubbish = r#"{"stringData":{"certificates.json":"rubbish"}}"#;
    let secret = ["-n", NAMESPACE, "patch", "secret", "portcullis-admission"];
    stage.kubectl(&[&secret[..], &["-p", rubbish]].concat())?;
    stage.controller_with(&[LIFE])?;
    admission.is_effective("bound", &pod("p"), WEB).await
}

/// What a Service is to the API server: an address behind which several servers take turns.
struct Service {
    address: SocketAddr,
    /// The servers, each with how often it was connected to.
    endpoints: Arc<Mutex<Vec<(SocketAddr, usize)>>>,
}

impl Service {
    fn start() -> Result<Service> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let endpoints = Arc::<Mutex<Vec<(SocketAddr, usize)>>>::default();
        let (behind, turn) = (Arc::clone(&endpoints), AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut behind = behind.lock().unwrap_or_else(PoisonError::into_inner);
                if behind.is_empty() {
                    continue;
                }
                let index = turn.fetch_add(1, Ordering::Relaxed) % behind.len();
                behind[index].1 += 1;
                if let Ok(server) = TcpStream::connect(behind[index].0) {
                    let _ = forward(&client, &server);
                }
            }
        });
        Ok(Service { address, endpoints })
    }

    fn endpoints(&self) -> std::sync::MutexGuard<'_, Vec<(SocketAddr, usize)>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, endpoint: SocketAddr) {
        self.endpoints().push((endpoint, 0));
    }

    fn remove(&self, endpoint: SocketAddr) {
        self.endpoints().retain(|(each, _)| *each != endpoint);
    }
}

/// Copies what one side sends to the other, until both have ended.
fn forward(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    Ok(())
}

/// Starts a controller behind a service, and waits until it answers: a Service has it only then.
async fn serving(stage: &mut Stage, service: &Service) -> Result<(usize, SocketAddr)> {
    let endpoint = free_address()?;
    let url = format!("https://{}", service.address);
    let listen = format!("--webhook-listen={endpoint}");
    let controller = stage.controller_serving(&[LIFE, &listen, &format!("--webhook-url={url}")])?;
    until("another controller answers", async || {
        let output = Command::new("curl")
            .args(["-ksS", "--max-time", "5", "-o", "/dev/null"])
            .arg(format!("https://{endpoint}/"))
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    })
    .await?;
    service.add(endpoint);
    Ok((controller, endpoint))
}

async fn two_controllers_answer_at_once_and_either_may_go(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    let service = Service::start()?;
    let (leader, first) = serving(stage, &service).await?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let (standby, second) = serving(stage, &service).await?;
    let crowd = Crowd::begin(stage, PATH);
    replaced(stage, leader, 2, &crowd).await?;
    // The leader goes as a pod that is deleted does: nobody is sent to it any more, and those who are
    // on their way are still answered. The other one goes on, also with the certificates.
    stage.processes[leader].signal(Signal::SIGTERM)?;
    service.remove(first);
    stage.processes[leader].ended().await?;
    replaced(stage, standby, 1, &crowd).await?;
    let counts = service.endpoints().clone();
    eprintln!("{} pods, eight at once; {counts:?}", crowd.end()?);
    // One that is killed costs what is sent to it until it is no endpoint any more, and nothing after.
    let (_, third) = serving(stage, &service).await?;
    for _ in 0..20 {
        always(&admission).await?;
    }
    ensure!(
        service.endpoints().iter().all(|(_, count)| *count > 0),
        "{counts:?}"
    );
    stage.processes[standby].crash().await?;
    service.remove(second);
    for _ in 0..20 {
        always(&admission).await?;
    }
    ensure!(service.endpoints()[0].0 == third);
    live(stage, &admission, "mutatingwebhookconfiguration").await
}
