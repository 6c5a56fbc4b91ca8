//! RFC 6455 without I/O: bytes in, events out.
//!
//! Server side only: frames of clients are read, frames of a server are written. No extension is
//! spoken, so every RSV bit is an error. What a connection does about an event (pong, echo of a close)
//! is decided elsewhere.

mod assembly;
mod close;
mod decoder;
mod frame;

pub use self::close::{ClosePayload, NO_STATUS, close_payload};
pub use self::decoder::{Decoder, Event, Message};
pub use self::frame::{Header, MAX_CONTROL, MAX_HEADER, OpCode, encode_header, header_len};

/// A breach of RFC 6455 by the peer. [`code`](Self::code) is what the connection is closed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A client's frame must be masked (5.1).
    #[error("frame is not masked")]
    Unmasked,
    /// No extension was agreed on (5.2).
    #[error("reserved bit is set")]
    ReservedBits,
    /// Opcodes 3–7 and 11–15 (5.2).
    #[error("reserved opcode")]
    ReservedOpCode,
    /// A control frame must be whole (5.5).
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// A control frame carries at most 125 bytes (5.5).
    #[error("control frame is too long")]
    LongControl,
    /// A length must be encoded in the fewest bytes and fit 63 bits (5.2).
    #[error("length is not minimally encoded")]
    LengthEncoding,
    /// A continuation without a message to continue (5.4).
    #[error("continuation without a start")]
    UnexpectedContinuation,
    /// A new message inside an unfinished one (5.4).
    #[error("message inside a fragmented message")]
    InterleavedMessage,
    /// The message, all fragments together, passes the limit.
    #[error("message is too large")]
    TooLarge,
    /// Text is not UTF-8 (8.1).
    #[error("text is not UTF-8")]
    BadUtf8,
    /// A Close frame's body has one byte (5.5.1).
    #[error("close frame of one byte")]
    ShortClose,
    /// A close code that must not be sent (7.4).
    #[error("invalid close code")]
    BadCloseCode,
}

impl ProtocolError {
    /// The close code that tells the peer: 1002, 1007 or 1009.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            Self::BadUtf8 => 1007,
            Self::Unmasked
            | Self::ReservedBits
            | Self::ReservedOpCode
            | Self::FragmentedControl
            | Self::LongControl
            | Self::LengthEncoding
            | Self::UnexpectedContinuation
            | Self::InterleavedMessage
            | Self::ShortClose
            | Self::BadCloseCode => 1002,
        }
    }
}
