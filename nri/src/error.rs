//! Why a frame, a call or a connection failed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The peer broke the framing.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Neither of the two connections.
    #[error("frame for connection {id}; only 1 and 2 exist")]
    UnknownConnection {
        /// What the frame says.
        id: u32,
    },
    /// Longer than [`crate::mux::MAX_PAYLOAD`].
    #[error(
        "frame of {length} bytes exceeds the limit of {}",
        crate::mux::MAX_PAYLOAD
    )]
    FrameTooLong {
        /// What the frame says.
        length: usize,
    },
    /// Longer than [`crate::ttrpc::MAX_MESSAGE`].
    #[error(
        "message of {length} bytes exceeds the limit of {}",
        crate::ttrpc::MAX_MESSAGE
    )]
    MessageTooLong {
        /// What the header says.
        length: usize,
    },
    /// Neither request nor response.
    #[error("message of type {kind}; only request (1) and response (2) are expected")]
    UnknownType {
        /// What the header says.
        kind: u8,
    },
    /// Callers count in odd numbers.
    #[error("stream {id} is even; callers use odd ones")]
    EvenStream {
        /// What the header says.
        id: u32,
    },
}

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime's socket.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The environment of a launched plugin.
    #[error("{name}: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An index is two digits.
    #[error("plugin index {0:?} is not two digits")]
    Index(String),
    /// The socket failed.
    #[error("connection to the runtime failed: {0}")]
    Io(#[from] io::Error),
    /// The peer broke the framing.
    #[error("connection closed, malformed input: {0}")]
    Frame(#[from] FrameError),
    /// A message is not what its method says.
    #[error("connection closed, malformed {what}: {source}")]
    Decode {
        /// The message.
        what: String,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
    /// The peer broke the order of the protocol.
    #[error("connection closed: {0}")]
    Protocol(String),
    /// The runtime closed the connection.
    #[error("the runtime closed the connection")]
    Closed,
    /// The runtime refused a call.
    #[error("the runtime refused {method}: {message} (code {code})")]
    Refused {
        /// The call.
        method: &'static str,
        /// A code of gRPC.
        code: i32,
        /// Its reason.
        message: String,
    },
    /// The runtime did not answer, or did not configure the plugin.
    #[error("no {what} from the runtime within {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The task that answers a request panicked. A handler that panics is not this: its request is refused.
    #[error("the plugin panicked while it answered a request")]
    Panicked,
}

/// A plugin's refusal. The runtime fails the request, and shows `message` to the user word for word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A code of gRPC.
    pub code: Code,
    /// The reason.
    pub message: String,
}

impl Refusal {
    /// A refusal with a code of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The request cannot be met in the present state.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }
}

/// The codes of gRPC that a plugin has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}
