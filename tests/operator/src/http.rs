//! Requests to the operator's own endpoints.

use anyhow::{Context, Result, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// How long an answer may take: the probes' timeout in packaging/manifests/workloads.yaml.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The whole answer to a request, head and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT).context("connecting")?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).context("reading")?;
    Ok(answer)
}

/// That `/metrics` contains a text.
pub(crate) fn has_metric(address: SocketAddr, text: &str) -> Result<()> {
    let metrics = get(address, "/metrics")?;
    ensure!(metrics.contains(text), "{metrics}");
    Ok(())
}
