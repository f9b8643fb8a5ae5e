//! ttrpc: a header of ten bytes before each message, and the two messages of a call. Unary calls only; NRI has no other.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::FrameError;

/// The length of a header: payload length, stream id, type, flags.
pub const HEADER: usize = 10;
/// The longest payload, `messageLengthMax` of the Go module `ttrpc`.
pub const MAX_MESSAGE: usize = 4 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Request,
    /// Its answer.
    Response,
}

/// A message and what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The call that it belongs to: odd, chosen by the caller.
    pub stream: u32,
    /// Request or response.
    pub kind: Kind,
    /// An encoded [`Request`] or [`Response`].
    pub payload: Bytes,
}

impl Message {
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(
            &u32::try_from(self.payload.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        header[4..8].copy_from_slice(&self.stream.to_be_bytes());
        header[8] = match self.kind {
            Kind::Request => 1,
            Kind::Response => 2,
        };
        header
    }

    /// Takes the first whole message out of `stream`.
    pub(crate) fn take(stream: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(mut header) = stream.get(..HEADER) else {
            return Ok(None);
        };
        let length = header.get_u32() as usize;
        let id = header.get_u32();
        let kind = match header.get_u8() {
            1 => Kind::Request,
            2 => Kind::Response,
            kind => return Err(FrameError::UnknownType { kind }),
        };
        if id % 2 == 0 {
            return Err(FrameError::EvenStream { id });
        }
        if length > MAX_MESSAGE {
            return Err(FrameError::MessageTooLong { length });
        }
        if stream.len() < HEADER + length {
            return Ok(None);
        }
        stream.advance(HEADER);
        Ok(Some(Self {
            stream: id,
            kind,
            payload: stream.split_to(length).freeze(),
        }))
    }
}

/// A call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Package and name of the service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// The method's name.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The encoded argument.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// How long the caller waits; 0 is for ever.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Why the call failed; absent if it did not.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The encoded result.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

/// A code of gRPC with a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// The code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The message; a runtime shows it to the user word for word.
    #[prost(string, tag = "2")]
    pub message: String,
}
