//! How a connection ends, and what comes after.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use portcullis_nri::api::{PodSandbox, StateChangeEvent, SynchronizeRequest, SynchronizeResponse};
use portcullis_nri::ttrpc::Response;
use portcullis_nri::{Client, Code};
use prost::Message as _;

use crate::obedient::{Obedient, configured, creation};

#[tokio::test]
async fn a_plugin_that_is_stopped_answers_what_it_was_asked() {
    let mut fake = configured(Obedient::default()).await;
    fake.send_request(7, "CreateContainer", &creation("wait 200"))
        .await;
    // Answered after the first has begun: the plugin reads in order.
    let _: () = fake
        .call("StateChange", &StateChangeEvent::default())
        .await
        .expect("heard");
    fake.stop.stop();
    assert_eq!(fake.receive().await.1.stream, 7);
    assert!(fake.ended().await.is_ok());
}

/// What the runtime sends, and the reason that the plugin gives for the end.
async fn ends(bytes: &[u8], reason: &str) {
    let mut fake = configured(Obedient::default()).await;
    fake.send_raw(bytes).await;
    fake.close().await;
    let told = fake.ended().await.expect_err("ended");
    assert!(told.contains(reason), "{told}");
}

#[tokio::test]
async fn malformed_input_ends_the_connection_with_a_reason() {
    ends(&[0, 0, 0, 3, 0, 0, 0, 0], "frame for connection 3").await;
    ends(
        &[0, 0, 0, 1, 0xff, 0, 0, 0],
        "frame of 4278190080 bytes exceeds",
    )
    .await;
    ends(
        &frame(1, &[0, 0, 0, 0, 0, 0, 0, 1, 9, 0]),
        "message of type 9",
    )
    .await;
    ends(
        &frame(1, &[0, 0, 0, 0, 0, 0, 0, 2, 1, 0]),
        "stream 2 is even",
    )
    .await;
    ends(
        &frame(1, &[0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0xff]),
        "malformed request",
    )
    .await;
    ends(
        &frame(2, &[0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0xff]),
        "malformed response",
    )
    .await;
    ends(
        &frame(2, &[0, 0, 0, 0, 0, 0, 0, 1, 1, 0]),
        "unexpected Request on the Runtime",
    )
    .await;
    ends(
        &frame(1, &[0, 0, 0, 0, 0, 0, 0, 1, 2, 0]),
        "unexpected Response on the Plugin",
    )
    .await;
    ends(&[0, 0, 0], "in the middle of a message").await;
    ends(&[], "the runtime closed the connection").await;
}

fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[0, 0, 0, channel, 0, 0, 0, length], payload].concat()
}

#[tokio::test]
async fn a_malformed_or_overweight_message_ends_the_connection_with_a_reason() {
    let mut fake = configured(Obedient::default()).await;
    fake.send_payload(9, "CreateContainer", vec![0xff]).await;
    let told = fake.ended().await.expect_err("ended");
    assert!(told.contains("malformed CreateContainer"), "{told}");
    // The request itself is refused, so that no container is created.
    let answer = Response::decode(fake.receive().await.1.payload).expect("a response");
    let status = answer.status.expect("refused");
    assert_eq!(status.code, Code::InvalidArgument as i32);
    assert_eq!(status.message, told);

    let mut fake = configured(Obedient::default()).await;
    fake.send_payload(9, "Synchronize", [0x0a, 0].repeat(1 << 20))
        .await;
    let told = fake.ended().await.expect_err("ended");
    assert!(
        told.contains("Synchronize exceeds the limit of 67108864 bytes in memory"),
        "{told}"
    );

    let mut fake = configured(Obedient::default()).await;
    let part = SynchronizeRequest {
        pods: vec![PodSandbox::default(); 40_000],
        containers: Vec::new(),
        more: true,
    };
    let _: SynchronizeResponse = fake.call("Synchronize", &part).await.expect("gathered");
    fake.send_payload(9, "Synchronize", part.encode_to_vec())
        .await;
    let told = fake.ended().await.expect_err("ended");
    assert!(told.contains("the parts of Synchronize exceed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_grow_up_to_ten_seconds() {
    let pauses = Arc::new(Mutex::new(Vec::new()));
    let client = Client::new("obedient", "10")
        .expect("well formed")
        .socket("/nowhere/nri.sock");
    let stop = client.stop_handle();
    let client = {
        let pauses = Arc::clone(&pauses);
        client.on_disconnect(move |error, pause| {
            assert!(error.to_string().contains("/nowhere/nri.sock"));
            let mut pauses = pauses.lock().expect("not poisoned");
            pauses.push(pause);
            if pauses.len() == 12 {
                stop.stop();
            }
        })
    };
    client.run(Obedient::default()).await.expect("stopped");
    let mut longest = Duration::from_millis(100);
    for pause in pauses.lock().expect("not poisoned").iter() {
        assert!(
            *pause >= longest / 2 && *pause <= longest,
            "{pause:?} of {longest:?}"
        );
        longest = (longest * 2).min(Duration::from_secs(10));
    }
    assert_eq!(longest, Duration::from_secs(10));
}

#[test]
fn an_index_is_two_digits() {
    for index in ["", "1", "123", "1x", "१०"] {
        assert!(Client::new("obedient", index).is_err(), "{index}");
    }
}
