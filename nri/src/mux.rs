//! The multiplexer below ttrpc: frames of a connection id, a length and a payload, both numbers big-endian.

use bytes::{Buf, BufMut, BytesMut};

use crate::error::FrameError;
use crate::ttrpc::{self, Message};

/// The longest payload of a frame: a ttrpc message with its header, as `pkg/net/multiplex` of the Go module has it.
pub const MAX_PAYLOAD: usize = ttrpc::MAX_MESSAGE + ttrpc::HEADER;

const HEADER: usize = 8;

/// The two connections that share the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Connection 1: the runtime calls the plugin.
    Plugin,
    /// Connection 2: the plugin calls the runtime.
    Runtime,
}

impl Channel {
    fn id(self) -> u32 {
        match self {
            Self::Plugin => 1,
            Self::Runtime => 2,
        }
    }

    fn from_id(id: u32) -> Result<Self, FrameError> {
        match id {
            1 => Ok(Self::Plugin),
            2 => Ok(Self::Runtime),
            id => Err(FrameError::UnknownConnection { id }),
        }
    }
}

/// Takes messages out of the bytes of a socket. Holds at most one unfinished frame and, for each channel, one
/// unfinished message; a length alone allocates nothing.
#[derive(Debug, Default)]
pub struct Decoder {
    input: BytesMut,
    plugin: BytesMut,
    runtime: BytesMut,
    last: Option<Channel>,
}

impl Decoder {
    /// Adds what was read. Call [`Decoder::next_message`] until it has nothing more before reading on.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` if more has to be read.
    ///
    /// # Errors
    /// Where a header breaks the protocol. The connection is of no use after that.
    pub fn next_message(&mut self) -> Result<Option<(Channel, Message)>, FrameError> {
        loop {
            if let Some(channel) = self.last {
                if let Some(message) = Message::take(self.stream(channel))? {
                    return Ok(Some((channel, message)));
                }
                self.last = None;
            }
            let Some(mut header) = self.input.get(..HEADER) else {
                return Ok(None);
            };
            let channel = Channel::from_id(header.get_u32())?;
            let length = header.get_u32() as usize;
            if length > MAX_PAYLOAD {
                return Err(FrameError::FrameTooLong { length });
            }
            if self.input.len() < HEADER + length {
                return Ok(None);
            }
            self.input.advance(HEADER);
            let payload = self.input.split_to(length);
            self.stream(channel).extend_from_slice(&payload);
            self.last = Some(channel);
        }
    }

    /// Whether the stream may end here: not in the middle of a frame or message.
    pub fn is_at_boundary(&self) -> bool {
        self.input.is_empty() && self.plugin.is_empty() && self.runtime.is_empty()
    }

    fn stream(&mut self, channel: Channel) -> &mut BytesMut {
        match channel {
            Channel::Plugin => &mut self.plugin,
            Channel::Runtime => &mut self.runtime,
        }
    }
}

/// The bytes that send a message. Its header and its payload are frames of their own: the Go side reads frames into a
/// buffer of 4,096 bytes and closes the connection where a longer one has both.
pub fn encode(channel: Channel, message: &Message) -> BytesMut {
    let mut out = BytesMut::with_capacity(2 * HEADER + ttrpc::HEADER + message.payload.len());
    frame(&mut out, channel, &message.header());
    if !message.payload.is_empty() {
        frame(&mut out, channel, &message.payload);
    }
    out
}

fn frame(out: &mut BytesMut, channel: Channel, payload: &[u8]) {
    out.put_u32(channel.id());
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ttrpc::Kind;
    use bytes::Bytes;

    /// A request on stream 1 with a payload of two bytes, as the Go side frames it.
    const RECORDED: &[u8] = &[
        0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, //
        0, 0, 0, 1, 0, 0, 0, 2, 0x20, 0x05,
    ];

    fn message() -> Message {
        Message {
            stream: 1,
            kind: Kind::Request,
            payload: Bytes::from_static(&[0x20, 5]),
        }
    }

    #[test]
    fn recorded_bytes_are_read_in_pieces_of_any_size() {
        for size in 1..RECORDED.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in RECORDED.chunks(size) {
                decoder.push(piece);
                while let Some(found) = decoder.next_message().expect("well formed") {
                    seen.push(found);
                }
            }
            assert_eq!(seen, [(Channel::Plugin, message())]);
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn header_and_payload_are_frames_of_their_own() {
        assert_eq!(&encode(Channel::Plugin, &message())[..], RECORDED);
    }

    #[test]
    fn an_unknown_connection_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 3, 0, 0, 0, 0]);
        assert!(matches!(
            decoder.next_message(),
            Err(FrameError::UnknownConnection { id: 3 })
        ));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_payload_arrives() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(
            decoder.next_message(),
            Err(FrameError::FrameTooLong { .. })
        ));
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 2, 0, 0, 0, 10, 0, 0x40, 0, 1, 0, 0, 0, 1, 2, 0]);
        assert!(matches!(
            decoder.next_message(),
            Err(FrameError::MessageTooLong { .. })
        ));
    }

    #[test]
    fn two_messages_in_one_frame_are_both_read() {
        let mut both = BytesMut::new();
        for _ in 0..2 {
            both.extend_from_slice(&message().header());
            both.extend_from_slice(&message().payload);
        }
        let mut bytes = BytesMut::new();
        frame(&mut bytes, Channel::Runtime, &both);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        for _ in 0..2 {
            assert_eq!(
                decoder.next_message().expect("well formed"),
                Some((Channel::Runtime, message()))
            );
        }
        assert_eq!(decoder.next_message().expect("well formed"), None);
    }
}
