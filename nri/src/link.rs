//! One connection's bytes: answers are matched with calls, and what is sent goes out whole and in order.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::{Code, Error, Refusal};
use crate::mux::{self, Channel};
use crate::ttrpc::{self, Kind, Message, Request, Response, Status};

/// How many messages may wait to be written; a sender waits beyond that.
const QUEUE: usize = 4;

const SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

/// The sending side. A caller that gives up leaves no half frame, since another task writes.
#[derive(Debug)]
pub(crate) struct Link {
    queue: mpsc::Sender<BytesMut>,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Response>>>,
    next: AtomicU32,
}

impl Link {
    pub(crate) fn new() -> (Self, mpsc::Receiver<BytesMut>) {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                waiting: Mutex::default(),
                next: AtomicU32::new(1),
            },
            outgoing,
        )
    }

    /// Calls the runtime.
    pub(crate) async fn call<T: prost::Message + Default>(
        &self,
        method: &'static str,
        argument: &impl prost::Message,
        deadline: Duration,
    ) -> Result<T, Error> {
        let request = Request {
            service: SERVICE.into(),
            method: method.into(),
            payload: argument.encode_to_vec().into(),
            timeout_nano: i64::try_from(deadline.as_nanos()).unwrap_or(i64::MAX),
        };
        let payload = Bytes::from(request.encode_to_vec());
        if payload.len() > ttrpc::MAX_MESSAGE {
            return Err(crate::error::FrameError::MessageTooLong {
                length: payload.len(),
            }
            .into());
        }
        let stream = self.next.fetch_add(2, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(stream, sender);
        let message = Message {
            stream,
            kind: Kind::Request,
            payload,
        };
        let answered = tokio::time::timeout(deadline, async {
            self.send(Channel::Runtime, &message).await?;
            answer.await.map_err(|_| Error::Closed)
        })
        .await;
        self.waiting().remove(&stream);
        let response = answered.map_err(|_| Error::Timeout {
            what: method,
            after: deadline,
        })??;
        if let Some(Status { code, message }) = response.status.filter(|status| status.code != 0) {
            return Err(Error::Refused {
                method,
                code,
                message: message.replace(char::is_control, " "),
            });
        }
        T::decode(response.payload).map_err(|source| Error::Decode {
            what: format!("answer to {method}"),
            source,
        })
    }

    /// Answers a call of the runtime's.
    pub(crate) async fn answer(
        &self,
        stream: u32,
        result: Result<Vec<u8>, Refusal>,
    ) -> Result<(), Error> {
        let payload = match result {
            Ok(payload) => Response {
                status: None,
                payload: payload.into(),
            }
            .encode_to_vec(),
            Err(refusal) => refused(refusal),
        };
        let payload = if payload.len() > ttrpc::MAX_MESSAGE {
            let reason = format!(
                "answer of {} bytes exceeds the limit of {}",
                payload.len(),
                ttrpc::MAX_MESSAGE
            );
            refused(Refusal::new(Code::ResourceExhausted, reason))
        } else {
            payload
        };
        self.send(
            Channel::Plugin,
            &Message {
                stream,
                kind: Kind::Response,
                payload: payload.into(),
            },
        )
        .await
    }

    /// Takes an answer to the caller that waits for it; one that comes late has none.
    pub(crate) fn answered(&self, stream: u32, payload: Bytes) -> Result<(), Error> {
        let response = Response::decode(payload).map_err(|source| Error::Decode {
            what: "response".into(),
            source,
        })?;
        if let Some(caller) = self.waiting().remove(&stream) {
            let _ = caller.send(response);
        }
        Ok(())
    }

    async fn send(&self, channel: Channel, message: &Message) -> Result<(), Error> {
        self.queue
            .send(mux::encode(channel, message))
            .await
            .map_err(|_| Error::Closed)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u32, oneshot::Sender<Response>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(refusal: Refusal) -> Vec<u8> {
    let status = Status {
        code: refusal.code as i32,
        message: refusal.message,
    };
    Response {
        status: Some(status),
        payload: Bytes::new(),
    }
    .encode_to_vec()
}

/// Writes what is queued, until nobody can queue any more or it is asked to end: then, what is queued by now.
pub(crate) async fn write(
    mut outgoing: mpsc::Receiver<BytesMut>,
    mut socket: impl AsyncWrite + Unpin,
    end: &Notify,
) -> io::Result<()> {
    loop {
        let bytes = tokio::select! {
            bytes = outgoing.recv() => bytes,
            () = end.notified() => {
                outgoing.close();
                continue;
            }
        };
        match bytes {
            Some(bytes) => socket.write_all(&bytes).await?,
            None => return socket.flush().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Empty;
    use crate::mux::Decoder;

    const SOON: Duration = Duration::from_secs(30);

    /// What a link has queued.
    async fn sent(outgoing: &mut mpsc::Receiver<BytesMut>) -> Message {
        let mut decoder = Decoder::default();
        decoder.push(&outgoing.recv().await.expect("something"));
        decoder
            .next_message()
            .expect("well formed")
            .expect("whole")
            .1
    }

    fn response(status: Option<Status>) -> Bytes {
        let payload = Bytes::new();
        Response { status, payload }.encode_to_vec().into()
    }

    #[tokio::test]
    async fn answers_are_matched_with_calls_in_any_order() {
        let (link, mut outgoing) = Link::new();
        let (first, second, ()) = tokio::join!(
            link.call::<Empty>("First", &Empty {}, SOON),
            link.call::<Empty>("Second", &Empty {}, SOON),
            async {
                let (one, two) = (sent(&mut outgoing).await, sent(&mut outgoing).await);
                assert!(one.stream % 2 == 1 && two.stream % 2 == 1 && one.stream != two.stream);
                let refused = Status {
                    code: 5,
                    message: "no".into(),
                };
                link.answered(two.stream, response(Some(refused)))
                    .expect("well formed");
                link.answered(one.stream, response(None))
                    .expect("well formed");
            }
        );
        first.expect("answered");
        let refused = second.expect_err("refused").to_string();
        assert_eq!(refused, "the runtime refused Second: no (code 5)");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_times_out_and_its_late_answer_is_dropped() {
        let (link, mut outgoing) = Link::new();
        let late = link.call::<Empty>("Late", &Empty {}, SOON).await;
        assert_eq!(
            late.expect_err("late").to_string(),
            "no Late from the runtime within 30s"
        );
        let stream = sent(&mut outgoing).await.stream;
        link.answered(stream, response(None)).expect("dropped");
        assert!(link.waiting().is_empty());
    }

    #[tokio::test]
    async fn a_call_ends_with_the_connection() {
        let (link, outgoing) = Link::new();
        drop(outgoing);
        let ended = link.call::<Empty>("Any", &Empty {}, SOON).await;
        assert!(matches!(ended, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_becomes_a_refusal() {
        let (link, mut outgoing) = Link::new();
        link.answer(1, Ok(vec![0; ttrpc::MAX_MESSAGE]))
            .await
            .expect("queued");
        let answer = Response::decode(sent(&mut outgoing).await.payload).expect("a response");
        assert_eq!(
            answer.status.expect("refused").code,
            Code::ResourceExhausted as i32
        );
    }

    #[tokio::test]
    async fn what_is_queued_is_written_before_the_end() {
        let (link, outgoing) = Link::new();
        for stream in [1, 3] {
            link.answer(stream, Ok(Vec::new())).await.expect("queued");
        }
        let (end, mut written) = (Notify::new(), Vec::new());
        end.notify_one();
        write(outgoing, &mut written, &end).await.expect("written");
        let mut decoder = Decoder::default();
        decoder.push(&written);
        for stream in [1, 3] {
            let found = decoder.next_message().expect("well formed");
            assert_eq!(found.expect("whole").1.stream, stream);
        }
        assert!(matches!(
            link.answer(5, Ok(Vec::new())).await,
            Err(Error::Closed)
        ));
    }
}
