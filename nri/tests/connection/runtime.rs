//! The other end of a plugin's connection, byte by byte.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_nri::api::{ConfigureRequest, ConfigureResponse, Empty};
use portcullis_nri::mux::{self, Channel, Decoder};
use portcullis_nri::ttrpc::{Kind, Message, Request, Response};
use portcullis_nri::{Client, Error, Plugin, StopHandle};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::PATIENCE;

pub(crate) struct Fake {
    stream: UnixStream,
    decoder: Decoder,
    next: u32,
    /// What requests say about how long the runtime waits.
    pub(crate) timeout: Duration,
    pub(crate) stop: StopHandle,
    ended: mpsc::UnboundedReceiver<Result<(), String>>,
    folder: PathBuf,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Fake {
    /// Listens, and runs a plugin that connects.
    pub(crate) async fn start(plugin: impl Plugin) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nri-{}-{count}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.join("nri.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (tell, ended) = mpsc::unbounded_channel();
        let told = tell.clone();
        let client = Client::new("obedient", "10")
            .expect("well formed")
            .socket(path)
            .on_disconnect(move |error, _| {
                let _ = told.send(Err(error.to_string()));
            });
        let stop = client.stop_handle();
        tokio::spawn(async move {
            let result = client.run(plugin).await;
            let _ = tell.send(result.map_err(|error: Error| error.to_string()));
        });
        let (stream, _) = listener.accept().await.expect("a connection");
        Self {
            stream,
            decoder: Decoder::default(),
            next: 1,
            timeout: PATIENCE,
            stop,
            ended,
            folder,
        }
    }

    /// How the plugin's connection, or the plugin, ended.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        let ended = tokio::time::timeout(PATIENCE, self.ended.recv()).await;
        ended.expect("in time").expect("told")
    }

    pub(crate) async fn close(&mut self) {
        self.stream.shutdown().await.expect("open");
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("open");
    }

    async fn send(&mut self, channel: Channel, stream: u32, kind: Kind, payload: Vec<u8>) {
        let message = Message {
            stream,
            kind,
            payload: payload.into(),
        };
        self.send_raw(&mux::encode(channel, &message)).await;
    }

    pub(crate) async fn receive(&mut self) -> (Channel, Message) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            if let Some(found) = self.decoder.next_message().expect("well formed") {
                return found;
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            let length = read.expect("in time").expect("open");
            assert!(length > 0, "the plugin closed the connection");
            self.decoder.push(&buffer[..length]);
        }
    }

    /// The plugin's next call.
    pub(crate) async fn request(&mut self) -> (Channel, Message, Request) {
        let (channel, message) = self.receive().await;
        let request = Request::decode(message.payload.clone()).expect("a request");
        (channel, message, request)
    }

    /// Answers it with nothing.
    pub(crate) async fn answer(&mut self, channel: Channel, stream: u32) {
        let answer = Response {
            status: None,
            payload: Empty::default().encode_to_vec().into(),
        };
        self.send(channel, stream, Kind::Response, answer.encode_to_vec())
            .await;
    }

    pub(crate) async fn register(&mut self) {
        let (channel, message, request) = self.request().await;
        assert_eq!(request.method, "RegisterPlugin");
        self.answer(channel, message.stream).await;
    }

    pub(crate) async fn configure(&mut self) -> ConfigureResponse {
        let request = ConfigureRequest {
            nri_version: "v0.12.5".into(),
            ..ConfigureRequest::default()
        };
        self.call("Configure", &request).await.expect("configured")
    }

    pub(crate) async fn send_request(
        &mut self,
        stream: u32,
        method: &str,
        argument: &impl prost::Message,
    ) {
        self.send_payload(stream, method, argument.encode_to_vec())
            .await;
    }

    pub(crate) async fn send_payload(&mut self, stream: u32, method: &str, payload: Vec<u8>) {
        self.send_to("nri.pkg.api.v1alpha1.Plugin", stream, method, payload)
            .await;
    }

    async fn send_to(&mut self, service: &str, stream: u32, method: &str, payload: Vec<u8>) {
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: payload.into(),
            timeout_nano: i64::try_from(self.timeout.as_nanos()).expect("short"),
        };
        self.send(
            Channel::Plugin,
            stream,
            Kind::Request,
            request.encode_to_vec(),
        )
        .await;
    }

    /// Calls the plugin: its answer, or its code and reason.
    pub(crate) async fn call<T: prost::Message + Default>(
        &mut self,
        method: &str,
        argument: &impl prost::Message,
    ) -> Result<T, (i32, String)> {
        self.call_service("nri.pkg.api.v1alpha1.Plugin", method, argument)
            .await
    }

    pub(crate) async fn call_service<T: prost::Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        argument: &impl prost::Message,
    ) -> Result<T, (i32, String)> {
        let stream = self.next;
        self.next += 2;
        self.send_to(service, stream, method, argument.encode_to_vec())
            .await;
        loop {
            let (channel, message) = self.receive().await;
            if (channel, message.kind, message.stream) != (Channel::Plugin, Kind::Response, stream)
            {
                continue;
            }
            let response = Response::decode(message.payload).expect("a response");
            return match response.status {
                Some(status) => Err((status.code, status.message)),
                None => Ok(T::decode(response.payload).expect("an answer")),
            };
        }
    }
}
