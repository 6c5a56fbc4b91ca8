//! Reads the replies of one stream from its bytes, as they arrive; no I/O.
//!
//! Tonic's decoder collects a message before it decodes it and refuses one over its limit, which ends the stream. A
//! back end puts the replies of many sessions into one `ReplyBatch`, so one large reply would fail its neighbours. This
//! reader decodes reply by reply: a reply over the limit is skipped without being stored, and only its command fails.
//! A batch may have any length; memory is bounded by the limit of one reply.
//!
//! [`frame`] cuts the stream into gRPC messages and inflates compressed ones; [`batch`] reads the replies of a message.

use bytes::Bytes;
use gateway_codec::proto::backend::Reply;

mod batch;
mod frame;
#[cfg(test)]
mod tests;

pub(crate) use frame::{Encoding, Reader};

/// Most bytes that one encoded `Reply` may have.
pub(crate) const REPLY_BYTES: usize = 16 * 1024 * 1024;

/// What some bytes of a stream held.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Whole replies.
    pub(crate) whole: Vec<Reply>,
    /// Replies over the limit.
    pub(crate) oversized: Vec<Oversized>,
}

impl Replies {
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.oversized.is_empty()
    }
}

/// A reply that was skipped because it is over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oversized {
    /// The command that it answers.
    pub(crate) correlation_id: u64,
    /// Encoded bytes of the reply.
    pub(crate) size: u64,
}

/// Why the bytes of a stream cannot be read; nothing after them can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the compression flag of a message is {0}; 0 and 1 are valid")]
    Flag(u8),
    #[error("a message is compressed, but grpc-encoding names no encoding")]
    NoEncoding,
    #[error("a message is compressed with {0:?}; the gateway reads gzip only")]
    Encoding(String),
    #[error("a message is not valid gzip")]
    Gzip,
    #[error("a message is not a ReplyBatch: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("a message is not a ReplyBatch: {0}")]
    Field(&'static str),
}

/// Takes the first `count` bytes of `input`, or all if it has fewer.
fn take(input: &mut Bytes, count: u64) -> Bytes {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(input.len());
    input.split_to(count)
}
