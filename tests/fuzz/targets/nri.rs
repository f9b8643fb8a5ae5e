//! What a runtime sends to an NRI plugin: each request is answered, or the connection ends with a reason in one line;
//! nothing panics. It makes no difference where the bytes are split, and what is read can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_nri::api::{Container, ContainerUpdate, Event, PodSandbox};
use portcullis_nri::mux::{Channel, Decoder, encode};
use portcullis_nri::ttrpc::{Kind, Message, Request};
use portcullis_nri::{Answer, Client, Events, Plugin, Runtime};
use prost::Message as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

const METHODS: [&str; 19] = [
    "Configure",
    "Synchronize",
    "Shutdown",
    "RunPodSandbox",
    "UpdatePodSandbox",
    "PostUpdatePodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
    "PostCreateContainer",
    "StartContainer",
    "PostStartContainer",
    "UpdateContainer",
    "PostUpdateContainer",
    "StopContainer",
    "RemoveContainer",
    "StateChange",
    "ValidateContainerAdjustment",
    "Unknown",
];

/// Wants every event.
struct Any;

impl Plugin for Any {
    fn events(&self) -> Events {
        (1..=14)
            .filter_map(|number| Event::try_from(number).ok())
            .collect()
    }

    async fn synchronize(
        &self,
        _pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        _runtime: Runtime,
    ) -> Answer<Vec<ContainerUpdate>> {
        let update = |container: Container| ContainerUpdate {
            container_id: container.id,
            ..ContainerUpdate::default()
        };
        Ok(containers.into_iter().map(update).collect())
    }
}

fn request(stream: u32, method: &str, payload: &[u8]) -> Vec<u8> {
    let request = Request {
        service: "nri.pkg.api.v1alpha1.Plugin".into(),
        method: method.into(),
        payload: payload.to_vec().into(),
        timeout_nano: 0,
    };
    let message = Message {
        stream,
        kind: Kind::Request,
        payload: request.encode_to_vec().into(),
    };
    encode(Channel::Plugin, &message).to_vec()
}

/// The messages in the bytes, and whether the last of them is malformed.
fn read(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> (Vec<(Channel, Message)>, bool) {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece.as_ref());
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fn splits_do_not_matter(bytes: &[u8]) {
    let whole = read([bytes].iter());
    let size = usize::from(bytes.first().copied().unwrap_or(0)) % 40 + 1;
    assert_eq!(whole, read(bytes.chunks(size)));
    let again: Vec<_> = whole
        .0
        .iter()
        .map(|(c, message)| encode(*c, message))
        .collect();
    assert_eq!(read(again.iter()), (whole.0, false));
}

/// The bytes as requests: a byte for the method, two for the length, and the argument.
fn requests(mut bytes: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut stream = 3;
    while let [method, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (argument, after) = rest.split_at(length);
        let method = METHODS[usize::from(*method) % METHODS.len()];
        sent.extend(request(stream, method, argument));
        stream += 2;
        bytes = after;
    }
    sent
}

/// Sends the bytes to a plugin that is configured, and gives the reason for the end.
async fn converse(bytes: &[u8]) -> String {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("nri-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    });
    let path = folder.join("s");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    let client = Client::new("any", "10").expect("well formed").socket(&path);
    let stop = client.stop_handle();
    let (tell, told) = mpsc::channel();
    let client = client.on_disconnect(move |error, _| {
        let _ = tell.send(error.to_string());
        stop.stop();
    });
    let plugin = tokio::spawn(client.run(Any));
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let _ = stream.write_all(&request(1, "Configure", &[])).await;
    let (mut input, mut output) = stream.split();
    let send = async {
        let _ = output.write_all(bytes).await;
        let _ = output.shutdown().await;
    };
    let receive = async {
        let mut buffer = vec![0; 64 << 10];
        while matches!(input.read(&mut buffer).await, Ok(length) if length > 0) {}
    };
    tokio::join!(send, receive);
    drop(stream);
    plugin.await.expect("no panic").expect("it was stopped");
    told.recv().expect("a reason")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    splits_do_not_matter(bytes);
    let sent = if kind % 2 == 0 {
        requests(bytes)
    } else {
        bytes.to_vec()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let reason = runtime.block_on(converse(&sent));
    assert!(
        !reason.is_empty() && !reason.contains(char::is_control),
        "{reason:?}"
    );
});
