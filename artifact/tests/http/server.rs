//! A server whose answers a test makes up; what was asked for is kept.

use portcullis_artifact::{
    Access, ArtifactError, Credentials, Digest, Platform, PublicKey, Pulled, Reference, Remote,
    Scheme,
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// The public half of the key in `artifact/src/key.rs`.
pub(crate) const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAT7LjXieHXqfm3dK9RC+O50wqVH6BYHr9eA44zB0svxI=\n-----END PUBLIC KEY-----\n";

/// What is answered to a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This, at once.
    Whole(String),
    /// This, after a while.
    After(Duration, String),
    /// The first, then the second again and again, with a pause after each.
    Endless(&'static str, &'static str, Duration),
}

/// Serves answers to what has no body.
pub(crate) struct Server {
    pub(crate) at: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each path so.
    pub(crate) async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
        let path = |request: &str| request.split(' ').nth(1).unwrap_or_default().to_owned();
        Server::with_own_address(move |_, request| answer(&path(request))).await
    }

    /// Answers each request so, which is the second argument; the first is the server's address.
    pub(crate) async fn with_own_address(
        answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let own = at.clone();
        let answer = move |request: &str| answer(&own, request);
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Server { at, asked }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The requests that begin so, whole.
    pub(crate) fn asked_for(&self, start: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let those = asked.iter().filter(|it| it.starts_with(start));
        those.cloned().collect()
    }

    /// Why nothing can be pulled, with a key or without.
    pub(crate) async fn pull(&self, key: bool) -> ArtifactError {
        let key = key.then(|| PublicKey::from_pem(KEY.as_bytes()).unwrap());
        let pulled = self.pull_as(None, key.as_ref()).await;
        pulled.unwrap_err()
    }

    /// Pulls with these credentials.
    pub(crate) async fn pull_as(
        &self,
        credentials: Option<Credentials>,
        key: Option<&PublicKey>,
    ) -> Result<Pulled, ArtifactError> {
        let reference: Reference = format!("{}/web:1", self.at).parse().unwrap();
        let access = Access {
            scheme: Scheme::Http,
            credentials,
            ..Access::default()
        };
        let remote = Remote::new(&reference, &access).unwrap();
        remote.pull(&Platform::host(), key).await
    }
}

/// Answers one request; the connection ends with it.
async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> Answer + Sync),
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    let answer = answer(&request);
    log.lock().unwrap().push(request);
    match answer {
        Answer::Whole(text) => stream.write_all(text.as_bytes()).await.ok(),
        Answer::After(pause, text) => {
            sleep(pause).await;
            stream.write_all(text.as_bytes()).await.ok()
        }
        Answer::Endless(head, rest, pause) => {
            stream.write_all(head.as_bytes()).await.ok()?;
            loop {
                stream.write_all(rest.as_bytes()).await.ok()?;
                sleep(pause).await;
            }
        }
    }
}

/// An answer with this body.
pub(crate) fn ok(kind: &str, body: &str) -> String {
    says("200 OK", &[("Content-Type", kind)], body)
}

/// An answer with this status and these headers.
pub(crate) fn says(status: &str, headers: &[(&str, &str)], body: &str) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let lines: String = lines.collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A profile, and a manifest of an artifact with it.
pub(crate) fn artifact() -> (String, String) {
    let text = r#"{"defaultAction": "SCMP_ACT_LOG"}"#;
    let kind = "application/vnd.cncf.seccomp-profile.config.v1+json";
    let config = json!({"mediaType": kind, "size": 2, "digest": Digest::of(b"{}").to_string()});
    let layer = json!({"mediaType": "application/json", "size": text.len(),
        "digest": Digest::of(text.as_bytes()).to_string()});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    (text.to_owned(), manifest.to_string())
}
