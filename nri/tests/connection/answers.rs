//! What a plugin answers, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_nri::api::{
    ConfigureRequest, ConfigureResponse, Container, CreateContainerRequest,
    CreateContainerResponse, Event, PodSandbox, RegisterPluginRequest, StateChangeEvent,
    SynchronizeRequest, SynchronizeResponse, ValidateContainerAdjustmentRequest,
    ValidateContainerAdjustmentResponse,
};
use portcullis_nri::mux::Channel;
use portcullis_nri::ttrpc::MAX_MESSAGE;
use portcullis_nri::{Code, Events};
use prost::Message as _;

use crate::obedient::{Obedient, configured, creation};
use crate::runtime::Fake;

#[tokio::test]
async fn a_plugin_registers_with_its_name_index_and_version() {
    let mut fake = Fake::start(Obedient::default()).await;
    let (channel, message, request) = fake.request().await;
    assert_eq!(channel, Channel::Runtime);
    assert_eq!(request.method, "RegisterPlugin");
    let told = RegisterPluginRequest::decode(request.payload).expect("a registration");
    assert_eq!(
        (told.plugin_name.as_str(), told.plugin_idx.as_str()),
        ("obedient", "10")
    );
    assert_eq!(told.nri_version, "v0.12.5");
    fake.answer(channel, message.stream).await;
    let request = ConfigureRequest {
        nri_version: "v0.12.5".into(),
        ..ConfigureRequest::default()
    };
    let answer: ConfigureResponse = fake.call("Configure", &request).await.expect("configured");
    let asked = Events::from(Event::CreateContainer) | Event::StartContainer.into();
    assert_eq!(answer.events, asked.bits());
}

#[tokio::test]
async fn no_event_is_asked_for_as_one_that_stays_away() {
    let plugin = Obedient {
        events: Some(Events::NONE),
        ..Obedient::default()
    };
    let mut fake = Fake::start(plugin).await;
    fake.register().await;
    assert_ne!(fake.configure().await.events, 0, "that is all of them");
    let answer: CreateContainerResponse = fake
        .call("CreateContainer", &creation("refuse it"))
        .await
        .expect("not asked");
    assert_eq!(answer, CreateContainerResponse::default());
}

#[tokio::test]
async fn events_that_were_not_asked_for_are_answered_without_the_plugin() {
    let mut fake = configured(Obedient::default()).await;
    let request = ValidateContainerAdjustmentRequest::default();
    let answer: ValidateContainerAdjustmentResponse = fake
        .call("ValidateContainerAdjustment", &request)
        .await
        .expect("not asked");
    assert!(!answer.reject);
    for event in [99, Event::StopPodSandbox as i32] {
        let change = StateChangeEvent {
            event,
            pod: Some(PodSandbox::default()),
            container: None,
        };
        let _: () = fake.call("StateChange", &change).await.expect("not asked");
    }
}

#[tokio::test]
async fn an_event_before_configure_is_refused() {
    let mut fake = Fake::start(Obedient::default()).await;
    fake.register().await;
    let (code, message) = fake
        .call::<()>("CreateContainer", &creation("now"))
        .await
        .expect_err("refused");
    assert_eq!(code, Code::FailedPrecondition as i32);
    assert_eq!(message, "CreateContainer came before Configure");
}

#[tokio::test]
async fn a_notification_arrives_in_both_forms() {
    let plugin = Obedient::default();
    let mut fake = configured(plugin.clone()).await;
    let change = StateChangeEvent {
        event: Event::StartContainer as i32,
        pod: Some(PodSandbox {
            id: "p".into(),
            ..PodSandbox::default()
        }),
        container: Some(Container {
            id: "c".into(),
            ..Container::default()
        }),
    };
    let _: () = fake.call("StateChange", &change).await.expect("heard");
    let request = CreateContainerRequest {
        pod: change.pod,
        container: change.container,
    };
    let _: () = fake.call("StartContainer", &request).await.expect("heard");
    assert_eq!(*plugin.seen.lock().expect("not poisoned"), ["start p c"; 2]);
}

#[tokio::test]
async fn what_is_unknown_or_incomplete_is_refused_and_the_connection_stays() {
    let mut fake = configured(Obedient::default()).await;
    let (code, message) = fake.call::<()>("Dance", &()).await.expect_err("unknown");
    assert_eq!(
        (code, message.as_str()),
        (
            Code::Unimplemented as i32,
            "method Dance is not implemented"
        )
    );
    let (code, message) = fake
        .call_service::<()>("other", "Configure", &())
        .await
        .expect_err("unknown");
    assert_eq!(
        (code, message.as_str()),
        (
            Code::Unimplemented as i32,
            "service other is not implemented"
        )
    );
    let empty = CreateContainerRequest::default();
    let (code, message) = fake
        .call::<()>("CreateContainer", &empty)
        .await
        .expect_err("incomplete");
    assert_eq!(
        (code, message.as_str()),
        (Code::InvalidArgument as i32, "the request has no pod")
    );
    let (code, message) = fake
        .call::<()>("CreateContainer", &creation("refuse nothing here"))
        .await
        .expect_err("refused");
    assert_eq!(
        (code, message.as_str()),
        (Code::NotFound as i32, "nothing here")
    );
    let (code, message) = fake
        .call::<()>("CreateContainer", &creation("panic"))
        .await
        .expect_err("refused");
    assert_eq!(code, Code::Internal as i32);
    assert_eq!(
        message,
        "the plugin panicked while it handled CreateContainer"
    );
    let (code, message) = fake
        .call::<()>("CreateContainer", &creation(&format!("fill {MAX_MESSAGE}")))
        .await
        .expect_err("refused");
    assert_eq!(code, Code::ResourceExhausted as i32);
    assert!(
        message.ends_with("exceeds the limit of 4194304"),
        "{message}"
    );
}

#[tokio::test]
async fn a_late_handler_is_refused_before_the_runtimes_deadline() {
    let mut fake = configured(Obedient::default()).await;
    for (timeout, reason) in [(500, "450 ms"), (100, "90 ms"), (15, "8 ms")] {
        fake.timeout = Duration::from_millis(timeout);
        let (code, message) = fake
            .call::<()>("CreateContainer", &creation("wait 60000"))
            .await
            .expect_err("late");
        assert_eq!(code, Code::DeadlineExceeded as i32);
        let expected = format!("CreateContainer was not handled within {reason}");
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn the_deadline_of_configure_holds_where_a_request_has_none() {
    let mut fake = Fake::start(Obedient::default()).await;
    fake.register().await;
    let request = ConfigureRequest {
        request_timeout: 100,
        ..ConfigureRequest::default()
    };
    let _: ConfigureResponse = fake.call("Configure", &request).await.expect("configured");
    fake.timeout = Duration::ZERO;
    let (_, message) = fake
        .call::<()>("CreateContainer", &creation("wait 60000"))
        .await
        .expect_err("late");
    assert_eq!(message, "CreateContainer was not handled within 90 ms");
}

#[tokio::test]
async fn a_bounded_number_of_requests_is_handled_at_once_and_each_is_answered() {
    let plugin = Obedient::default();
    let mut fake = configured(plugin.clone()).await;
    let streams: Vec<u32> = (0..100).map(|number| 1_001 + 2 * number).collect();
    for stream in &streams {
        fake.send_request(*stream, "CreateContainer", &creation("wait 20"))
            .await;
    }
    let mut answered = Vec::new();
    for _ in &streams {
        answered.push(fake.receive().await.1.stream);
    }
    answered.sort_unstable();
    assert_eq!(answered, streams);
    assert!(plugin.most.load(Ordering::SeqCst) <= 32);
}

#[tokio::test]
async fn parts_of_synchronize_are_gathered() {
    let plugin = Obedient::default();
    let mut fake = configured(plugin.clone()).await;
    for more in [true, true, false] {
        let part = SynchronizeRequest {
            pods: vec![PodSandbox::default(); 2],
            containers: vec![Container::default()],
            more,
        };
        let answer: SynchronizeResponse = fake.call("Synchronize", &part).await.expect("gathered");
        assert_eq!(answer.more, more);
    }
    assert_eq!(
        *plugin.seen.lock().expect("not poisoned"),
        ["6 pods, 3 containers"]
    );
}
